"""Talking to the fallback from the command line: its character, its history, stopping a reply, and every way to end."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from zwaif_fallback.answering import who_speaks
from zwaif_fallback.cli import chat as cli_chat
from zwaif_fallback.cli import main
from zwaif_fallback.cli.chat_session import Conversation, Reply, persona_of
from zwaif_fallback.errors import EngineError
from zwaif_fallback.settings import SETTINGS
from zwaif_fallback.standin import copy_tree
from zwaif_hooks.messages import Answer, ChatRequest, Message, Persona, PrimaryFailure

ROOT = Path(__file__).parents[2]
MIA = Persona("Mia", "You", "Mia lives in a lighthouse.")


class Service:
    """Says what it is told to, and remembers what it was asked."""

    def __init__(self, *replies: Iterable[str], who: str = "a model") -> None:
        self._replies = iter(replies)
        self._who = who
        self.asked: list[ChatRequest] = []
        self.over: list[str] = []
        self.closed = False

    def answer(self, request: ChatRequest, failure: PrimaryFailure) -> Answer:
        self.asked.append(request)
        return Answer(next(self._replies), answered_by=self._who)

    def turn_over(self, request: ChatRequest, reply: str) -> None:
        assert request is self.asked[-1]
        self.over.append(reply)

    def close(self) -> None:
        self.closed = True


class Endless:
    """A reply without an end, which notices that nobody wants it any more."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[str]:
        try:
            yield "Once "
            while True:
                yield "upon "
        finally:
            self.closed.set()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


# --- conversation -----------------------------------------------------------------------------------------------------


def test_both_sides_are_remembered_and_the_character_goes_along() -> None:
    service = Service(["Hello", " you."], ["Fine."])
    talk = Conversation(service, MIA, Clock())
    shown: list[str] = []
    reply = talk.say("Hi", shown.append)
    assert shown == ["Hello", " you."]
    assert reply == Reply("Hello you.", "a model", first_text_after=1.0, finished_after=2.0)
    talk.say("How are you?", shown.append)
    assert service.asked[1].messages == (
        Message("user", "Hi"),
        Message("assistant", "Hello you."),
        Message("user", "How are you?"),
    )
    assert service.asked[1].persona == MIA and not service.asked[1].persona_in_messages
    assert service.asked[1].recent_replies == ("Hello you.",)
    assert service.over == ["Hello you.", "Fine."]


def test_a_stopped_reply_is_kept_as_far_as_it_came_and_its_making_ends() -> None:
    endless = Endless()

    def show(piece: str) -> None:
        if piece == "upon ":
            raise KeyboardInterrupt

    talk = Conversation(Service(endless), MIA)
    reply = talk.say("Tell me a story", show)
    assert reply.stopped and reply.text == "Once upon "
    assert talk.history[-1] == Message("assistant", "Once upon ")
    assert endless.closed.wait(10)


def test_an_error_in_the_reply_arrives_where_it_is_waited_for() -> None:
    def broken() -> Iterator[str]:
        yield "One"
        raise EngineError("The engine stopped.")

    talk = Conversation(Service(broken()), MIA)
    with pytest.raises(EngineError, match="stopped"):
        talk.say("Hi", lambda piece: None)


def test_the_character_of_a_z_waif_that_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = copy_tree(tmp_path / "z-waif", {"CHAR_NAME": "Noa", "YOUR_NAME": "Sam", "TIME_IN_ENCODING": "OFF"})
    persona = persona_of(tree, {})
    assert (persona.char_name, persona.user_name, persona.local_time) == ("Noa", "Sam", "")
    assert persona.character_card and persona.character_card in (tree / "Configurables/CharacterCard.yaml").read_text(
        encoding="utf-8"
    ).replace("\n  ", "\n")
    assert persona_of(None) == Persona()


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.chdir(tmp_path)


def serve(monkeypatch: pytest.MonkeyPatch, service: Service, typed: str = "") -> Service:
    monkeypatch.setattr(cli_chat, "_service", lambda *_: service)
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    return service


def test_a_conversation_until_the_end_of_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = copy_tree(tmp_path / "z-waif", {"CHAR_NAME": "Noa"})
    service = serve(monkeypatch, Service(["Hello."], ["Bye", "."]), "Hi\n\n  \nSee you\n")
    assert main.main(["chat", "--zwaif", str(tree)]) == 0
    said = capsys.readouterr()
    assert said.out == "Noa: Hello.\nNoa: Bye.\n"
    assert said.err.count("[a model: first words after 0.0 s, finished after 0.0 s]") == 2
    assert service.closed


def test_one_message_and_no_conversation(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    serve(monkeypatch, Service(["Hello."]), "never read\n")
    assert main.main(["chat", "Hi"]) == 0
    assert capsys.readouterr().out == "Fallback: Hello.\n"


def test_an_exchange_for_programs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    serve(monkeypatch, Service(["Hel", "lo 😀."]), "Hi\n")
    assert main.main(["chat", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["message"], told["text"], told["answered_by"]) == ("Hi", "Hello 😀.", "a model")
    assert told["stopped"] is False and told["finished_after"] >= told["first_text_after"] >= 0


@pytest.mark.parametrize("service", [Service(["Hold that thought."], who="last words"), Service([])])
def test_a_last_word_or_none_is_not_well(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, service)
    assert main.main(["chat", "Hi"]) == 1


def test_the_signature() -> None:
    assert who_speaks.signature("tiny", None, 2.0, stopped=True) == "[tiny: no text, stopped after 2.0 s]"
    assert who_speaks.signature("", 0.5, 2.0) == "[unknown: first words after 0.5 s, finished after 2.0 s]"


CHAT = """
import itertools, sys, time
sys.path[:0] = {path!r}
from zwaif_fallback.cli import chat, main
from zwaif_hooks.messages import Answer

class Service:
    def answer(self, request, failure):
        def pieces():
            for number in itertools.count():
                yield f"w{{number}} "
                time.sleep(0.01)
        return Answer(pieces() if request.messages[-1].content == "endless" else ["short."], "a model")

    def turn_over(self, request, reply):
        pass

    def close(self):
        print("closed", file=sys.stderr)

chat._service = lambda *_: Service()
sys.exit(main.main(["chat"]))
"""


def test_a_reply_that_the_console_cannot_show_is_no_crash(tmp_path: Path) -> None:
    code = CHAT.format(path=[str(ROOT), str(ROOT / "hooks")]).replace('"short."', '"Bye \U0001f600!"')
    environ = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], input=b"hello\n", capture_output=True, timeout=60, cwd=tmp_path, env=environ
    )
    assert done.returncode == 0 and b"Fallback: Bye ?!" in done.stdout, done
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="sends a signal as a POSIX terminal does")
@pytest.mark.parametrize("others", ["", "import zwaif_hooks\n@zwaif_hooks.hookimpl\ndef zwaif_stopping():\n    pass\n"])
def test_a_real_ctrl_c_stops_the_reply_and_not_the_chat(tmp_path: Path, others: str) -> None:
    if others:
        (tmp_path / "listener.py").write_text(others, encoding="utf-8")
    # As in a terminal: whoever runs the tests in the background of a shell has children that ignore it.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code = listen + CHAT.format(path=[str(ROOT), str(ROOT / "hooks")])
    chat = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "ZWAIF_PLUGINS_DIR": str(tmp_path)},
    )
    try:
        assert chat.stdin is not None and chat.stdout is not None and chat.stderr is not None
        chat.stdin.write("endless\n")
        chat.stdin.flush()
        assert chat.stdout.read(13) == "Fallback: w0 "
        chat.send_signal(signal.SIGINT)
        line = chat.stderr.readline()
        assert line.startswith("[a model: first words after ") and "stopped after" in line
        out, err = chat.communicate("hello\n", timeout=30)
    finally:
        chat.kill()
    assert chat.returncode == 0
    assert out.endswith("Fallback: short.\n")
    assert err.splitlines()[-1] == "closed" and "Traceback" not in err


# --- lines that come at any moment ------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """Both sides of a console: one picture, as on a screen."""

    def isatty(self) -> bool:
        return True


def screen_of(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """No fixture: pytest puts its own streams in place between fixtures and test."""
    monkeypatch.setenv("NO_COLOR", "1")
    shown = Terminal()
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(sys, "stderr", shown)
    return shown


def test_news_are_not_glued_to_a_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(monkeypatch)
    talk = cli_chat._Terminal()

    def typed(prompt: str) -> str:
        print(prompt + "Hel", end="")
        talk.notice("Loading tiny …")
        return "Hello"

    monkeypatch.setattr("builtins.input", typed)
    monkeypatch.setattr(cli_chat, "_unfinished_input", lambda: "Hel")
    assert talk.ask("You: ") == "Hello"
    assert screen.getvalue() == "You: Hel\n[Loading tiny …]\nYou: Hel"


def test_news_are_not_glued_to_a_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = screen_of(monkeypatch)
    talk = cli_chat._Terminal()
    talk.write("Mia: Hello the")
    talk.notice("Starting it again.")
    talk.notice("Loading tiny …")
    talk.write("re.")
    talk.write("\n")
    talk.notice("Ready")
    assert screen.getvalue() == "Mia: Hello the\n[Starting it again.]\n[Loading tiny …]\nre.\n[Ready]\n"


def test_nothing_is_added_to_a_reply_that_goes_into_a_pipe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    talk = cli_chat._Terminal()
    talk.write("Mia: Hello the")
    talk.notice("Loading tiny …")
    talk.write("re.\n")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("Mia: Hello there.\n", "[Loading tiny …]\n")
