"""The settings that need no control of their own: ours under Advanced, and those of each plugin in a group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from zwaif_fallback.addresses import HOST
from zwaif_fallback.settings import SETTINGS
from zwaif_fallback.ui.components import Components, paragraph, without_folders
from zwaif_fallback.ui.setting_edits import ENABLED, MODEL, Seen, SettingEdits
from zwaif_hooks.host.settings_store import Setting

_SLIDER_END = 120
"""Right end of a slider in seconds. The number box beside it takes higher values, if the setting allows them."""


def names() -> list[str]:
    """Return the settings shown in Advanced, in the order of the table."""
    return [setting.name for setting in SETTINGS if setting.on_page and setting.name not in (ENABLED, MODEL, HOST)]


def by_plugin(table: Iterable[Setting]) -> dict[str, list[Setting]]:
    """Return the settings that other plugins registered, by plugin."""
    found: dict[str, list[Setting]] = {}
    for setting in table:
        if setting.plugin:
            found.setdefault(setting.plugin, []).append(setting)
    return found


class Advanced:
    """What happens when one of them is changed."""

    def __init__(self, edits: SettingEdits, update: Callable[..., Any]) -> None:
        """``update`` is ``gradio.update``."""
        self._edits, self._update = edits, update

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
        return self._update(info=f"{said}{self._edits.setting(name).help}"), self._edits.seen_with(seen, name)


class SettingControls:
    """A group of settings, with one component each; the setting's type decides which."""

    def __init__(
        self, make: Components, advanced: Advanced, edits: SettingEdits, title: str, settings: Sequence[Setting]
    ) -> None:
        """``settings``: those that the page may not change are only named."""
        self._advanced = advanced
        with make.gradio.Accordion(title, open=False):
            self.by_name = {one.name: _component(make, one, edits.get(one.name)) for one in settings if one.on_page}
            if apart := [one.name for one in settings if not one.on_page]:
                make.words(paragraph(f"Change in .env, or with zwaif-fallback settings set: {', '.join(apart)}"))

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
    if isinstance(setting.default, float) and setting.minimum is not None and setting.maximum is not None:
        return make.slider(setting.name, value, _SLIDER_END)
    return make.line(setting.name, setting.text(value))


def _change(advanced: Advanced, name: str) -> Callable[[Any, Seen], tuple[Any, Seen]]:
    def change(value: Any, seen: Seen) -> tuple[Any, Seen]:
        return advanced.change(name, value, seen)

    return change
