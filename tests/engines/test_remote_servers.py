"""The remote tier against real servers, started here: llama.cpp's, and ``transformers serve`` where there is one.

The transformers that Z-Waif's pins allow have no server yet: ``ZWAIF_TEST_TRANSFORMERS`` names a newer one's command.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.helpers import HELPERS
from zwaif_fallback.addresses import HOST, TRUSTED
from zwaif_fallback.answering.chain import Chain
from zwaif_fallback.answering.second_server import KEY_VARIABLE, Deadlines, SecondServerClient, second_server
from zwaif_fallback.answering.second_server_tier import SecondServerTier
from zwaif_fallback.errors import EngineError
from zwaif_fallback.prompt import fit_to_window
from zwaif_hooks.messages import ChatRequest, FailureKind, Message, Persona, PrimaryFailure, Sampling

ROOT = Path(__file__).parents[2]
KEY = "sk-a-key-that-nobody-may-see"
GREEDY = Sampling(temperature=0, seed=1)
HELLO = (Message("system", "You are Mia."), Message("user", "Hello, how are you?"))
PATIENT = Deadlines(connect=10.0, first_token=60.0, stall=60.0)
COMMAND = os.environ.get("ZWAIF_TEST_TRANSFORMERS", "")
MODEL_FOLDER = ROOT / "zwaif_fallback" / "demo" / "model"
pytestmark = pytest.mark.slow


@dataclass
class Running:
    address: str
    model: str
    """As the server must be asked for it; empty where its list tells."""
    key: str = ""

    def chat(self, **options: str) -> SecondServerClient:
        return SecondServerClient(self.address, self.model, deadlines=PATIENT, **options)


@contextlib.contextmanager
def child(command: list[str], **options: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("xllamacpp")
    pytest.importorskip("gguf")
    target = tmp_path_factory.mktemp("gguf") / "companion.gguf"
    subprocess.run([sys.executable, str(ROOT / "tools" / "tiny_model" / "to_gguf.py"), str(target)], check=True)
    return target


@contextlib.contextmanager
def llama_server(model: Path, key: str = "") -> Iterator[Running]:
    script = HELPERS / "llama_http_server.py"
    with child([sys.executable, str(script), str(model), *([key] if key else [])]) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, "the server did not start"
        yield Running(address, "", key)


@contextlib.contextmanager
def transformers_server() -> Iterator[Running]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [COMMAND, "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with child(command, stderr=subprocess.DEVNULL) as process:
        running = Running(f"127.0.0.1:{port}", str(MODEL_FOLDER))
        _wait_until_it_answers(f"http://{running.address}/v1/models", process)
        yield running


def _wait_until_it_answers(url: str, process: subprocess.Popen[str]) -> None:
    for _ in range(300):
        assert process.poll() is None, "the server ended"
        with contextlib.suppress(requests.ConnectionError):
            requests.get(url, timeout=5)
            return
        time.sleep(0.2)
    raise AssertionError("the server did not answer")


@pytest.fixture(scope="module", params=["llama.cpp", "transformers serve"])
def server(request: pytest.FixtureRequest) -> Iterator[Running]:
    if request.param == "llama.cpp":
        with llama_server(request.getfixturevalue("gguf")) as running:
            yield running
        return
    if not COMMAND:
        pytest.skip("ZWAIF_TEST_TRANSFORMERS names no transformers that can serve")
    with transformers_server() as running:
        yield running


def said(pieces: Iterator[str]) -> tuple[str, int]:
    parts = list(pieces)
    return "".join(parts), len(parts)


def test_a_reply_streams(server: Running) -> None:
    text, pieces = said(server.chat().stream(HELLO, sampling=GREEDY, max_tokens=12))
    assert text.strip() and pieces > 1


def test_max_tokens_and_stop_strings_hold(server: Running) -> None:
    whole, _ = said(server.chat().stream(HELLO, sampling=GREEDY, max_tokens=24))
    short, _ = said(server.chat().stream(HELLO, sampling=GREEDY, max_tokens=4))
    assert whole.startswith(short.rstrip("\ufffd")) and len(short) < len(whole)
    stop = whole[6:9]
    text, _ = said(server.chat().stream(HELLO, sampling=GREEDY, max_tokens=24, stop=[stop]))
    assert text == whole[: whole.find(stop)]


def test_a_reply_that_broke_off_is_gone_on_with(server: Running) -> None:
    tier = SecondServerTier("second server", server.chat)
    chain = Chain(lambda request: [tier], pytest.fail)
    request = ChatRequest("ollama", HELLO, max_tokens=24, sampling=GREEDY, persona=Persona("Mia"))
    answer = chain.answer(request, PrimaryFailure(FailureKind.CUT, "cut", delivered="I am fine and the sun is"))
    text = "".join(answer.pieces)
    assert text.strip() and not text.lstrip().startswith("I am fine")
    assert answer.answered_by == "second server"


def test_a_reader_that_leaves_does_not_keep_the_server_busy(server: Running) -> None:
    pieces = server.chat().stream(HELLO, sampling=Sampling(), max_tokens=400)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert said(server.chat().stream(HELLO, sampling=GREEDY, max_tokens=4))[0]


# --- llama.cpp's server alone ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked(gguf: Path) -> Iterator[Running]:
    with llama_server(gguf, KEY) as running:
        yield running


def test_the_model_comes_from_the_server_s_list(gguf: Path) -> None:
    with llama_server(gguf) as running:
        chat = running.chat()
        names = chat.models()
        assert len(names) == 1
        list(chat.stream(HELLO, max_tokens=2))
        assert chat.model == names[0]


def test_a_key_from_the_environment_opens_and_is_never_logged(
    locked: Running,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    settings = {HOST: locked.address, TRUSTED: ""}
    with caplog.at_level(logging.DEBUG):
        chat = second_server(settings.__getitem__, locked.address, locked.model, PATIENT)
        assert said(chat.stream(HELLO, sampling=GREEDY, max_tokens=4))[0]
        assert chat.models()
        with pytest.raises(EngineError) as closed:
            list(SecondServerClient("127.0.0.1:9", "m").stream(HELLO))
    output = capfd.readouterr()
    for text in (caplog.text, output.out, output.err, repr(chat), str(closed.value), repr(closed.value.__cause__)):
        assert KEY not in text and KEY[-8:] not in text


def test_without_the_right_key_the_user_is_told_which_to_check(
    locked: Running, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = "sk-a-wrong-key"
    with caplog.at_level(logging.DEBUG), pytest.raises(EngineError, match=f"HTTP 401: check {KEY_VARIABLE}") as error:
        list(SecondServerClient(locked.address, "m", deadlines=PATIENT, api_key=wrong, trusted=True).stream(HELLO))
    assert wrong not in caplog.text + str(error.value)


def test_the_next_turn_is_read_from_where_it_differs(gguf: Path, shape: Callable[..., ChatRequest]) -> None:
    """What stays at the beginning for our own engines stays for a server that keeps what it has read, too."""
    with llama_server(gguf) as running:
        fresh = [_prompt_tokens_read(running, shape(turns)) for turns in (8, 9, 10)]
    assert fresh[1] < fresh[0] / 2 and fresh[2] < fresh[0] / 2


@pytest.fixture
def shape() -> Callable[..., ChatRequest]:
    from benchmarks.prefix.shapes import Talk, lmstudio

    return lambda turns: lmstudio(Talk(log=[(f"And {n}?", f"Number {n}.") for n in range(turns)]))


def _prompt_tokens_read(running: Running, request: ChatRequest) -> int:
    messages = [{"role": m.role, "content": m.content} for m in fit_to_window.unfitted(request)]
    body = {"messages": messages, "max_tokens": 1, "temperature": 0}
    answer = requests.post(f"{running.chat().base_url}/chat/completions", json=body, timeout=60).json()
    return int(answer["timings"]["prompt_n"])
