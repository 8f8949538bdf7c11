"""The settings store: one table, kept in Z-Waif's ``.env`` and published as names in Z-Waif's ``utils.settings``.

Precedence: a variable exported before Z-Waif started, then ``.env`` (the last line of a repeated key), then the
default; an empty value means the default. Z-Waif itself gets the same from python-dotenv's ``load_dotenv()``. A change
while Z-Waif runs (:meth:`SettingsStore.set`, an edited ``.env``, a name changed by Z-Waif's own page) applies at once.
"""

from __future__ import annotations

import difflib
import os
import threading
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from zwaif_hooks import log, masking
from zwaif_hooks.host import env_file, setting_names
from zwaif_hooks.host.setting import BadSetting, NotSaved, SecretSetting, Setting, SettingProblem, Value

__all__ = ["BadSetting", "NotSaved", "SecretSetting", "Setting", "SettingProblem", "SettingsStore", "Value"]

Subscriber = Callable[[str, Value], None]

_ABSENT = object()
_EXPORTED = "It is also set as an environment variable, which counts more than .env: remove it there."


class SettingsStore:
    """The values of all settings. Thread-safe; :meth:`get` takes no lock and reads no file."""

    def __init__(
        self,
        table: Iterable[Setting] = (),
        env_path: Path | None = None,
        environ: MutableMapping[str, str] = os.environ,
        say: Callable[[str], None] = log.say,
    ) -> None:
        """``env_path``: Z-Waif's ``.env``, which need not exist; None: keep changes in memory. ``say`` gets errors."""
        self._env_path = env_path
        self._environ = environ
        self._say = say
        self._lock = threading.RLock()
        self._table: dict[str, Setting] = {}
        self._values: dict[str, Value] = {}
        self._secrets: dict[str, Value] = {}
        self._originals: dict[str, Setting] = {}
        self._left_out: list[str] = []
        self._problems: dict[str, str] = {}
        self._said: set[str] = set()
        self._subscribers: list[Subscriber] = []
        self._namespace: dict[str, Any] = {}
        self._seen: dict[str, tuple[tuple[str, object], ...]] = {}
        self._file: dict[str, str] = {}
        self._unsaved: set[str] = set()
        self._stamp: object = _ABSENT
        self._read_file()
        self.extend(table)

    @property
    def table(self) -> tuple[Setting, ...]:
        """All settings, in the order in which they were added."""
        return tuple(self._table.values())

    def setting(self, name: str) -> Setting:
        """Return the description of one setting.

        Raises:
            BadSetting: there is none of that name; the message suggests the nearest one.
        """
        if name in self._table:
            return self._table[name]
        near = difflib.get_close_matches(name.upper(), self._table, n=1)
        raise BadSetting(f"There is no setting {name}." + (f" Did you mean {near[0]}?" if near else ""))

    def get(self, name: str) -> Any:
        """Return the current value, of the type of the setting's default.

        Raises:
            KeyError: there is no setting of that name.
            SecretSetting: it is a secret, which only :meth:`secret` returns.
        """
        for attribute, seen in self._seen.get(name, ()):
            if self._namespace.get(attribute, seen) is not seen:
                self._follow(name)
                break
        try:
            return self._values[name]
        except KeyError:
            if name not in self._secrets:
                raise KeyError(f"there is no setting {name}") from None
        raise SecretSetting(f"{name} is a secret: read it with settings.secret(SETTING), which needs its Setting")

    def secret(self, setting: Setting) -> str:
        """Return the value of a secret; empty if it is not set.

        ``setting`` must be the very object that was registered: a plugin that knows the name only cannot read it.

        Raises:
            SecretSetting: it is another object.
        """
        if self._originals.get(setting.name) is not setting:
            raise SecretSetting(f"{setting.name} can only be read with the Setting object that its plugin registered")
        return str(self._secrets[setting.name])

    def shown(self, name: str) -> str:
        """Return the current value as users may see it: a secret is masked."""
        return self._table[name].shown(self._held(name)[name])

    def text_of(self, name: str) -> str:
        """Return the text of any key in the environment or ``.env``, a setting or not; empty if neither has it.

        A secret is masked.
        """
        return self.shown(name) if name in self._secrets else self._environ.get(name) or self._file.get(name, "")

    def set(self, name: str, value: object) -> None:
        """Set a value now and for the next start: in ``.env``, ``os.environ``, ``utils.settings`` and for subscribers.

        Raises:
            BadSetting: invalid; nothing was changed.
            NotSaved: it applies only until Z-Waif ends: ``.env`` cannot be written, or a variable is exported.
        """
        setting = self.setting(name)
        typed = setting.parse(value)
        with self._lock:
            edits = self._take_edits()
            exported = self._exported(name, self._file) and name not in self._unsaved
            self._environ[name] = setting.text(typed)
            self._problems.pop(name, None)
            failure = self._save(name, setting.text(typed)) or (_EXPORTED if exported else "")
            self._store(name, typed)
            edits += self._take_edits()  # edits made during the save
        for edited, edit in edits:
            if edited != name:
                self._notify(edited, edit)
        self._notify(name, typed)
        if failure:
            raise NotSaved(f"{name} is now {setting.shown(typed) or 'empty'}, but only until Z-Waif ends. {failure}")

    def extend(self, table: Iterable[Setting]) -> None:
        """Add settings that nothing shows. A plugin returns its own from ``register_settings`` instead.

        If a name exists already, the first one stays. A key of Z-Waif's own is left out, and the console says so.
        """
        with self._lock:
            for setting in table:
                if setting.name in setting_names.ZWAIF_KEYS:
                    self._leave_out(f"The setting {setting.name} is left out: it is a key of Z-Waif's own")
                elif setting.name not in self._table:
                    self._add(setting, setting)

    def register(self, plugin: str, table: Iterable[object]) -> None:
        """Add the settings that a plugin returned from ``register_settings``.

        One that is not allowed (``setting_names``), or that another plugin has already, is left out, and the console
        says so with the plugin's name. So is an object that is no ``Setting``, and the second of two with one name.
        """
        declared: set[str] = set()
        with self._lock:
            for number, setting in enumerate(table, 1):
                if not isinstance(setting, Setting):
                    why = f"expected a Setting, got {type(setting).__name__}"
                    self._leave_out(f"Plugin {plugin!r}: its setting number {number} is left out: {why}")
                    continue
                other = self._table.get(setting.name)
                why = "it declares that name twice" if setting.name in declared else ""
                declared.add(setting.name)
                if other is not None and other.plugin == plugin and not why:
                    continue
                why = why or setting_names.why_not_allowed(setting, plugin)
                if other is not None and not why:
                    why = f"plugin {other.plugin!r} has one of that name" if other.plugin else "the name is taken"
                if why:
                    self._leave_out(f"Plugin {plugin!r}: its setting {setting.name} is left out: {why}")
                else:
                    self._add(replace(setting, plugin=plugin), setting)

    def left_out(self) -> list[str]:
        """Return one line for each declared setting that is not allowed."""
        return list(self._left_out)

    def mistyped(self) -> list[str]:
        """Return one line for each key in ``.env`` that looks like a mistyped setting of a plugin."""
        return list(setting_names.mistyped(self._file, self._table.values()))

    def subscribe(self, callback: Subscriber) -> None:
        """Call ``callback(name, value)`` after each change, in the thread that made or noticed it.

        The value of a secret is masked: read it with :meth:`secret`.
        """
        self._subscribers.append(callback)

    def bind(self, module: ModuleType) -> None:
        """Publish all settings as names in Z-Waif's ``utils.settings``; existing names keep their value.

        The exception is ``live_name``, which is overwritten, because a page shows it.
        """
        with self._lock:
            self._namespace = module.__dict__
            for setting in self._table.values():
                self._publish(setting)

    def reload(self) -> None:
        """Apply what was edited in ``.env`` since it was last read. Costs one ``stat`` if nothing was."""
        if self._env_path is None or env_file.stamp(self._env_path) == self._stamp:
            return
        with self._lock:
            edits = self._take_edits()
        for name, value in edits:
            self._notify(name, value)

    def problems(self) -> list[str]:
        """Return one plain line for each invalid value (its default applies instead) and for an unreadable file."""
        return list(self._problems.values())

    def _add(self, setting: Setting, original: Setting) -> None:
        self._table[setting.name] = setting
        if setting.secret:
            self._originals[setting.name] = original
        self._held(setting.name)[setting.name] = self._read(setting)
        self._publish(setting)

    def _leave_out(self, line: str) -> None:
        if line not in self._left_out:
            self._left_out.append(line)
            self._say(line)

    def _held(self, name: str) -> dict[str, Value]:
        """Return the dictionary with a setting's value. Secrets have one of their own, which :meth:`get` cannot see."""
        return self._secrets if self._table[name].secret else self._values

    def _read(self, setting: Setting) -> Value:
        """Return the value of one setting from the environment, the file or the default; report a problem once."""
        raw = self._environ.get(setting.name)
        if raw is None:
            raw = self._file.get(setting.name, "")
        if setting.secret:
            masking.hide(raw.strip())
        try:
            value = setting.parse(raw)
        except BadSetting as problem:
            self._complain(setting.name, f"{problem} Using {setting.text(setting.default) or 'nothing'} instead.")
            return setting.default
        self._problems.pop(setting.name, None)
        return value

    def _complain(self, key: str, line: str) -> None:
        self._problems[key] = line
        if line not in self._said:
            self._said.add(line)
            self._say(line)

    def _exported(self, name: str, file: dict[str, str]) -> bool:
        """Return whether the environment has a value of its own that did not come from ``file``."""
        return name in self._environ and self._environ[name] != file.get(name)

    def _take_edits(self) -> list[tuple[str, Value]]:
        """Apply what was edited in the file since it was last read, and return the settings that changed."""
        before = dict(self._file)
        if not self._read_file():
            return []
        edited = [n for n in self._table if before.get(n) != self._file.get(n) and not self._exported(n, before)]
        return [(name, value) for name in edited for value in [self._take_edit(name)] if value is not None]

    def _take_edit(self, name: str) -> Value | None:
        """Apply the file's new text of a setting. Return the value, or None if it stayed the same."""
        self._environ.pop(name, None)
        if name in self._file:
            self._environ[name] = self._file[name]
        old, new = self._held(name)[name], self._read(self._table[name])
        if new == old:
            return None
        self._store(name, new)
        return new

    def _read_file(self) -> bool:
        """Read ``.env`` if it changed, and return whether it did."""
        if self._env_path is None:
            return False
        stamp = env_file.stamp(self._env_path)
        if stamp == self._stamp:
            return False
        try:
            self._file = env_file.read(self._env_path)
            self._problems.pop("", None)
        except env_file.EnvFileError as problem:
            self._complain("", str(problem))
        self._stamp = stamp
        return True

    def _save(self, name: str, text: str) -> str:
        """Write one line of ``.env``. Return the reason if that failed, otherwise an empty text."""
        if self._env_path is None:
            return ""
        try:
            env_file.write(self._env_path, name, text)
        except env_file.EnvFileError as problem:
            self._unsaved.add(name)
            return str(problem)
        self._unsaved.discard(name)
        return ""

    def _store(self, name: str, value: Value) -> None:
        """Set ``value`` for :meth:`get` and in ``utils.settings``."""
        if self._table[name].secret:
            masking.hide(str(value))
        self._held(name)[name] = value
        for attribute, _ in self._seen.get(name, ()):
            self._namespace[attribute] = value
        self._watch(name)

    def _publish(self, setting: Setting) -> None:
        if not self._namespace or setting.secret:
            return
        value = self._values[setting.name]
        self._namespace.setdefault(setting.name, value)
        if setting.live_name:
            self._namespace[setting.live_name] = value
        self._watch(setting.name)

    def _watch(self, name: str) -> None:
        """Remember the values of the published names, so that :meth:`get` notices when someone else changes one."""
        if self._namespace and not self._table[name].secret:
            names = (name, self._table[name].live_name)
            self._seen[name] = tuple((n, self._namespace[n]) for n in names if n)

    def _follow(self, name: str) -> None:
        """Apply a value that someone else gave a published name. Whether it is saved is up to Z-Waif."""
        with self._lock:
            pairs = [(self._namespace.get(n, seen), seen) for n, seen in self._seen[name]]
            new = next((now for now, seen in pairs if now is not seen), _ABSENT)
            if new is _ABSENT:
                return
            try:
                value = self._table[name].parse(new)
            except BadSetting as problem:
                self._complain(name, f"{problem} Keeping {self._table[name].text(self._values[name])}.")
                value = self._values[name]
            differs = value != self._values[name]
            self._store(name, value)
        if differs:
            self._notify(name, value)

    def _notify(self, name: str, value: Value) -> None:
        told = self._table[name].shown(value) if self._table[name].secret else value
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(name, told)
            except Exception as error:  # a plugin's error must not undo a setting or stop the other subscribers
                log.report(f"A plugin could not follow the change of {name}: {error}", error)
