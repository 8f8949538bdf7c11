"""Parts of Z-Waif's page that update themselves while somebody sees them.

A script presses buttons, once a second or less often, where the page shows them. Gradio's own timers also run in hidden
tabs, and ``every`` in older versions runs on the server's event loop, where it slows Z-Waif down.
"""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

PRESS_BUTTONS = """() => {
    if (window.zwaifTimer) return;
    window.zwaifTimer = setInterval(() => {
        if (document.hidden) return;
        const now = Date.now();
        for (const button of document.querySelectorAll('[class*="zwaif-every-"]')) {
            const wait = 1000 * /zwaif-every-(\\d+)/.exec(button.className)[1] - 500;
            if (button.parentElement.offsetParent === null || now < (button.zwaifPressed || 0) + wait) continue;
            button.zwaifPressed = now;
            button.click();
        }
    }, 1000);
}"""
"""Presses each button in time if the place where it stands is visible; the button itself may be hidden. One timer
serves the whole page, however many parts ask for it."""


def pressed_every(seconds: float) -> dict[str, list[str]]:
    """Return the arguments of a button that is pressed while the place where it stands is visible.

    Args:
        seconds: At least 1; rounded up to whole seconds.
    """
    return {"elem_classes": [f"zwaif-every-{max(1, math.ceil(seconds))}"]}


def press_buttons(gradio: Any, page: Any) -> None:
    """Have a page press its buttons that were made with :func:`pressed_every`."""
    page.load(None, inputs=None, outputs=None, js=PRESS_BUTTONS, show_progress="hidden", **not_in_api(gradio))


def not_in_api(gradio: Any) -> dict[str, Any]:
    """Return the arguments that keep an event out of Z-Waif's public API."""
    private = "api_visibility" in inspect.signature(gradio.on).parameters
    return {"api_visibility": "private"} if private else {"api_name": False}


def open_page(gradio: Any) -> tuple[Any, Any]:
    """Return the page that is open for new components, and the innermost open tab (None if no tab is open)."""
    context = import_module(f"{gradio.__name__}.context").Context
    tab = context.block
    while tab is not None and not hasattr(tab, "select"):
        tab = tab.parent
    return context.root_block, tab


def add(gradio: Any, seconds: float, function: Callable[[], Any], outputs: Sequence[Any]) -> None:
    """Call ``function`` every ``seconds`` while the place that is open now is visible, and update ``outputs``.

    Args:
        function: Returns the new value, or as many values as there are outputs; None leaves them alone. Must not raise.
    """
    page, _ = open_page(gradio)
    button = gradio.Button(value="Refresh", visible=False, **pressed_every(seconds))
    ask = _OneAtATime(function, gradio.update, len(outputs))
    button.click(ask, inputs=None, outputs=list(outputs), show_progress="hidden", queue=False, **not_in_api(gradio))
    press_buttons(gradio, page)


class _OneAtATime:
    """A function for several windows: while one waits for its result, the others get the last one."""

    def __init__(self, function: Callable[[], Any], unchanged: Callable[[], Any], outputs: int) -> None:
        self._function = function
        self._running = threading.Lock()
        self._unchanged = unchanged() if outputs == 1 else [unchanged() for _ in range(outputs)]
        self._last = self._unchanged
        self.__name__ = "refresh"

    def __call__(self) -> Any:
        if not self._running.acquire(blocking=False):
            return self._last
        try:
            result = self._function()
            if result is None:
                return self._unchanged
            self._last = result
            return result
        finally:
            self._running.release()
