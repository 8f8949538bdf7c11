"""The trace (``ZWAIF_TRACE_PLUGINS``): one line for each call of a hook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zwaif_hooks.background.clock import Clock
from zwaif_hooks.masking import masked

LONGEST = 500
"""Characters of one argument or result; the rest is left out."""


def traced(
    function: Callable[..., Any],
    plugin: str,
    hook: str,
    arguments: Sequence[str],
    tell: Callable[[str], object],
    clock: Clock,
) -> Callable[..., Any]:
    """Return ``function`` as one whose calls are told when they end, with plugin, hook, duration and result."""

    def call(*values: Any) -> Any:
        began, outcome = clock.now(), ""
        try:
            result = function(*values)
            outcome = f"--> {_shown(result)}"
            return result
        except BaseException as error:
            outcome = f"raised {_shown(error)}"
            raise
        finally:
            given = ", ".join(f"{name}={_shown(value)}" for name, value in zip(arguments, values, strict=True))
            tell(f"[trace] {plugin}: {hook}, {(clock.now() - began) * 1000:.1f} ms {outcome} ({given})")

    return call


def _shown(value: object) -> str:
    try:
        text = masked(" ".join(repr(value).split()))
    except Exception as error:  # a repr of the plugin's own
        text = f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
