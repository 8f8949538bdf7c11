"""One setting: its name, its allowed values, and how it is written."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from zwaif_hooks.masking import MASK

Value = bool | int | float | str

_ON = frozenset({"on", "true", "1", "yes"})
_OFF = frozenset({"off", "false", "0", "no"})


def is_on(text: str) -> bool:
    """Return whether a variable is neither empty nor switched off (``OFF``, ``0`` …)."""
    return text.strip().lower() not in _OFF | {""}


class SettingProblem(Exception):
    """``str(problem)`` is one plain line for the user."""


class BadSetting(SettingProblem, ValueError):
    """The value is invalid; nothing was changed."""


class NotSaved(SettingProblem, OSError):
    """The value applies only until Z-Waif ends: ``.env`` could not be written."""


class SecretSetting(SettingProblem, LookupError):
    """A secret was read by its name, or by another plugin."""


@dataclass(frozen=True)
class Setting:
    """One setting. Its type is the type of ``default``; a bool is written ``ON`` or ``OFF``, as Z-Waif does."""

    name: str
    """Key in ``.env``, and name in ``utils.settings``."""
    default: Value
    help: str
    """One or two sentences for users who do not program."""
    label: str = ""
    """Short name for the Settings tab."""
    choices: tuple[str, ...] = ()
    """The only texts allowed (in any case), if not empty."""
    pattern: str = ""
    """Regular expression that the whole text must match (in any case); empty if every text is allowed."""
    looks: str = ""
    """Describes such a text, as the end of the sentence "it must be …"."""
    minimum: float | None = None
    maximum: float | None = None
    live_name: str = ""
    """A second, lower-case name in ``utils.settings`` that Z-Waif or its page may change while it runs."""
    secret: bool = False
    """A key or password: masked in everything that is shown, printed or logged, and read with
    :meth:`~zwaif_hooks.host.settings_store.SettingsStore.secret` only."""
    editable: bool | None = None
    """Whether Z-Waif's page may show and change it. Anybody who can open the page can change it there, so a path, a
    command or an address should not be. None: yes, unless it is free text (no ``choices``, no ``pattern``) or secret.
    """
    plugin: str = ""
    """Name of the plugin that registered it, which the registration fills in; empty for this package's own."""

    @property
    def on_page(self) -> bool:
        """Whether Z-Waif's page may show and change it."""
        if self.secret:
            return False
        if self.editable is not None:
            return self.editable
        return not isinstance(self.default, str) or bool(self.choices or self.pattern)

    def parse(self, raw: object) -> Value:
        """Convert ``raw`` (text from a file or a page, or a typed value) to the setting's type.

        Raises:
            BadSetting: it is invalid; the message names the key, the value and what is expected.
        """
        text = self.text(raw).strip()
        if not text:
            return self.default
        value = self._convert(text)
        if value is None:
            whose = f"Plugin {self.plugin!r}: " if self.plugin else ""
            found = MASK if self.secret else repr(text)
            raise BadSetting(f"{whose}{self.name} is {found}, but it must be {self.expected()}.")
        return value

    def shown(self, value: object) -> str:
        """Return ``value`` as users may see it: as :meth:`text`, but masked if it is a secret."""
        return MASK if self.secret and value else self.text(value)

    def text(self, value: object) -> str:
        """Return ``value`` as it is written in ``.env``."""
        if isinstance(value, bool):
            return "ON" if value else "OFF"
        if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        return "" if value is None else str(value)

    def expected(self) -> str:
        """Describe an allowed value, as the end of the sentence "it must be …"."""
        if isinstance(self.default, bool):
            return "ON or OFF"
        if self.choices:
            return "one of: " + ", ".join(self.choices)
        if isinstance(self.default, str):
            return self.looks or "one line of text"
        return ("a whole number" if isinstance(self.default, int) else "a number") + self._range()

    def _range(self) -> str:
        low, high = (None if limit is None else self.text(float(limit)) for limit in (self.minimum, self.maximum))
        if low is not None and high is not None:
            return f" from {low} to {high}"
        if low is not None:
            return f", {low} or more"
        return f", {high} or less" if high is not None else ""

    def _convert(self, text: str) -> Value | None:
        if isinstance(self.default, bool):
            return _on_off(text)
        if isinstance(self.default, str):
            return self._one_line(text)
        return self._number(text)

    def _one_line(self, text: str) -> str | None:
        if any(ord(char) < 32 or 0xD800 <= ord(char) <= 0xDFFF for char in text):
            return None
        if self.pattern and not re.fullmatch(self.pattern, text, re.IGNORECASE):
            return None
        if not self.choices:
            return text
        return next((choice for choice in self.choices if choice.lower() == text.lower()), None)

    def _number(self, text: str) -> int | float | None:
        try:
            value = int(text) if isinstance(self.default, int) else float(text)
        except ValueError:
            return None
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        return value if math.isfinite(value) and low <= value <= high else None


def _on_off(text: str) -> bool | None:
    if text.lower() in _ON:
        return True
    return False if text.lower() in _OFF else None
