"""A picture put into words, so that a local model without eyes can answer: the parent's side.

A small captioning model (``API_FALLBACK_VISION_MODEL``) runs in a process of its own, started with the first picture
and ended when none came for a while. Whatever goes wrong costs one line; the companion then says that she cannot see.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zwaif_fallback.errors import (
    EngineError,
    FallbackError,
    ModelError,
    ModelNotFound,
    ModelTooBig,
    WorkerDied,
    WorkerHung,
)
from zwaif_fallback.hardware import memory_now
from zwaif_fallback.models.hub_cache import find_in_cache
from zwaif_fallback.models.name_syntax import is_path
from zwaif_fallback.pictures.vision_engine import check_kind
from zwaif_fallback.workers.worker_process import PendingRequest, WorkerProcess
from zwaif_hooks.messages import ChatRequest, Message, Picture

logger = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "zwaif_fallback.pictures.vision_worker")
PATIENCE_SECONDS = 45.0
"""How long a reply waits for its picture, loading included."""
IDLE_SECONDS = 90.0
"""How long the model stays loaded after a picture: in a hangout the next one comes within a minute."""
TRY_AGAIN_SECONDS = 60.0
"""After a model could not be loaded, how long pictures do without trying it again: a hangout shows many."""
LARGEST_FILE = 20_000_000
"""Bytes of a picture's file. Z-Waif's own pictures have about a million."""
NUMBER_WIDTH = 4
"""Bytes of a weight: a processor computes these models in 32 bits."""
SUGGESTED = "Salesforce/blip-image-captioning-large"
"""Published as safetensors, unlike its smaller sister."""
UNSEEN = "The picture could not be described, and the companion says so"

Report = Callable[[str, "BaseException | None"], None]
"""Tells the user one line, and puts the traceback into the log."""


def told(request: ChatRequest, description: str) -> ChatRequest:
    """The request with ``description`` in the place of its picture."""
    line = f"[The picture shows: {' '.join(description.split())}]"
    *before, newest = request.messages or (Message("user", ""),)
    if newest.role != "user":
        before, newest = [*before, newest], Message("user", "")
    shown = Message("user", f"{newest.content.rstrip()}\n{line}".strip())
    return replace(request, messages=(*before, shown), has_image=False, picture=None)


class PictureCaptioner:
    """One describing process. Thread-safe: one picture at a time, and nobody waits longer than twice ``patience``.

    Args:
        report: tells of a picture that could not be described.
        patience: seconds a caller waits.
        idle: seconds after the last picture until the process is ended.
        command: starts the process.
        places: where a model that is named by a path may be, the likeliest first.
    """

    def __init__(
        self,
        report: Report,
        patience: float = PATIENCE_SECONDS,
        idle: float = IDLE_SECONDS,
        command: Sequence[str] = COMMAND,
        places: Callable[[str], Sequence[Path]] = lambda model: [Path(model).expanduser()],
    ) -> None:
        self._report = report
        self._patience = patience
        self._idle = idle
        self._command = command
        self._places = places
        self._lock = threading.Lock()
        self._worker: WorkerProcess | None = None
        self._model = ""
        self._loading: PendingRequest | None = None
        """The load that is still under way; a caller who lost patience leaves it to the next."""
        self._timer: threading.Timer | None = None
        self._refused: tuple[str, FallbackError, float] | None = None
        """The model that could not be loaded, why, and when."""
        self._last = ("", b"", "")
        """Model, digest of the picture and description: the next to answer, or a second try, need not look again."""

    @property
    def pid(self) -> int | None:
        """The process that holds the model now."""
        worker = self._worker
        return worker.pid if worker is not None and worker.alive else None

    def seen(self, request: ChatRequest, model: str) -> ChatRequest:
        """The request with its picture told in words; as it was, and one line said, where that fails. Never raises."""
        if request.picture is None:
            return request
        try:
            return told(request, self.describe(request.picture, model))
        except FallbackError as error:
            self._report(f"{UNSEEN}: {error}", error)
        except Exception as error:  # Eyes are a luxury: whatever they die of, the reply must come.
            self._report(f"{UNSEEN}: {error!r}", error)
        return request

    def describe(self, picture: Picture, model: str) -> str:
        """One sentence.

        Raises:
            FallbackError: with the remedy.
        """
        until = time.monotonic() + self._patience
        data = read(picture)
        if not self._lock.acquire(timeout=self._patience):
            raise self._late(f"{model} is busy with another picture")
        try:
            self._stop_timer()
            asked = (model, hashlib.sha256(data).digest())
            if self._last[:2] != asked:
                self._last = (*asked, self._by_whoever_lives(data, model, until))
            return self._last[2]
        finally:
            self._start_timer()
            self._lock.release()

    def close(self) -> None:
        """End the process now."""
        self._stop_timer()
        self._end()

    def _by_whoever_lives(self, data: bytes, model: str, until: float) -> str:
        """A process that died since the last picture is replaced, unnoticed."""
        before = self._worker
        worker = self._loaded(model, until)
        try:
            return self._ask(worker, data, model, until)
        except WorkerDied:
            self._end()
            if worker is not before:
                raise
        return self._ask(self._loaded(model, until), data, model, until)

    def _loaded(self, model: str, until: float) -> WorkerProcess:
        worker = self._worker
        if worker is None or not worker.alive or model != self._model:
            worker = self._begin(model)
        if self._loading is not None:
            try:
                self._wait(self._loading, until)
            except queue.Empty:
                raise self._late(f"{model} is still being loaded, for the next picture") from None
            except FallbackError as error:
                self._end()
                self._refused = model, error, time.monotonic()
                raise
            self._loading = None
        return worker

    def _begin(self, model: str) -> WorkerProcess:
        self._end()
        if self._refused and self._refused[0] == model and time.monotonic() - self._refused[2] < TRY_AGAIN_SECONDS:
            raise self._refused[1]
        folder = find(model, self._places(model))
        check_room(folder, model)
        self._worker, self._model = WorkerProcess(self._command, whose="The picture model"), model
        self._loading = self._worker.ask("open", folder=str(folder), model=model)
        return self._worker

    def _ask(self, worker: WorkerProcess, data: bytes, model: str, until: float) -> str:
        exchange = worker.ask("describe", picture=base64.b64encode(data).decode("ascii"))
        try:
            text = str(self._wait(exchange, until)["text"]).strip()
        except queue.Empty:
            self._end()
            raise self._late(f"{model} did not finish looking, and was ended") from None
        if not text:
            raise ModelError(f"{model} said nothing about the picture. Try another, for example {SUGGESTED}.")
        return text

    def _wait(self, exchange: PendingRequest, until: float) -> dict[str, Any]:
        return exchange.next_event(max(0.0, until - time.monotonic()))

    def _late(self, what: str) -> WorkerHung:
        return WorkerHung(f"{what} (a reply waits {self._patience:.0f} s for its picture).")

    def _end(self) -> None:
        worker, self._worker, self._loading = self._worker, None, None
        if worker is not None and worker.alive:
            worker.kill()

    def _start_timer(self) -> None:
        if self._worker is not None:
            self._timer = threading.Timer(self._idle, self._end_if_idle)
            self._timer.daemon = True
            self._timer.start()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _end_if_idle(self) -> None:
        if self._lock.acquire(blocking=False):  # otherwise a picture is being looked at: it sets the timer again
            try:
                self._end()
            finally:
                self._lock.release()


def read(picture: Picture) -> bytes:
    """The bytes of the picture's file.

    Raises:
        EngineError: it is too large, or cannot be read.
    """
    size = Path(picture.path).stat().st_size if picture.path and Path(picture.path).is_file() else 0
    if max(size, len(picture.base64) * 3 // 4) > LARGEST_FILE:
        raise EngineError(f"The picture's file is too large: at most {LARGEST_FILE // 10**6} MB can be read.")
    try:
        return Path(picture.path).read_bytes() if picture.path else base64.b64decode(picture.base64)
    except (OSError, ValueError) as error:
        raise EngineError(f"The picture's file cannot be read ({error}).") from error


def find(model: str, places: Sequence[Path]) -> Path:
    """The folder of a captioning model on this computer: one of ``places``, or in the Hugging Face cache.

    Raises:
        ModelError: it is not here, not in a form that is loaded, or describes no pictures.
    """
    folder = next((place.resolve() for place in places if _is_folder(place)), None)
    if folder is None and not is_path(model):
        folder = find_in_cache(model)
    if folder is None:
        raise ModelNotFound(
            f"API_FALLBACK_VISION_MODEL is {model}, which is not on this computer. For a model that fits run: "
            f"zwaif-fallback download {SUGGESTED}"
        )
    from zwaif_fallback.models.model_files import check_folder  # late: Z-Waif's start waits for this module

    try:
        check_folder(folder)
    except ModelError as error:
        raise ModelError(
            f"API_FALLBACK_VISION_MODEL is {model}, but there is no whole model with config.json and "
            f"model*.safetensors in {folder}. Pickled weights are never loaded. One that fits: {SUGGESTED}"
        ) from error
    check_kind(folder, model)
    return folder


def _is_folder(place: Path) -> bool:
    try:
        return place.is_dir()
    except (OSError, ValueError):  # a name no file system takes is no place
        return False


def check_room(folder: Path, model: str) -> None:
    """Raise where the model does not fit into the free memory."""
    from zwaif_fallback.models.memory import RUNTIME_BYTES, read_weights  # late, as above

    try:
        needed = read_weights(folder).parameters * NUMBER_WIDTH + RUNTIME_BYTES
    except (OSError, ValueError, KeyError) as error:
        logger.debug("The size of %s is unknown: %s", folder, error)
        return
    free = memory_now().ram_free
    if needed > free:
        raise ModelTooBig(
            f"{model} needs {needed / 1e9:.1f} GB of memory for pictures, and {free / 1e9:.1f} GB are free. "
            "Close other programs, or choose a smaller local model."
        )
