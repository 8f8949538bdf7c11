"""Values that the page changes: checked, saved one at a time, and taken back where they were a bad choice."""

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
from zwaif_hooks.host.settings import Setting, SettingProblem, SettingsStore

ENABLED = "API_FALLBACK_ENABLED"
MODEL = "API_FALLBACK_MODEL"

LONGEST_INPUT = 1000
"""Characters that any text box of the page may hold."""
REMEMBERED = 50
"""Changes that can be undone."""
ONE_CHANGE_SECONDS = 3.0
"""A slider that is being dragged changes its setting many times: what follows this soon is the same change."""

Seen = str
"""The values that one window of the page showed last, as JSON; empty before it was told any.

The window keeps it in an invisible box: with a ``gr.State``, 4.36 holds a connection open for each window, which in
Z-Waif ends in a traceback on the console, as the server was started in a thread.
"""


@dataclass
class _Edit:
    """Values before one change, by setting; None where nobody had chosen one."""

    before: dict[str, Any]
    at: float


class SettingEdits:
    """Shared by all windows of the page. A problem comes back as a line for the status box, never as an exception.

    Args:
        names: the settings that the page may touch; no other can be changed through it.
        tree: Z-Waif's folder, whose ``.env`` tells whether a model was chosen at all.
        picked: label and value of the model in the list, where that is more than the setting.
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

    def values(self) -> list[Any]:
        """What the components for :attr:`names` show."""
        return [self.displayed(name) for name in self.names]

    def displayed(self, name: str) -> Any:
        """What its component shows, as JSON has it."""
        return list(self._picked()) if name == MODEL and self._picked else self.get(name)

    def seen_now(self) -> Seen:
        """What a window has seen once it is told every value."""
        return json.dumps(self.values())

    def seen_with(self, seen: Seen, name: str) -> Seen:
        """What a window has seen once it is told the new value of ``name``."""
        known = self.parse_seen(seen)
        return json.dumps(list({**known, name: self.displayed(name)}.values())) if known else ""

    def parse_seen(self, text: object) -> dict[str, Any]:
        """The values of :attr:`names` as a window has them; empty where it does not say."""
        try:
            values = json.loads(text) if isinstance(text, str) and text else None
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, list) or len(values) != len(self.names):
            return {}
        return dict(zip(self.names, values, strict=True))

    def set(self, name: str, value: object) -> str:
        """Change one setting; the problem in one line, empty where there was none."""
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
        """One line on the value that counts now."""
        setting = self._settings.setting(name)
        return f"Saved: {title(setting)} is {self._in_words(setting)}."

    def _in_words(self, setting: Setting) -> str:
        """Its value as the page shows it."""
        if setting.name == MODEL and self._picked:
            return str(self.displayed(MODEL)[0])
        return setting.text(self.get(setting.name)) or "empty"

    def undo(self) -> str:
        """Back to the values before the last change; pressed again, before the one before."""
        with self._lock:
            if not self._made:
                return "There is nothing to undo: no value was changed here since Z-Waif started."
            last = self._made.pop()
        return self._restore(last.before, "Undone")

    def reset(self) -> str:
        """Every setting of the page to its default, but the switch; one change, so that it can be undone."""
        defaults = {name: self._default(name) for name in self.names if name != ENABLED}
        now = {name: self._chosen(name) for name in defaults}
        before = {name: value for name, value in now.items() if value != defaults[name]}
        if not before:
            return "All values are at their default already."
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
            return f"That is too long for {label}: {len(value)} characters, {LONGEST_INPUT} are allowed."
        return ""

    def _means(self, name: str, value: object) -> object:
        """The value as the setting would hold it; what cannot be one is told when it is saved."""
        try:
            return self._settings.setting(name).parse(value)
        except SettingProblem:
            return None

    def _chosen(self, name: str) -> Any:
        """The value; None for a model that nobody chose, whose default gives way to one that is on this computer."""
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
        except SettingProblem as problem:  # one that was only not saved acts all the same
            return str(problem).replace(name, title(self._settings.setting(name)))
        return ""

    def _keep_trust(self) -> str:
        """Write down which host has the key and the trust by now, so that it keeps them also after a restart.

        Why that cannot be, where it cannot: then the host must stay, too.
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
            return f"{TRUSTED} is an empty environment variable: take it out there, or change the host by hand."
        return ""

    def _unset(self, name: str) -> str:
        """The default counts again, as an empty line: written out it would be a choice."""
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
