"""Reads and changes Z-Waif itself: its files, settings, persona and web page.

Nothing is imported here, because the start-up watcher imports ``host.tree`` in processes that are not Z-Waif.
"""


def __getattr__(name: str) -> object:
    if name not in ("Host", "log"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import warnings

    import zwaif_hooks

    message = f"import {name} from zwaif_hooks; zwaif_hooks.host.{name} will be removed in version 1.0"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return getattr(zwaif_hooks, name)
