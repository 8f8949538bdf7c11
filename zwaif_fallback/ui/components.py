"""Makes components in the style of Z-Waif's page, and wires events that are cheap and private."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from zwaif_hooks.host import live_part
from zwaif_hooks.host.settings_store import Setting, SettingsStore
from zwaif_hooks.masking import masked

Function = Callable[..., Any] | None
_FOLDERS = re.compile(r"(?<![\w./:\\~-])(?:[A-Za-z]:[\\/]|\\\\|/)(?:[^\s'\"<>|:;,()\\/]+[\\/])+")
"""All of an absolute path but its last name. Matches neither URLs nor ``owner/name``."""


class Components:
    """Gradio, as the section uses it.

    ``interactive`` is always given: Gradio disables a box that has no event.
    """

    def __init__(self, gradio: Any, settings: SettingsStore) -> None:
        self.gradio = gradio
        self._setting = settings.setting
        self._hidden = live_part.not_in_api(gradio)

    def label(self, name: str) -> str:
        return title(self._setting(name))

    def help(self, name: str) -> str:
        return self._setting(name).help

    def row(self) -> Any:
        return self.gradio.Row()

    def button(self, label: str, **how: Any) -> Any:
        return self.gradio.Button(value=label, **how)

    def view(self, label: str, text: str, lines: int) -> Any:
        """Make a read-only box."""
        return self.gradio.Textbox(value=text, label=label, lines=lines, max_lines=40, interactive=False)

    def words(self, html: str = "", **how: Any) -> Any:
        """Make lines of text that are as high as their content, on a phone too; a text box would need scrolling."""
        return self.gradio.HTML(value=html, elem_classes=["zwaif-fallback-words"], **how)

    def text(self, label: str, value: str, **how: Any) -> Any:
        return self.gradio.Textbox(value=value, label=label, interactive=True, **how)

    def slider(self, name: str, value: float, end: float) -> Any:
        """Make a slider up to ``end``. The number box beside it takes higher values, if the setting allows them."""
        setting = self._setting(name)
        low, high = setting.minimum or 0, setting.maximum or end
        return self.gradio.Slider(
            minimum=low,
            maximum=max(value, min(high, end)),
            step=0.1 if low < 1 and high <= 100 and isinstance(setting.default, float) else 1,
            value=value,
            label=self.label(name),
            info=setting.help,
            interactive=True,
        )

    def choice(self, name: str, value: str) -> Any:
        setting = self._setting(name)
        return self.gradio.Dropdown(
            choices=list(setting.choices), value=value, label=self.label(name), info=setting.help, interactive=True
        )

    def switch(self, name: str, value: bool) -> Any:
        setting = self._setting(name)
        return self.gradio.Checkbox(value=value, label=self.label(name), info=setting.help, interactive=True)

    def line(self, name: str, value: str) -> Any:
        return self.text(self.label(name), value, info=self._setting(name).help)

    def on(self, event: Any, function: Function, inputs: Any, outputs: Any, shared_limit: str = "", **how: Any) -> None:
        """Wire an event: without a public API entry or progress overlay, and not queued behind other windows."""
        limit = (
            {"concurrency_limit": 1, "concurrency_id": shared_limit} if shared_limit else {"concurrency_limit": None}
        )
        event(function, inputs=inputs, outputs=outputs, show_progress="hidden", **limit, **self._hidden, **how)


def without_folders(text: str) -> str:
    """Mask secrets, and shorten each absolute path to ``…/name``: visitors should not learn this computer's folders.

    The console and the log file show full paths.
    """
    text = masked(text)
    home = str(Path.home())
    # Replaced first: its name may contain spaces, where the pattern for paths stops.
    text = re.sub(rf"{re.escape(home)}(?=[\\/])", "/home/~", text) if len(home) > 1 else text
    return _FOLDERS.sub("…/", text)


def as_html(text: str) -> str:
    """Return text as HTML: escaped, and without absolute paths."""
    return escape(without_folders(text))


def paragraph(text: str) -> str:
    """Return a line of text as HTML."""
    return f"<p>{as_html(text)}</p>" if text else ""


def problem(text: str) -> str:
    """Return a problem as HTML, to be shown next to the control it is about."""
    return f'<p role="alert" style="color:#c2670c;font-weight:600">&#9888; {as_html(text)}</p>' if text else ""


def title(setting: Setting) -> str:
    """Return a setting's label in Title Case, as on the rest of Z-Waif's page; a plugin's label is its author's."""
    if setting.plugin:
        return setting.label or setting.name
    first, *rest = (setting.label or setting.name).split()
    return " ".join([first, *(word if len(word) < 4 else word[0].upper() + word[1:] for word in rest)])


def text_of(value: object) -> str:
    """Return what the page sent for a text box; anything but text counts as empty."""
    return value.strip() if isinstance(value, str) else ""
