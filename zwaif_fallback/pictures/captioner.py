"""Turns a picture into a sentence, as the local model takes only text: the parent's side.

A small captioning model (``API_FALLBACK_VISION_MODEL``) runs in its own process, which starts with the first picture
and ends when none has come for a while. If anything fails, one line says so, and the companion says that it cannot see
the picture.
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
"""Seconds a reply waits for its picture, including loading."""
IDLE_SECONDS = 90.0
"""Seconds the model stays loaded after a picture: in a hangout the next one comes within a minute."""
TRY_AGAIN_SECONDS = 60.0
"""Seconds before a model that could not be loaded is tried again: a hangout sends many pictures."""
LARGEST_FILE = 20_000_000
"""Largest picture file, in bytes. Z-Waif's own have about a million."""
NUMBER_WIDTH = 4
"""Bytes per weight: these models are computed in 32 bits on the processor."""
SUGGESTED = "Salesforce/blip-image-captioning-large"
"""Published as safetensors, unlike the smaller ``base`` model."""
UNSEEN = "The picture could not be described, and the companion says so"

Report = Callable[[str, "BaseException | None"], None]
"""Prints one line for the user and logs the traceback."""


def with_description(request: ChatRequest, description: str) -> ChatRequest:
    """Return the request with its picture replaced by ``description``."""
    line = f"[The picture shows: {' '.join(description.split())}]"
    *before, newest = request.messages or (Message("user", ""),)
    if newest.role != "user":
        before, newest = [*before, newest], Message("user", "")
    shown = Message("user", f"{newest.content.rstrip()}\n{line}".strip())
    return replace(request, messages=(*before, shown), has_image=False, picture=None)


class PictureCaptioner:
    """Describes one picture at a time. Thread-safe; no caller waits longer than twice ``patience``.

    Args:
        report: called when a picture could not be described.
        patience: seconds a caller waits.
        idle: seconds after the last picture until the worker is ended.
        command: starts the worker.
        places: the folders where a model named by a path may be, the likeliest first.
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
        """The running load; it continues for the next caller if one stops waiting."""
        self._timer: threading.Timer | None = None
        self._refused: tuple[str, FallbackError, float] | None = None
        """The model that could not be loaded, why, and when."""
        self._last = ("", b"", "")
        """Model, digest of the picture, description: a second attempt at the same reply does not describe it again."""

    @property
    def pid(self) -> int | None:
        """The process that holds the model; None if there is none."""
        worker = self._worker
        return worker.pid if worker is not None and worker.alive else None

    def describe_in(self, request: ChatRequest, model: str) -> ChatRequest:
        """Return the request with its picture described in words. If that fails, report it and return it unchanged."""
        if request.picture is None:
            return request
        try:
            return with_description(request, self.describe(request.picture, model))
        except FallbackError as error:
            self._report(f"{UNSEEN}: {error}", error)
        except Exception as error:  # whatever goes wrong with the picture, the reply must come
            self._report(f"{UNSEEN}: {error!r}", error)
        return request

    def describe(self, picture: Picture, model: str) -> str:
        """Return one sentence about the picture.

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
                self._last = (*asked, self._describe_with_restart(data, model, until))
            return self._last[2]
        finally:
            self._start_timer()
            self._lock.release()

    def close(self) -> None:
        """End the process now."""
        self._stop_timer()
        self._end()

    def _describe_with_restart(self, data: bytes, model: str, until: float) -> str:
        """Restart a worker that died since the last picture."""
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
        request = worker.ask("describe", picture=base64.b64encode(data).decode("ascii"))
        try:
            text = str(self._wait(request, until)["text"]).strip()
        except queue.Empty:
            self._end()
            raise self._late(f"{model} did not finish looking, and was ended") from None
        if not text:
            raise ModelError(f"{model} said nothing about the picture. Try another, for example {SUGGESTED}.")
        return text

    def _wait(self, request: PendingRequest, until: float) -> dict[str, Any]:
        return request.next_event(max(0.0, until - time.monotonic()))

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
        if self._lock.acquire(blocking=False):  # otherwise a picture is being described, which restarts the timer
            try:
                self._end()
            finally:
                self._lock.release()


def read(picture: Picture) -> bytes:
    """Return the bytes of the picture's file.

    Raises:
        EngineError: it is too large or cannot be read.
    """
    size = Path(picture.path).stat().st_size if picture.path and Path(picture.path).is_file() else 0
    if max(size, len(picture.base64) * 3 // 4) > LARGEST_FILE:
        raise EngineError(f"The picture's file is too large: at most {LARGEST_FILE // 10**6} MB can be read.")
    try:
        return Path(picture.path).read_bytes() if picture.path else base64.b64decode(picture.base64)
    except (OSError, ValueError) as error:
        raise EngineError(f"The picture's file cannot be read ({error}).") from error


def find(model: str, places: Sequence[Path]) -> Path:
    """Find the folder of a captioning model: one of ``places``, or in the Hugging Face cache.

    Raises:
        ModelError: it is not on this computer, has no safetensors weights, or does not describe pictures.
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
    except (OSError, ValueError):  # not a valid path
        return False


def check_room(folder: Path, model: str) -> None:
    """Raise where the model does not fit into the free memory."""
    from zwaif_fallback.models.memory import TORCH_PROGRAM  # late, as above
    from zwaif_fallback.models.safetensors_facts import read_folder

    try:
        needed = read_folder(folder).parameters * NUMBER_WIDTH + TORCH_PROGRAM
    except (OSError, ValueError, KeyError) as error:
        logger.debug("The size of %s is unknown: %s", folder, error)
        return
    free = memory_now().ram_free
    if needed > free:
        raise ModelTooBig(
            f"{model} needs {needed / 1e9:.1f} GB of memory for pictures, and {free / 1e9:.1f} GB are free. "
            "Close other programs, or choose a smaller local model."
        )
