"""The "API Fallback" section of Z-Waif's Settings tab.

:class:`Panel` holds what the page can do, plain functions without Gradio; :func:`build` lays the components out in
Z-Waif's own idiom and wires them. Gradio runs these functions in worker threads, one a click; loading happens in a
thread of the service, so closing or reloading the page interrupts nothing: a function here only watches it.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Protocol
from urllib.parse import urlsplit

from zwaif_fallback import catalogue
from zwaif_fallback.errors import FallbackError
from zwaif_hooks.host import Host, log
from zwaif_hooks.host.settings import Setting, SettingProblem
from zwaif_hooks.messages import Answer

ENABLED = "API_FALLBACK_ENABLED"
MODEL = "API_FALLBACK_MODEL"
HOST = "API_FALLBACK_HOST"
PRELOAD = "API_FALLBACK_PRELOAD"
DEADLINES = ("API_FALLBACK_CONNECT_TIMEOUT", "API_FALLBACK_FIRST_TOKEN_TIMEOUT", "API_FALLBACK_STALL_TIMEOUT")

TEST_MESSAGE = "Hello! Can you hear me?"
LONGEST_INPUT = 1000
"""Characters that any text box of the page may hold."""
_SLIDER_END = 120
"""Seconds at the right end of a slider, where the setting allows more; the number beside it takes the rest."""
_LOOK_AGAIN = 0.5
"""Seconds between two looks at a load."""
_SHOW_AGAIN = 0.1
"""Seconds between two states of a reply: sending each piece to the page takes longer than a small model does."""


class Service(Protocol):
    """What the section needs of the plugin."""

    def status_lines(self) -> list[str]:
        """What the user should know now, progress of a load included; from memory, at once."""

    def load_model(self, name: str, allow_download: bool) -> None:
        """Begin to load in the background and return; outcome and progress appear in ``status_lines``."""

    def is_loading(self) -> bool: ...

    def test_reply(self, prompt: str) -> Answer:
        """A real reply, made while its pieces are iterated; closing the iterator stops it."""

    def model_info(self, name: str) -> str: ...


class Panel:
    """What each control does. A problem becomes a line in the status box, never an exception in Z-Waif's console."""

    def __init__(
        self,
        host: Host,
        service: Service,
        unchanged: Callable[[], Any] = lambda: None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        """``unchanged`` makes the value that leaves a component as it is, so that nobody's typing is overwritten."""
        self._settings = host.settings
        self._service = service
        self._unchanged = unchanged
        self._wait = wait

    def status(self, news: str = "") -> str:
        """The text of the status box: what came of the click, then what the service says."""
        return "\n".join(dict.fromkeys(line for line in (news, *self._service.status_lines()) if line))

    def values(self) -> list[Any]:
        """What the components for settings show: enabled, model, host, the deadlines, preload."""
        return [self._settings.get(name) for name in (ENABLED, MODEL, HOST, *DEADLINES, PRELOAD)]

    def toggle(self) -> tuple[bool, str]:
        problem = self._set(ENABLED, not self._settings.get(ENABLED))
        return self._settings.get(ENABLED), self.status(problem)

    def change_host(self, text: object) -> tuple[str, str]:
        """Host and status; the previous host where the new one cannot be used."""
        address = _text(text)
        problem = host_problem(address) or self._set(HOST, address)
        return self._settings.get(HOST), self.status(problem or self._saved(HOST))

    def change(self, name: str, value: object) -> tuple[Any, str]:
        """One setting of "Advanced" and the status; the previous value where the new one cannot be used."""
        problem = self._set(name, round(value, 2) if isinstance(value, float) else value)
        shown = self._settings.get(name) if problem else self._unchanged()
        return shown, self.status(problem or self._saved(name))

    def load(self, name: object) -> Iterator[tuple[Any, str]]:
        """Make a model the chosen one and load it, downloading it where needed: a click asked for that."""
        model = _text(name)
        problem = _model_problem(model) or self._set(MODEL, model) or self._begin(model)
        yield self._settings.get(MODEL), self.status(problem)
        for status in self.watch(problem):
            yield self._unchanged(), status

    def watch(self, problem: str = "") -> Iterator[str]:
        """The status now and, while a model is being loaded, again and again until it is there."""
        while self._service.is_loading():
            yield self.status(problem)
            self._wait(_LOOK_AGAIN)
        yield self.status(problem)

    def look(self) -> Iterator[tuple[bool, str]]:
        """What may have changed while another tab was open."""
        for status in self.watch():
            yield self._settings.get(ENABLED), status

    def model_info(self, name: object) -> str:
        return self._service.model_info(_text(name))

    def test(self, message: object) -> Iterator[tuple[str, str]]:
        """A real reply as it is made, at its end who gave it and how fast; and the status."""
        started = time.monotonic()
        yield "", self.status()
        try:
            for reply in self._reply(_text(message)[:LONGEST_INPUT] or TEST_MESSAGE, started):
                yield reply, self.status()
        except FallbackError as error:
            yield "No reply.", self.status(str(error))
        except Exception as error:  # the test is there to show what fails, whatever it is
            log.report(f"The test of the fallback failed: {type(error).__name__}: {error}", error)
            yield "No reply.", self.status(f"The test failed: {type(error).__name__}: {error}")

    def _reply(self, message: str, started: float) -> Iterator[str]:
        answer, text, first, shown = self._service.test_reply(message), "", None, 0.0
        pieces = iter(answer.pieces)
        try:
            for piece in pieces:
                text, now = text + piece, time.monotonic()
                if first is None and text.strip():
                    first = now - started
                if now - shown >= _SHOW_AGAIN:
                    shown = now
                    yield text.lstrip()
        finally:
            getattr(pieces, "close", lambda: None)()  # the page was closed: stop generating
        yield _signed(text.strip(), answer.answered_by, first, time.monotonic() - started)

    def _begin(self, model: str) -> str:
        try:
            self._service.load_model(model, allow_download=True)
        except FallbackError as error:
            return str(error)
        return ""

    def _saved(self, name: str) -> str:
        setting = self._settings.setting(name)
        return f"Saved: {title(setting)} is {setting.text(self._settings.get(name)) or 'empty'}."

    def _set(self, name: str, value: object) -> str:
        """Change one setting; the problem in one line, empty where there was none."""
        if isinstance(value, str) and len(value) > LONGEST_INPUT:
            return f"That is too long for {name}: {len(value)} characters, {LONGEST_INPUT} are allowed."
        try:
            self._settings.set(name, value)
        except SettingProblem as problem:
            return str(problem)
        return ""


def host_problem(text: str) -> str:
    """Why ``text`` is no address of a server, empty where it is one (or empty, which means none)."""
    if not text:
        return ""
    address = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(address)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if good and not any(char.isspace() for char in text):
        return ""
    return f"Fallback Host is {text!r}, but it must look like 127.0.0.1:5000 or http://127.0.0.1:5000."


def _model_problem(name: str) -> str:
    if name and name != catalogue.CUSTOM:
        return ""
    return "Type the model's Hugging Face name (owner/model) or its folder into Fallback Model, then press Load Model."


def _signed(text: str, who: str, first: float | None, whole: float) -> str:
    if first is None:
        return f"No text came from {who or 'anyone'} in {whole:.1f} s."
    return f"{text}\n\n[{who or 'unknown'}: first words after {first:.1f} s, all after {whole:.1f} s]"


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def build(gradio: Any, host: Host, service: Service) -> None:
    """Create the section in the tab that is open."""
    panel = Panel(host, service, gradio.update)
    with gradio.Accordion("API Fallback", open=True):
        _Section(gradio, host, panel).wire()


class _Section:
    """The components, created top to bottom as attributes, and their events.

    A box without an event shows as disabled in Gradio, hence ``interactive`` is always spelt out.
    """

    def __init__(self, gradio: Any, host: Host, panel: Panel) -> None:
        self._gradio, self._panel, self._setting = gradio, panel, host.settings.setting
        enabled, model, address, *seconds, preload = panel.values()
        with gradio.Row():
            self.toggle = gradio.Button(value="Check/Uncheck")
            self.enabled = gradio.Checkbox(value=enabled, label=self._label(ENABLED), interactive=False)
        with gradio.Row():
            self.model = self._model_list(model)
            self.load = gradio.Button(value="Load Model")
        self.info = self._view("Model Information", panel.model_info(model), lines=6)
        with gradio.Row():
            self.host = gradio.Textbox(
                value=address, label=self._label(HOST), placeholder="127.0.0.1:5000", interactive=True
            )
            self.change_host = gradio.Button(value="Change Host")
        with gradio.Row():
            self.message = gradio.Textbox(value=TEST_MESSAGE, label="Test Message", interactive=True)
            self.test = gradio.Button(value="Test Fallback")
        self.reply = self._view("Test Reply", "", lines=3)
        self.status = self._view("Fallback Status", panel.status(), lines=3)
        with gradio.Accordion("Advanced", open=False):
            self.deadlines = [self._slider(name, value) for name, value in zip(DEADLINES, seconds, strict=True)]
            self.preload = self._choice(PRELOAD, preload)

    def wire(self) -> None:
        panel, status = self._panel, self.status
        self._on(self.toggle.click, panel.toggle, None, [self.enabled, status])
        self._on(self.model.change, panel.model_info, self.model, self.info)
        self._on(self.load.click, panel.load, self.model, [self.model, status])
        for event in (self.change_host.click, self.host.submit):
            self._on(event, panel.change_host, self.host, [self.host, status])
        for event in (self.test.click, self.message.submit):
            self._on(event, panel.test, self.message, [self.reply, status], shared_limit="zwaif_fallback_test")
        for name, component in zip((*DEADLINES, PRELOAD), (*self.deadlines, self.preload), strict=True):
            self._on(component.input, _change(panel, name), component, [component, status], trigger_mode="always_last")
        self._refresh()

    def _refresh(self) -> None:
        """Current values when the page loads, status when the tab is opened. Polling would cost more than it shows."""
        panel, context = self._panel, import_module(f"{self._gradio.__name__}.context").Context
        page, tab = context.root_block, context.block
        for twin in self._older_switches(page):
            self._on(twin.change, bool, twin, self.enabled)
        shown = [self.enabled, self.model, self.host, *self.deadlines, self.preload]
        self._on(page.load, panel.values, None, shown)
        self._on(page.load, panel.watch, None, self.status)
        while tab is not None and not hasattr(tab, "select"):
            tab = tab.parent
        if tab is not None:
            self._on(tab.select, panel.look, None, [self.enabled, self.status])

    def _older_switches(self, page: Any) -> list[Any]:
        """v1.14-R4 has switches of its own for the same flag; ours follows their clicks.

        Not the other way round: a new value shown in one of them makes R4 rewrite ``.env`` in place, from two threads.
        """
        boxes = [block for block in page.blocks.values() if isinstance(block, self._gradio.Checkbox)]
        return [box for box in boxes if box is not self.enabled and box.label == self.enabled.label]

    def _on(self, event: Any, function: Any, inputs: Any, outputs: Any, shared_limit: str = "", **how: Any) -> None:
        """Wire one event: no public API entry, no grey veil, and no queue behind another window's long load."""
        limit = (
            {"concurrency_limit": 1, "concurrency_id": shared_limit} if shared_limit else {"concurrency_limit": None}
        )
        private = "api_visibility" in inspect.signature(self._gradio.on).parameters
        hidden = {"api_visibility": "private"} if private else {"api_name": False}
        event(function, inputs=inputs, outputs=outputs, show_progress="hidden", **limit, **hidden, **how)

    def _model_list(self, current: str) -> Any:
        names = catalogue.choices()
        return self._gradio.Dropdown(
            choices=names if current in names else [current, *names],
            value=current,
            label=self._label(MODEL),
            allow_custom_value=True,
            interactive=True,
        )

    def _slider(self, name: str, value: float) -> Any:
        setting = self._setting(name)
        low, high = setting.minimum or 0, setting.maximum or _SLIDER_END
        return self._gradio.Slider(
            minimum=low,
            maximum=max(value, min(high, _SLIDER_END)),
            step=0.1 if low < 1 else 1,
            value=value,
            label=self._label(name),
            info=setting.help,
            interactive=True,
        )

    def _choice(self, name: str, value: str) -> Any:
        setting = self._setting(name)
        choices = list(setting.choices)
        return self._gradio.Dropdown(
            choices=choices, value=value, label=self._label(name), info=setting.help, interactive=True
        )

    def _view(self, label: str, text: str, lines: int) -> Any:
        return self._gradio.Textbox(value=text, label=label, lines=lines, max_lines=12, interactive=False)

    def _label(self, name: str) -> str:
        return title(self._setting(name))


def title(setting: Setting) -> str:
    """A setting's label in Title Case, as on the rest of Z-Waif's page."""
    first, *rest = (setting.label or setting.name).split()
    return " ".join([first, *(word if len(word) < 4 else word[0].upper() + word[1:] for word in rest)])


def _change(panel: Panel, name: str) -> Callable[[Any], tuple[Any, str]]:
    def change(value: Any) -> tuple[Any, str]:
        return panel.change(name, value)

    return change
