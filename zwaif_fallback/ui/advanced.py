"""Advanced: the settings that few people need, each with its help text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zwaif_fallback.addresses import HOST, TRUSTED
from zwaif_fallback.settings import SETTINGS
from zwaif_fallback.ui.components import Components, without_folders
from zwaif_fallback.ui.setting_edits import ENABLED, MODEL, Seen, SettingEdits
from zwaif_hooks.host.settings_store import Setting

FILE_SETTINGS = frozenset({"FALLBACK_MODEL_DIR", "API_FALLBACK_LAST_WORDS", "API_FALLBACK_VISION_MODEL", TRUSTED})
"""Settings that name places on the disk, or who gets the key. They can be changed only in ``.env``, because anybody who
reaches the page can call its functions."""
_SLIDER_END = 120
"""Right end of a slider in seconds. The number box beside it takes higher values, if the setting allows them."""


def names() -> list[str]:
    """Return the settings shown in Advanced, in the order of the table."""
    apart = {ENABLED, MODEL, HOST, *FILE_SETTINGS}
    return [setting.name for setting in SETTINGS if setting.name not in apart]


class Advanced:
    """What happens when one of them is changed."""

    def __init__(self, edits: SettingEdits, update: Callable[..., Any]) -> None:
        """``update`` is ``gradio.update``."""
        self._edits, self._update = edits, update
        self._help = {setting.name: setting.help for setting in SETTINGS}

    def change(self, name: str, value: object, seen: Seen = "") -> tuple[Any, Seen]:
        """Save a value. Return the component's update, and what the window has seen.

        An unusable value is replaced by the previous one, and the component's info line says why.
        """
        before = self._edits.get(name)
        wrong = self._edits.set(name, round(value, 2) if isinstance(value, float) else value)
        if wrong:
            shown = self._update(value=self._edits.get(name), info=f"\u26a0 {without_folders(wrong)}")
            return shown, self._edits.seen_with(seen, name)
        said = "" if self._edits.get(name) == before else "\u2713 Saved. "
        return self._update(info=f"{said}{self._help[name]}"), self._edits.seen_with(seen, name)


class AdvancedControls:
    """One component per setting; the setting's type decides which."""

    def __init__(self, make: Components, advanced: Advanced, edits: SettingEdits) -> None:
        self._advanced = advanced
        table = {setting.name: setting for setting in SETTINGS}
        with make.gradio.Accordion("Advanced", open=False):
            self.by_name = {name: _component(make, table[name], edits.get(name)) for name in names()}

    def wire(self, make: Components, seen: Any) -> None:
        for name, component in self.by_name.items():
            change = _change(self._advanced, name)
            # A text is saved when it is finished: half a number could reload the model with half the window.
            finished = (component.submit, component.blur) if hasattr(component, "submit") else (component.input,)
            for event in finished:
                make.on(event, change, [component, seen], [component, seen], trigger_mode="always_last")


def _component(make: Components, setting: Setting, value: Any) -> Any:
    if setting.choices:
        return make.choice(setting.name, value)
    if isinstance(setting.default, bool):
        return make.switch(setting.name, value)
    if isinstance(setting.default, float):
        return make.slider(setting.name, value, _SLIDER_END)
    return make.line(setting.name, setting.text(value))


def _change(advanced: Advanced, name: str) -> Callable[[Any, Seen], tuple[Any, Seen]]:
    def change(value: Any, seen: Seen) -> tuple[Any, Seen]:
        return advanced.change(name, value, seen)

    return change
