"""``chat``: talk to the fallback, with the character of the user's own Z-Waif."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zwaif_fallback.cli import console
from zwaif_fallback.cli.options import EXIT_OK, EXIT_PROBLEM, Arguments, command, with_json, with_zwaif

if TYPE_CHECKING:
    from zwaif_fallback.answering.service import FallbackService
    from zwaif_fallback.cli.chat_session import Conversation, Reply
    from zwaif_hooks.host.settings import SettingsStore

_LAST_WORDS = "last words"


class _Screen:
    """News come from other threads at any moment: on a terminal they get a line of their own, and what stood there (a
    prompt with what was typed, the beginning of a reply) is not glued to them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._prompt = ""
        self._is_mid_line = False

    def ask(self, prompt: str) -> str:
        """What the user types behind ``prompt``."""
        with self._lock:
            self._prompt, self._is_mid_line = prompt, bool(prompt)
        try:
            return input(prompt)
        finally:
            with self._lock:
                self._prompt, self._is_mid_line = "", False

    def write(self, text: str) -> None:
        """A piece of a reply."""
        with self._lock:
            print(text, end="", flush=True)
            self._is_mid_line = not text.endswith("\n")

    def news(self, line: str) -> None:
        """What the fallback has to say about itself, beside the conversation."""
        with self._lock:
            shared = self._is_mid_line and sys.stdout.isatty()
            if shared:
                print(flush=True)
            console.say(f"[{line}]", "dim", sys.stderr)
            if shared and self._prompt:
                print(self._prompt + _typed_so_far(), end="", flush=True)
            elif shared:
                self._is_mid_line = False


def _typed_so_far() -> str:
    readline = sys.modules.get("readline")
    return str(readline.get_line_buffer()) if readline else ""


_screen = _Screen()


def add(commands: Any) -> None:
    chat = command(commands, "chat", _chat, "talk to the fallback, with the character of your own Z-Waif")
    chat.add_argument("message", metavar="MESSAGE", nargs="?", help="say this only; without it, a conversation")
    chat.add_argument("--model", metavar="MODEL", help="talk to this one, whatever the setting says")
    with_json(with_zwaif(chat))


def _chat(parsed: Arguments) -> int:
    from zwaif_fallback.cli.chat_session import Conversation, persona_of
    from zwaif_fallback.zwaif_tree import zwaif_folder

    tree = zwaif_folder(parsed.zwaif)
    persona = persona_of(tree)
    model = _named(parsed.model, tree) if parsed.model else None
    service = _service(tree, model)
    with contextlib.closing(service):
        talk = Conversation(service, persona)
        name = persona.char_name or "Fallback"
        if parsed.message is None and not parsed.json and sys.stdin.isatty():
            console.say(
                f"You talk to {name}. Ctrl+C stops a reply; Ctrl+D (Windows: Ctrl+Z, Enter) ends the chat.", "dim"
            )
        reply: Reply | None = None
        for text in [parsed.message] if parsed.message is not None else _typed(persona.user_name or "You"):
            reply = _exchange(talk, text, name, parsed.json)
    if reply is not None and reply.answered_by == _LAST_WORDS and (hint := _other_model(tree, model)):
        _screen.news(hint)
    return EXIT_OK if reply is None or (reply.text.strip() and reply.answered_by != _LAST_WORDS) else EXIT_PROBLEM


def _named(name: str, tree: Path | None) -> str:
    """A model of the command line as a setting.

    Raises:
        FallbackError: it means none.
    """
    from zwaif_fallback.choosing.resolve_name import resolve
    from zwaif_fallback.zwaif_tree import model_setting, settings_store

    model = model_setting(name, tree, os.environ)
    resolve(model, tree, str(settings_store(tree, os.environ).get("FALLBACK_MODEL_DIR")))
    return model


def _service(tree: Path | None, model: str | None) -> FallbackService:
    """As in a Z-Waif, with nothing loaded yet."""
    from zwaif_fallback.answering.contracts import SecondServer
    from zwaif_fallback.answering.second_server import Deadlines, second_server
    from zwaif_fallback.answering.service import Collaborators, FallbackService
    from zwaif_fallback.local.model import LocalModel

    store, named = _settings(tree, model)

    def remote(address: str, name: str) -> SecondServer:
        deadlines = Deadlines(connect=float(store.get("API_FALLBACK_CONNECT_TIMEOUT")))
        return second_server(store.get, address, name, deadlines)

    local = LocalModel(hang_timeout=float(store.get("API_FALLBACK_ENGINE_TIMEOUT")), say=_screen.news)
    service = FallbackService(Collaborators(store, local, remote, _screen.news, tree=tree, was_model_chosen=named))
    if not str(store.get("API_FALLBACK_HOST")).strip():
        service.preload()
    return service


def _settings(tree: Path | None, model: str | None) -> tuple[SettingsStore, Callable[[], bool]]:
    """The settings, and whether the user chose a model: who names one on the command line did."""
    from zwaif_fallback.choosing.no_model_chosen import MODEL, is_chosen
    from zwaif_fallback.zwaif_tree import env_values, settings_store

    environ = {**os.environ, MODEL: model} if model else dict(os.environ)
    return settings_store(tree, environ), lambda: is_chosen(env_values(tree, environ))


def _other_model(tree: Path | None, model: str | None) -> str:
    """How to take a model that is here, where the chosen one is not."""
    from zwaif_fallback.cli.status_facts import model_facts

    store, named = _settings(tree, model)
    return str(model_facts(store.get, tree, named())["instead"])


def _exchange(talk: Conversation, text: str, name: str, as_json: bool) -> Reply:
    if as_json:
        reply = talk.say(text, lambda piece: None)
        print(json.dumps({"message": text, **asdict(reply)}), flush=True)
        return reply
    label = [f"{name}: "]
    reply = talk.say(text, lambda piece: _screen.write((label.pop() if label else "") + piece))
    if reply.text:
        _screen.write("\n")
    console.say(signature(reply), "dim", sys.stderr)
    return reply


def signature(reply: Reply) -> str:
    """Who answered, and in what time."""
    end = "stopped" if reply.stopped else "all"
    if reply.first_text_after is None:
        return f"[no text; {end} after {reply.finished_after:.1f} s]"
    times = f"first words after {reply.first_text_after:.1f} s, {end} after {reply.finished_after:.1f} s"
    return f"[{reply.answered_by or 'unknown'}: {times}]"


def _typed(user: str) -> Iterator[str]:
    """What the user types, line by line, until the end of the input; Ctrl+C at the prompt is that, too."""
    shown = f"{user}: " if sys.stdin.isatty() else ""
    if shown:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  (arrow keys and history while typing; Windows' console has its own)
    while True:
        try:
            line = _screen.ask(shown).strip()
        except (EOFError, KeyboardInterrupt):
            if shown:
                print(flush=True)
            return
        if line:
            yield line
