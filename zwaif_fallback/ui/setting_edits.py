"""Settings changed on the page: where they are checked, saved, undone and reset."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zwaif_fallback.addresses import HOST, NOBODY, TRUSTED
from zwaif_fallback.ui.components import title
from zwaif_hooks.host import env_file
from zwaif_hooks.host.settings_store import Setting, SettingProblem, SettingsStore

ENABLED = "API_FALLBACK_ENABLED"
MODEL = "API_FALLBACK_MODEL"

LONGEST_INPUT = 1000
"""Most characters that a text box may send."""
REMEMBERED = 50
"""Changes that can be undone."""
ONE_CHANGE_SECONDS = 3.0
"""Edits of one setting within this time are one change: a dragged slider sends many of them."""

Seen = str
"""The values that a window of the page shows, as JSON; empty before it has received any.

The window keeps them in an invisible box. A ``gr.State`` would make Gradio 4.36 hold a connection open per window,
which ends in a traceback on Z-Waif's console, because its server runs in a thread.
"""


@dataclass
class _Edit:
    """The values before one change, by setting; None if nobody had chosen one."""

    before: dict[str, Any]
    at: float


class SettingEdits:
    """The changes made on the page, shared by all its windows. Problems are returned as a line, never raised.

    Args:
        names: The settings that the page may change; it cannot change any other.
        tree: Z-Waif's folder. Its ``.env`` says whether a model was chosen at all.
        picked: Returns label and value of the selected model, which may be another than the setting.
    """

    def __init__(
        self,
        settings: SettingsStore,
        names: Iterable[str],
        now: Callable[[], float] = time.monotonic,
        tree: Path | None = None,
        picked: Callable[[], Iterable[str]] | None = None,
    ) -> None:
        self._settings, self._tree, self._picked = settings, tree, picked
        self.names = tuple(names)
        self._now = now
        self._made: deque[_Edit] = deque(maxlen=REMEMBERED)
        self._lock = threading.Lock()

    def get(self, name: str) -> Any:
        return self._settings.get(name)

    def setting(self, name: str) -> Setting:
        return self._settings.setting(name)

    def values(self) -> list[Any]:
        """Return what the components for :attr:`names` show."""
        return [self.displayed(name) for name in self.names]

    def displayed(self, name: str) -> Any:
        """Return what a setting's component shows, as JSON."""
        return list(self._picked()) if name == MODEL and self._picked else self.get(name)

    def seen_now(self) -> Seen:
        """Return what a window has seen after it received every value."""
        return json.dumps(self.values())

    def seen_with(self, seen: Seen, name: str) -> Seen:
        """Return what a window has seen after it received the new value of ``name``."""
        known = self.parse_seen(seen)
        return json.dumps(list({**known, name: self.displayed(name)}.values())) if known else ""

    def parse_seen(self, text: object) -> dict[str, Any]:
        """Return the values of :attr:`names` as a window shows them; empty if it does not say."""
        try:
            values = json.loads(text) if isinstance(text, str) and text else None
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, list) or len(values) != len(self.names):
            return {}
        return dict(zip(self.names, values, strict=True))

    def set(self, name: str, value: object) -> str:
        """Change and save one setting. Return the problem in one line, or an empty string."""
        problem = self._unusable(name, value)
        if problem:
            return problem
        before = self._chosen(name)
        if self._means(name, value) == before:
            return ""
        problem = self._save(name, value)
        if self._chosen(name) != before:
            self._remember({name: before})
        return problem

    def saved_line(self, name: str) -> str:
        """Say in one line which value is in effect."""
        setting = self._settings.setting(name)
        return f"Saved: {title(setting)} is {self._in_words(setting)}."

    def _in_words(self, setting: Setting) -> str:
        """Return a setting's value as the page shows it."""
        if setting.name == MODEL and self._picked:
            return str(self.displayed(MODEL)[0])
        return setting.text(self.get(setting.name)) or "empty"

    def undo(self) -> str:
        """Undo the last change; called again, the one before it."""
        with self._lock:
            if not self._made:
                return "There is nothing to undo: no setting has been changed here since Z-Waif started."
            last = self._made.pop()
        return self._restore(last.before, "Undone")

    def reset(self) -> str:
        """Reset every setting of the page except the switch. It counts as one change and can be undone."""
        defaults = {name: self._default(name) for name in self.names if name != ENABLED}
        now = {name: self._chosen(name) for name in defaults}
        before = {name: value for name, value in now.items() if value != defaults[name]}
        if not before:
            return "All settings already have their default values."
        said = self._restore({name: defaults[name] for name in before}, "Reset")
        self._remember(before, apart=True)
        return said

    def _restore(self, values: dict[str, Any], word: str) -> str:
        problems = [problem for name, value in values.items() if (problem := self._save(name, value))]
        shown = [self._settings.setting(name) for name in values]
        told = "; ".join(f"{title(one)} is {self._in_words(one)} again" for one in shown[:4])
        more = f"; and {len(shown) - 4} more" if len(shown) > 4 else ""
        return " ".join([f"{word}: {told}{more}.", *problems])

    def _unusable(self, name: str, value: object) -> str:
        if name not in self.names:
            return f"{name} cannot be changed on this page."
        label = title(self._settings.setting(name))
        if not isinstance(value, (str, int, float)):
            return f"{label} must be a text or a number, not {type(value).__name__}."
        if isinstance(value, str) and len(value) > LONGEST_INPUT:
            return f"That is too long for {label}: {len(value)} characters; {LONGEST_INPUT} are allowed."
        return ""

    def _means(self, name: str, value: object) -> object:
        """Return the value as the setting would hold it; None for an invalid one, which saving will report."""
        try:
            return self._settings.setting(name).parse(value)
        except SettingProblem:
            return None

    def _chosen(self, name: str) -> Any:
        """Return the value; None for a model that nobody chose, in whose place one on this computer may answer."""
        from zwaif_fallback.choosing.auto import env_values
        from zwaif_fallback.choosing.no_model_chosen import is_chosen

        if name == MODEL and self._tree is not None and not is_chosen(env_values(self._tree)):
            return None
        return self.get(name)

    def _default(self, name: str) -> Any:
        return None if name == MODEL and self._tree is not None else self._settings.setting(name).default

    def _save(self, name: str, value: object) -> str:
        if value is None:
            return self._unset(name)
        try:
            self._settings.setting(name).parse(value)
            if name == HOST and (wrong := self._keep_trust()):
                return wrong
            self._settings.set(name, value)
        except SettingProblem as problem:  # the value may be in effect without being saved
            return str(problem).replace(name, title(self._settings.setting(name)))
        return ""

    def _keep_trust(self) -> str:
        """Record which host is trusted with the key, so it stays so after the host is changed here.

        Return the problem if that fails; the host must then stay as it is.
        """
        trusted = str(self.get(TRUSTED) or self.get(HOST) or NOBODY)
        try:
            if self._tree is None:
                self._settings.set(TRUSTED, trusted)
            elif env_file.read(self._tree / ".env").get(TRUSTED) != trusted:
                env_file.write(self._tree / ".env", TRUSTED, trusted)
                self._settings.reload()
        except (SettingProblem, env_file.EnvFileError) as problem:
            return str(problem)
        if self.get(TRUSTED) != trusted:
            return f"{TRUSTED} is an empty environment variable: remove it, or change the host by hand."
        return ""

    def _unset(self, name: str) -> str:
        """Restore the default by an empty line: a default written out would count as a choice."""
        try:
            if self._tree is not None:
                env_file.write(self._tree / ".env", name, "")
                self._settings.reload()
        except env_file.EnvFileError as problem:
            return str(problem)
        default = self._settings.setting(name).default
        return self._save(name, default) if self.get(name) != default else ""

    def _remember(self, before: dict[str, Any], apart: bool = False) -> None:
        with self._lock:
            now, last = self._now(), self._made[-1] if self._made else None
            if last and not apart and last.before.keys() == before.keys() and now - last.at < ONE_CHANGE_SECONDS:
                last.at = now
                return
            self._made.append(_Edit(before, now))
