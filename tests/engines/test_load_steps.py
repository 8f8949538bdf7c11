"""The weights are read while Python imports, a reader that fails breaks no load, and each step of a load is timed."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.memory import SIZES, make_folder
from zwaif_fallback.engine_types import Generation, LoadOptions
from zwaif_fallback.engines import file_cache, transformers, transformers_loading
from zwaif_fallback.engines.file_cache import read_beside, read_into_cache
from zwaif_fallback.engines.load_timer import LoadTimer
from zwaif_fallback.engines.transformers import TransformersEngine
from zwaif_fallback.local.model import LocalModel
from zwaif_fallback.workers.worker_process import worker_environment
from zwaif_hooks import log

WAIT = 30.0
TinyModel = Callable[..., Path]


def shards(folder: Path, *sizes: int) -> list[Path]:
    files = [folder / f"model-{number:05}-of-{len(sizes):05}.safetensors" for number in range(len(sizes))]
    for file, size in zip(files, sizes, strict=True):
        file.write_bytes(bytes(size))
    return files


# Reading beside the imports


def test_the_weights_are_read_while_transformers_is_imported(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The import waits for the reader here, so it would wait for ever if the reader came after it."""
    read, import_really, order = threading.Event(), transformers.import_transformers, list[str]()

    def reader(file: Path) -> None:
        order.append(file.name)
        read.set()

    def slow_import() -> None:
        assert read.wait(WAIT)
        order.append("imported")
        import_really()

    monkeypatch.setattr(transformers, "read_beside", lambda folder: read_beside(folder, reader))
    monkeypatch.setattr(transformers, "import_transformers", slow_import)
    TransformersEngine().load(LoadOptions(str(tiny_model()), device="cpu"))
    assert order == ["model.safetensors", "imported"]


def test_a_load_does_not_wait_for_a_reader_that_hangs(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()
    threads = list[threading.Thread]()

    def start(folder: Path) -> threading.Thread:
        threads.append(read_beside(folder, lambda _: hangs.wait(WAIT) and None))
        return threads[0]

    monkeypatch.setattr(transformers, "read_beside", start)
    engine = TransformersEngine()
    engine.load(LoadOptions(str(tiny_model()), device="cpu"))
    assert threads[0].is_alive() and "".join(engine.generate(Generation("Hello", max_tokens=4)))
    hangs.set()
    threads[0].join(WAIT)


@pytest.mark.parametrize("error", [FileNotFoundError("it is gone"), PermissionError("not yours"), OSError(5, "I/O")])
def test_a_reader_that_fails_breaks_no_load(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, error: OSError, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(file: Path) -> None:
        raise error

    caplog.set_level("DEBUG", file_cache.__name__)
    monkeypatch.setattr(transformers, "read_beside", lambda folder: read_beside(folder, fail).join(WAIT))
    engine = TransformersEngine()
    engine.load(LoadOptions(str(tiny_model()), device="cpu"))
    assert "".join(engine.generate(Generation("Hello", max_tokens=4)))
    assert str(error) in caplog.text


def test_files_are_read_in_order_and_only_weights(tmp_path: Path) -> None:
    files = shards(tmp_path, 10, 20, 30)
    (tmp_path / "consolidated.safetensors").write_bytes(bytes(5))
    (tmp_path / "pytorch_model.bin").write_bytes(bytes(5))
    seen = list[Path]()
    read_beside(tmp_path, seen.append).join(WAIT)
    assert seen == files


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reads without a copy")
def test_a_file_that_vanishes_ends_the_reading(tmp_path: Path) -> None:
    first, second, _ = shards(tmp_path, 10, 20, 30)
    seen = list[Path]()

    def read(file: Path) -> None:
        seen.append(file)
        second.unlink(missing_ok=True)
        read_into_cache(file)

    thread = read_beside(tmp_path, read)
    thread.join(WAIT)
    assert not thread.is_alive()
    assert seen == [first, second]


def test_weights_larger_than_the_free_memory_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards(tmp_path, 100, 100)
    seen = list[Path]()
    monkeypatch.setattr(file_cache, "ram_free", lambda: 199)
    read_beside(tmp_path, seen.append).join(WAIT)
    assert seen == []
    monkeypatch.setattr(file_cache, "ram_free", lambda: 200)
    read_beside(tmp_path, seen.append).join(WAIT)
    assert len(seen) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reads without a copy")
def test_a_whole_file_is_read_and_a_pipe_never(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, sent, send = tmp_path / "weights", list[int](), os.sendfile
    file.write_bytes(os.urandom(3_000_001))

    def at_most_a_million(out: int, source: int, offset: int, count: int) -> int:
        sent.append(send(out, source, offset, min(count, 1_000_000)))
        return sent[-1]

    monkeypatch.setattr(os, "sendfile", at_most_a_million)
    read_into_cache(file)
    assert sent == [1_000_000, 1_000_000, 1_000_000, 1, 0]
    monkeypatch.setattr(os, "sendfile", send)
    read_into_cache(file)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no plain file"):
        read_into_cache(tmp_path / "pipe")


# Where the time goes


def ticking() -> Callable[[], float]:
    """A clock that is one second later each time."""
    ticks = itertools.count()
    return lambda: float(next(ticks))


def test_steps_follow_each_other_and_a_repeated_one_is_added() -> None:
    moments: Iterator[float] = iter([10.0, 11.0, 13.5, 14.0])
    timer = LoadTimer(lambda: next(moments))
    for step in ("import", "weights", "import"):
        timer.done(step)
    assert timer.seconds == {"import": 1.5, "weights": 2.5}


def test_every_step_of_an_engine_is_timed(tiny_model: TinyModel) -> None:
    loaded = TransformersEngine(now=ticking()).load(LoadOptions(str(tiny_model()), device="cpu", dtype="float32"))
    steps = ["files", "import torch", "import transformers", "tokenizer", "plan", "weights", "vocabulary"]
    assert loaded.load_steps == dict.fromkeys(steps, 1.0)
    assert loaded.load_seconds == len(steps)


def test_rounding_is_a_step_of_its_own(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers_loading, "pays", lambda bits, dtype: True)
    loaded = TransformersEngine(now=ticking()).load(LoadOptions(str(tiny_model()), device="cpu"))
    assert (loaded.quantization, loaded.load_steps["rounding"]) == ("8-bit", 1.0)


@pytest.mark.slow
def test_a_whole_load_tells_its_steps(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = list[str]()
    monkeypatch.setattr(log, "note", lines.append)
    with closing(LocalModel()) as local:
        loaded: Any = local.load(LoadOptions(str(tiny_model()), device="cpu"))
    steps = list(loaded.load_steps)
    assert (steps[0], steps[-1]) == ("process", "first token")
    assert loaded.load_steps["process"] > 0 and loaded.load_steps["import torch"] > 0.1
    assert len(lines) == 1 and all(f"{step} " in lines[0] for step in steps)


# Weights straight to where they belong

HELD = """
import gc, sys
from pathlib import Path
from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.engines.transformers import TransformersEngine

def own():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))

engine, options = TransformersEngine(), LoadOptions(sys.argv[1], device="cpu", quantization="none")
engine.prepare(options)
before = own()
loaded = engine.load(options)
print(own() - before, loaded.memory_bytes)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process shares with files")
def test_no_copy_of_the_weights_is_held_beside_the_file(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    size = next(size for size in SIZES if size.name == "25M")
    folder = make_folder(replace(size, layers=20), tmp_path)
    command = [sys.executable, "-c", HELD, str(folder)]
    done = subprocess.run(
        command, env=worker_environment(os.environ), stdout=subprocess.PIPE, text=True, timeout=300, check=True
    )
    own, weights = map(int, done.stdout.split())
    assert weights > 70_000_000
    assert own < weights / 3


def test_weights_are_opened_on_the_device_they_are_for(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """``meta`` stands for a card: a device to which no weight gets by way of the processor."""
    from transformers import AutoConfig, modeling_utils

    opened, real = list[object](), modeling_utils.safe_open

    def opening(file: str, framework: str, device: object = "cpu") -> object:
        opened.append(device)
        return real(file, framework)

    monkeypatch.setattr(modeling_utils, "safe_open", opening)
    folder = tiny_model()
    plan, options = transformers_loading.TransformersPlan("meta", "float32"), LoadOptions(str(folder))
    transformers_loading._load(folder, AutoConfig.from_pretrained(folder), plan, options)
    assert opened[-1] == "meta"
