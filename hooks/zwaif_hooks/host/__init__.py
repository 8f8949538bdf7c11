"""Z-Waif as found. Light on purpose: the start-up watcher imports ``host.tree`` in processes that are not Z-Waif."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from zwaif_hooks.host.handle import Host as Host


def __getattr__(name: str) -> "Any":
    if name == "Host":
        from zwaif_hooks.host.handle import Host

        return Host
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
