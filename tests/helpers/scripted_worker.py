"""A worker whose models are scripts, started as a real process in place of ``zwaif_fallback.local.model_worker``.

The model's name says how loading goes, the prompt says how a reply goes.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.helpers.scripted_engine import ScriptedEngine
from zwaif_fallback.engine_types import Generation, LoadedModel, LoadOptions
from zwaif_fallback.errors import ModelError
from zwaif_fallback.local.model_worker import main


def words(name: str, start: int = 0) -> Iterator[str]:
    for number in range(start, 400):
        yield f"{name}{number} "


def crash() -> Iterator[str]:
    yield "one "
    print("RuntimeError: the graphics driver is gone", file=sys.stderr, flush=True)
    os._exit(7)


def hang() -> Iterator[str]:
    yield "one "
    threading.Event().wait()


def hold_the_interpreter() -> None:
    """As llama.cpp does while it loads: no thread of Python's runs meanwhile."""
    if sys.platform == "win32":
        ctypes.PyDLL("kernel32").Sleep(60_000)
    else:
        ctypes.PyDLL(None).sleep(60)


class Engine(ScriptedEngine):
    def __init__(self, name: str) -> None:
        super().__init__(lambda generation: self.answer(generation))
        self.name = name

    def prepare(self, options: LoadOptions) -> None:
        if self.name == "slow":
            threading.Event().wait()
        if self.name == "unready":
            raise ModelError("This library is broken. Install it again.")

    def load(self, options: LoadOptions, progress: Callable[[str], None] = print) -> LoadedModel:
        if self.name in ("never", "native"):
            progress("It begins.")
        if self.name == "never":
            threading.Event().wait()
        while self.name == "busy":
            pass
        if self.name == "native":
            hold_the_interpreter()
        if self.name == "curious":
            print("a library prints to stdout", flush=True)
            os.write(1, b"and so does native code\n")
            progress(repr((sys.stdin.read(), os.read(0, 1))))
            subprocess.run([sys.executable, "-c", "import sys; print(sys.stdin.read(), 'a child prints')"], check=True)
        if self.name == "broken":
            raise ModelError("This model is broken. Choose another.")
        if self.name == "folder":
            progress(str(Path.cwd()))
            progress(os.environ["ZWAIF_PLUGINS"])
        return super().load(options, progress)

    def answer(self, generation: Generation) -> str | Iterable[str] | BaseException:
        prompt = generation.prompt
        if prompt == "crash":
            return crash()
        if prompt == "hang":
            return hang()
        if prompt == "raise":
            return ZeroDivisionError("oops")
        if prompt == "print":
            print("a library prints to stdout", flush=True)
            return "printed 😀 \ud83d"
        if prompt.startswith("count "):
            # Goes on from where the prompt ends, as a model does.
            return words(self.name, start=len(prompt.split()) - 1)
        return "hello "


if __name__ == "__main__":
    main(lambda options: Engine(options.model.rpartition("/")[2]))
