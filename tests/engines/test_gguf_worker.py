"""A GGUF model in a real worker process: killed, left, switched, with nothing left behind and nobody let in."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest

from tests.engines.test_continuation import ASK, GREEDY, TALK
from tests.helpers.links import link
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadOptions
from zwaif_fallback.engines import private_sockets
from zwaif_fallback.engines.gguf import GgufEngine
from zwaif_fallback.engines.gguf_server import PrivateEndpoint
from zwaif_fallback.engines.private_sockets import remove_leftovers
from zwaif_fallback.errors import EngineError, ModelError, WorkerDied
from zwaif_fallback.local.loader import COMMAND
from zwaif_fallback.local.memory_needed import fits_now
from zwaif_fallback.local.model import LocalModel
from zwaif_fallback.workers.protocol import decode_event, encode, pack
from zwaif_fallback.workers.worker_process import worker_environment
from zwaif_hooks.messages import Sampling

pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.slow

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets")
LONG = Generation(ASK.format("Good morning"), 1900, sampling=Sampling(temperature=3.0, top_k=0, top_p=1.0))
"""Babble that hardly ever ends by itself."""


@pytest.fixture
def model(scratch: Path) -> Iterator[LocalModel]:
    made = LocalModel()
    yield made
    made.close()


def say(model: LocalModel, asked: str = "Good morning", stats: GenerationStats | None = None) -> str:
    return "".join(model.generate(Generation(ASK.format(asked), 40, sampling=GREEDY), stats))


def test_through_the_pipe(model: LocalModel, companion_gguf: Path) -> None:
    told = model.load(LoadOptions(str(companion_gguf), device="cpu"))
    assert told.engine == "gguf"
    stats = GenerationStats()
    assert say(model) == TALK[1][1]
    assert say(model, stats=stats) == TALK[1][1]
    assert stats.reused_tokens == stats.prompt_tokens - 1
    assert model.count_tokens(["Hello there", ""]) == [2, 0]


def test_the_next_reply_starts_it_again_after_a_kill(model: LocalModel, companion_gguf: Path) -> None:
    model.load(LoadOptions(str(companion_gguf), device="cpu"))
    pieces = model.generate(LONG)
    next(pieces)
    assert model.pid is not None
    psutil.Process(model.pid).kill()
    with pytest.raises(WorkerDied):
        list(pieces)
    assert say(model) == TALK[1][1]


def test_a_reply_that_nobody_reads_is_cancelled(model: LocalModel, companion_gguf: Path) -> None:
    model.load(LoadOptions(str(companion_gguf), device="cpu"))
    pieces = model.generate(LONG)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert say(model) == TALK[1][1]


def test_from_one_engine_to_the_other_and_back(
    model: LocalModel, companion_gguf: Path, tiny_model: Callable[..., Path]
) -> None:
    for place, engine in ((companion_gguf, "gguf"), (tiny_model(), "transformers"), (companion_gguf, "gguf")):
        assert model.load(LoadOptions(str(place), device="cpu")).engine == engine
        assert "".join(model.generate(Generation(ASK.format("Good morning"), 5)))


def test_a_file_that_cannot_be_loaded_leaves_the_old_model(
    model: LocalModel, companion_gguf: Path, tmp_path: Path
) -> None:
    model.load(LoadOptions(str(companion_gguf), device="cpu"))
    (tmp_path / "cut.gguf").write_bytes(companion_gguf.read_bytes()[:-5000])
    with pytest.raises(ModelError, match=r"is not complete: .*Download the model again"):
        model.load(LoadOptions(str(tmp_path / "cut.gguf"), device="cpu"))
    assert say(model) == TALK[1][1]


def test_a_link_keeps_its_name(model: LocalModel, companion_gguf: Path, tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(companion_gguf.read_bytes())
    named = tmp_path / "Named-Q8_0.gguf"
    link(named, tmp_path / "blob")
    assert model.load(LoadOptions(str(named), device="cpu")).info.name == str(named)


def test_whether_two_fit(companion_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = LoadOptions(str(companion_gguf), device="cpu")
    assert fits_now(options)
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Ram", (), {"total": 1 << 40, "available": 1 << 20}))
    assert not fits_now(options)


def begun_worker(options: LoadOptions) -> subprocess.Popen[bytes]:
    """A worker in the middle of a reply."""
    worker = subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=worker_environment(os.environ),
    )
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(encode({"op": "load", "id": 1, "options": pack(options)}))
    worker.stdin.write(encode({"op": "generate", "id": 2, "generation": pack(LONG), "ahead": 10_000}))
    worker.stdin.flush()
    for line in worker.stdout:
        if decode_event(line)["event"] == "piece":
            return worker
    raise AssertionError("the worker said nothing")


def test_leaving_in_the_middle_of_a_reply_is_quiet_and_tidy(scratch: Path, companion_gguf: Path) -> None:
    worker = begun_worker(LoadOptions(str(companion_gguf), device="cpu"))
    _, said = worker.communicate(timeout=60)
    assert (worker.returncode, said) == (0, b"")
    assert list(scratch.glob("zwaif-llama-*")) == []


@POSIX
def test_what_a_killed_worker_leaves_is_taken_away_by_the_next(scratch: Path, companion_gguf: Path) -> None:
    worker = begun_worker(LoadOptions(str(companion_gguf), device="cpu"))
    remove_leftovers()
    assert len(list(scratch.glob("zwaif-llama-*"))) == 1, "it is in use"
    worker.kill()
    worker.communicate(timeout=60)
    assert len(list(scratch.glob("zwaif-llama-*"))) == 1
    endpoint = PrivateEndpoint()
    assert list(scratch.glob("zwaif-llama-*")) == [endpoint.folder]
    endpoint.close()


def test_a_worker_that_we_kill_leaves_nothing(scratch: Path, model: LocalModel, companion_gguf: Path) -> None:
    model.load(LoadOptions(str(companion_gguf), device="cpu"))
    next(model.generate(LONG))
    model.close()
    assert list(scratch.glob("zwaif-llama-*")) == []


# The endpoint

ENDPOINTS = [
    *(("GET", path) for path in ("/metrics", "/slots", "/props", "/models", "/v1/models", "/lora-adapters", "/tools")),
    *(("GET", path) for path in ("/v1/stream", "/cors-proxy", "/api/tags", "/nothing")),
    *(("POST", path) for path in ("/completion", "/v1/completions", "/v1/chat/completions", "/v1/messages", "/infill")),
    *(("POST", path) for path in ("/tokenize", "/detokenize", "/apply-template", "/embeddings", "/rerank", "/props")),
    *(("POST", path) for path in ("/slots/0?action=erase", "/lora-adapters", "/models/load", "/v1/streams/lookup")),
]


def status(connection: HTTPConnection, method: str, path: str, key: str = "") -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {key}", "X-Api-Key": key} if key else {}
    connection.request(method, path, b"{}" if method == "POST" else None, headers)
    response = connection.getresponse()
    return response.status, response.read()


@pytest.mark.parametrize("unix", [pytest.param(True, marks=POSIX), False])
def test_nobody_without_the_key_is_answered(
    companion_gguf: Path, unix: bool, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_sockets, "available", lambda: unix)
    engine = GgufEngine()
    engine.load(LoadOptions(str(companion_gguf), device="cpu"))
    server = engine._loaded()
    assert server.listening_at.startswith("unix://" if unix else "http://127.0.0.1:")
    for key in ("", "guessed"):
        for method, path in ENDPOINTS:
            with server.endpoint.open(server.listening_at) as connection:
                code, text = status(connection, method, path, key)
            assert code == 401, (method, path, text)
        with server.endpoint.open(server.listening_at) as connection:
            assert status(connection, "GET", "/health", key) == (200, b'{"status":"ok"}')
    assert engine.count_tokens(["Hello there"]) == [2]
    engine.unload()


@POSIX
def test_no_port_is_open_and_no_other_user_may_enter(companion_gguf: Path, scratch: Path) -> None:
    engine = GgufEngine()
    before = {at.laddr for at in psutil.Process().net_connections("inet") if at.status == psutil.CONN_LISTEN}
    engine.load(LoadOptions(str(companion_gguf), device="cpu"))
    after = {at.laddr for at in psutil.Process().net_connections("inet") if at.status == psutil.CONN_LISTEN}
    assert after <= before
    (folder,) = scratch.glob("zwaif-llama-*")
    assert folder.stat().st_mode & 0o777 == 0o700
    engine.unload()
    assert not folder.exists()
    with pytest.raises(EngineError, match="No model is loaded"):
        engine.count_tokens(["a"])


@POSIX
def test_a_folder_too_deep_for_a_socket(companion_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    engine = GgufEngine()
    engine.load(LoadOptions(str(companion_gguf), device="cpu"))
    assert engine.count_tokens(["Hello there"]) == [2]
    engine.unload()
    assert list(deep.iterdir()) == []


def test_a_tokenizer_that_is_gone(companion_gguf: Path) -> None:
    engine = GgufEngine()
    engine.load(LoadOptions(str(companion_gguf), device="cpu"))
    endpoint = engine._loaded().endpoint
    endpoint.key = "another"
    with pytest.raises(EngineError, match=r"tokenizer answers 401 \(Invalid API Key\)"):
        engine.count_tokens(["a"])
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    endpoint.close()
    endpoint.folder, endpoint.address, engine._loaded().listening_at = None, "127.0.0.1", closed
    with pytest.raises(EngineError, match="tokenizer does not respond"):
        engine.count_tokens(["a"])
