"""Advanced: the settings that few people need, each with its sentence of help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zwaif_fallback.settings import SETTINGS
from zwaif_fallback.ui.changes import ENABLED, HOST, MODEL, Changes, Seen
from zwaif_fallback.ui.components import Components
from zwaif_fallback.ui.status import Status
from zwaif_hooks.host.settings import Setting

FILE_SETTINGS = frozenset({"FALLBACK_MODEL_DIR", "API_FALLBACK_LAST_WORDS", "API_FALLBACK_VISION_MODEL"})
"""They may name places on the disk, so they are changed in ``.env`` only: Gradio's functions are open to anybody."""
_SLIDER_END = 120
"""Seconds at the right end of a slider, where the setting allows more; the number beside it takes the rest."""


def names() -> list[str]:
    """The settings that Advanced holds, in the order of the table."""
    apart = {ENABLED, MODEL, HOST, *FILE_SETTINGS}
    return [setting.name for setting in SETTINGS if setting.name not in apart]


class Advanced:
    """What a change of one of them does."""

    def __init__(self, changes: Changes, status: Status, unchanged: Callable[[], Any]) -> None:
        self._changes, self._status, self._unchanged = changes, status, unchanged

    def change(self, name: str, value: object, seen: Seen = "") -> tuple[Any, str, Seen]:
        """The component's value, the status, and what the window has seen now.

        The previous value where the new one cannot be used.
        """
        before = self._changes.get(name)
        problem = self._changes.set(name, round(value, 2) if isinstance(value, float) else value)
        shown = self._changes.get(name) if problem else self._unchanged()
        if not problem and self._changes.get(name) == before:
            return shown, self._unchanged(), seen  # a box that was left as it was is no news
        return shown, self._status.text(problem or self._changes.saved(name)), self._changes.noted(seen, name)


class AdvancedControls:
    """One component a setting, of the kind that its type asks for."""

    def __init__(self, make: Components, advanced: Advanced, changes: Changes) -> None:
        self._advanced = advanced
        table = {setting.name: setting for setting in SETTINGS}
        with make.gradio.Accordion("Advanced", open=False):
            self.by_name = {name: _component(make, table[name], changes.get(name)) for name in names()}

    def wire(self, make: Components, status: Any, seen: Any) -> None:
        for name, component in self.by_name.items():
            change = _change(self._advanced, name)
            # A text counts when it is finished: half a number could load a model anew with half the window.
            finished = (component.submit, component.blur) if hasattr(component, "submit") else (component.input,)
            for event in finished:
                make.on(event, change, [component, seen], [component, status, seen], trigger_mode="always_last")


def _component(make: Components, setting: Setting, value: Any) -> Any:
    if setting.choices:
        return make.choice(setting.name, value)
    if isinstance(setting.default, bool):
        return make.switch(setting.name, value)
    if isinstance(setting.default, float):
        return make.slider(setting.name, value, _SLIDER_END)
    return make.line(setting.name, setting.text(value))


def _change(advanced: Advanced, name: str) -> Callable[[Any, Seen], tuple[Any, str, Seen]]:
    def change(value: Any, seen: Seen) -> tuple[Any, str, Seen]:
        return advanced.change(name, value, seen)

    return change
