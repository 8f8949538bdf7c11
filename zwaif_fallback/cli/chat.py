"""``chat``: talk to the fallback, in the character of the user's companion."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zwaif_fallback.cli import console
from zwaif_fallback.cli.options import (
    EXIT_OK,
    EXIT_PROBLEM,
    Arguments,
    command,
    with_json,
    with_plugins_dir,
    with_zwaif,
)

if TYPE_CHECKING:
    from zwaif_fallback.answering.service import FallbackService
    from zwaif_fallback.cli.chat_session import Conversation, Reply
    from zwaif_hooks.host.settings_store import SettingsStore
    from zwaif_hooks.plugins import PluginManager

_LAST_WORDS = "last words"


class _Terminal:
    """The terminal, shared by the chat and by notices from other threads.

    A notice may come at any moment. It gets its own line, and an interrupted prompt is printed again below it with
    what the user had typed.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._prompt = ""
        self._is_mid_line = False

    def ask(self, prompt: str) -> str:
        """Return what the user types after ``prompt``."""
        with self._lock:
            self._prompt, self._is_mid_line = prompt, bool(prompt)
        try:
            return input(prompt)
        finally:
            with self._lock:
                self._prompt, self._is_mid_line = "", False

    def write(self, text: str) -> None:
        """Print a piece of a reply."""
        with self._lock:
            print(text, end="", flush=True)
            self._is_mid_line = not text.endswith("\n")

    def notice(self, line: str) -> None:
        """Print a notice from the fallback."""
        self.aside(f"[{line}]")

    def aside(self, line: str) -> None:
        """Print a line that is not part of the chat."""
        with self._lock:
            shared = self._is_mid_line and sys.stdout.isatty()
            if shared:
                print(flush=True)
            console.say(line, "dim", sys.stderr)
            if shared and self._prompt:
                print(self._prompt + _unfinished_input(), end="", flush=True)
            elif shared:
                self._is_mid_line = False


def _unfinished_input() -> str:
    readline = sys.modules.get("readline")
    return str(readline.get_line_buffer()) if readline else ""


_terminal = _Terminal()


def add(commands: Any) -> None:
    chat = command(commands, "chat", _chat, "talk to the fallback and the plugins, in the character of your companion")
    chat.add_argument(
        "message", metavar="MESSAGE", nargs="?", help="say only this, then exit (default: a conversation)"
    )
    chat.add_argument(
        "--model", metavar="MODEL", help="talk to this model instead of the chosen one (demo: the demo's tiny model)"
    )
    chat.add_argument("--show-prompt", action="store_true", help="show each prompt that the local model gets")
    with_plugins_dir(with_json(with_zwaif(chat)))


def _chat(parsed: Arguments) -> int:
    from zwaif_fallback.cli.chat_session import Conversation, persona_of
    from zwaif_fallback.cli.plugin_runs import WithPlugins
    from zwaif_fallback.zwaif_tree import zwaif_folder

    tree = zwaif_folder(parsed.zwaif)
    persona = persona_of(tree)
    model = _model_setting_of(parsed.model, tree) if parsed.model else None
    with contextlib.ExitStack() as until_the_end:

        def service(plugins: PluginManager) -> FallbackService:
            made = _service(tree, model, plugins, parsed.show_prompt)
            return until_the_end.enter_context(contextlib.closing(made))

        plugins = WithPlugins(service, tree, parsed.plugins_dir, _terminal.notice, _terminal.aside)
        talk = Conversation(until_the_end.enter_context(contextlib.closing(plugins)), persona)
        name = persona.char_name or "Fallback"
        if parsed.message is None and not parsed.json and sys.stdin.isatty():
            end = "Ctrl+Z, then Enter," if os.name == "nt" else "Ctrl+D"
            console.say(f"You are talking to {name}. Ctrl+C stops a reply; {end} ends the chat.", "dim")
        reply: Reply | None = None
        for text in [parsed.message] if parsed.message is not None else _typed_lines(persona.user_name or "You"):
            reply = _exchange(talk, text, name, parsed.json)
    if reply is not None and reply.answered_by == _LAST_WORDS and (hint := _other_model(tree, model)):
        _terminal.notice(hint)
    return EXIT_OK if reply is None or (reply.text.strip() and reply.answered_by != _LAST_WORDS) else EXIT_PROBLEM


def _model_setting_of(name: str, tree: Path | None) -> str:
    """Return a model named on the command line as a value of the setting.

    Raises:
        FallbackError: There is no such model.
    """
    from zwaif_fallback import demo
    from zwaif_fallback.choosing.resolve_name import resolve
    from zwaif_fallback.zwaif_tree import model_setting, settings_store

    if name == "demo":
        return str(demo.MODEL)
    model = model_setting(name, tree, os.environ)
    resolve(model, tree, str(settings_store(tree, os.environ).get("FALLBACK_MODEL_DIR")))
    return model


def _service(tree: Path | None, model: str | None, plugins: PluginManager, show_prompt: bool) -> FallbackService:
    """Build the service as in Z-Waif, with nothing loaded yet."""
    from zwaif_fallback.answering.contracts import SecondServer
    from zwaif_fallback.answering.second_server import Deadlines, second_server
    from zwaif_fallback.answering.service import Collaborators, FallbackService
    from zwaif_fallback.cli.chat_session import CHAT
    from zwaif_fallback.local.model import LocalModel
    from zwaif_fallback.local.shown_prompts import ShownPrompts

    store, named = _settings(tree, model)

    def remote(address: str, name: str) -> SecondServer:
        deadlines = Deadlines(connect=float(store.get("API_FALLBACK_CONNECT_TIMEOUT")))
        return second_server(store.get, address, name, deadlines)

    hang_timeout = float(store.get("API_FALLBACK_ENGINE_TIMEOUT"))
    if show_prompt:
        local: LocalModel = ShownPrompts(_show, hang_timeout=hang_timeout, say=_terminal.notice)
    else:
        local = LocalModel(hang_timeout=hang_timeout, say=_terminal.notice)
    ask = plugins.prompt_formats, plugins.someone_will_answer
    service = FallbackService(
        Collaborators(store, local, remote, _terminal.notice, *ask, tree=tree, was_model_chosen=named)
    )
    if not str(store.get("API_FALLBACK_HOST")).strip():
        service.preload(CHAT)
    return service


def _show(text: str) -> None:
    console.say(text, "dim", sys.stderr)


def _settings(tree: Path | None, model: str | None) -> tuple[SettingsStore, Callable[[], bool]]:
    """Return the settings, and whether the user chose a model; one named on the command line is chosen."""
    from zwaif_fallback.choosing.no_model_chosen import MODEL, is_chosen
    from zwaif_fallback.zwaif_tree import env_values, settings_store

    environ = {**os.environ, MODEL: model} if model else dict(os.environ)
    return settings_store(tree, environ), lambda: is_chosen(env_values(tree, environ))


def _other_model(tree: Path | None, model: str | None) -> str:
    """Say which model to use instead, if the chosen one is not on this computer."""
    from zwaif_fallback.cli.status_facts import model_facts

    store, named = _settings(tree, model)
    return str(model_facts(store.get, tree, named())["instead"])


def _exchange(talk: Conversation, text: str, name: str, as_json: bool) -> Reply:
    from zwaif_fallback.answering import who_speaks

    if as_json:
        reply = talk.say(text, lambda piece: None)
        console.say_json({"message": text, **asdict(reply)}, indent=None)
        return reply
    label = [f"{name}: "]
    reply = talk.say(text, lambda piece: _terminal.write((label.pop() if label else "") + piece))
    if reply.text:
        _terminal.write("\n")
    signature = who_speaks.signature(reply.answered_by, reply.first_text_after, reply.finished_after, reply.stopped)
    console.say(signature, "dim", sys.stderr)
    return reply


def _typed_lines(user: str) -> Iterator[str]:
    """Yield the lines that the user types. The end of the input or Ctrl+C at the prompt ends them."""
    shown = f"{user}: " if sys.stdin.isatty() else ""
    if shown:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  (gives input() arrow keys and history; the Windows console has its own)
    while True:
        try:
            line = _terminal.ask(shown).strip()
        except (EOFError, KeyboardInterrupt):
            if shown:
                print(flush=True)
            return
        if line:
            yield line
