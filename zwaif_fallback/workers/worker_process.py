"""One worker process as its parent sees it: starting it, sending requests, noticing that it died, ending it."""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import zwaif_fallback
import zwaif_hooks
from zwaif_fallback.engines.private_sockets import remove_leftovers
from zwaif_fallback.errors import WorkerDied
from zwaif_fallback.hardware import NO_WINDOW
from zwaif_fallback.workers.end_with_parent import ParentTie
from zwaif_fallback.workers.protocol import FINAL_EVENTS, decode_event, encode, unpack_error

logger = logging.getLogger(__name__)
stderr_logger = logging.getLogger("zwaif_fallback.workers.stderr")

PATIENT = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Make torch's threads sleep instead of spin while they wait for each other. On an idle machine this is as fast. Next
to a busy program on two cores a 110M model generated 36 tokens per second this way, and under 4 when spinning."""
END_SECONDS = 5.0
"""Seconds a worker may take to exit before it is killed."""
_STDERR_LINES = 20
_DIED: dict[str, Any] = {"event": "died"}
_CANCELLED: dict[str, Any] = {"event": "done", "stats": {"finish_reason": "cancelled"}}

_live: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()


class PendingRequest:
    """A request that was sent, and the answers to it."""

    def __init__(self, worker: WorkerProcess, request_id: int) -> None:
        self.id = request_id
        self._worker = worker
        self._mailbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def deliver(self, message: dict[str, Any]) -> None:
        self._mailbox.put(message)

    def next_event(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait for the next answer and return it.

        Raises:
            queue.Empty: there was none within ``timeout`` seconds.
            WorkerDied: the worker ended.
            FallbackError: the error that the worker reports.
        """
        message = self._mailbox.get(timeout=timeout)
        if message["event"] == "died":
            raise WorkerDied(self._worker.cause_of_death())
        if message["event"] == "error":
            raise unpack_error(message)
        return message

    def cancel(self) -> None:
        """Cancel a generation, from any thread. Its reader is woken at once; the worker may take a moment longer."""
        self._worker.tell("cancel", self.id)
        self.deliver(_CANCELLED)


class WorkerProcess:
    """A running worker. Every method may be called from any thread, and none of them blocks on a worker that hangs."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        whose: str = "The local model",
    ) -> None:
        """``whose`` process it is, for the message when it ends."""
        self._whose = whose
        self._lifeline = ParentTie()
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=neutral_folder(),
            env=worker_environment(os.environ if environment is None else environment) | self._lifeline.environment,
            creationflags=NO_WINDOW,
            **self._lifeline.popen,
        )
        self._lifeline.hold(self._process)
        self._told_pid = 0
        self._ids = itertools.count(1)
        self._hello = PendingRequest(self, 0)
        self._pending: dict[int, PendingRequest] = {0: self._hello}
        self._pending_lock = threading.Lock()
        self._ended = False
        # Lines are sent from a queue: a finalizer may send during another send, and a full pipe must not block.
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._threads = [self._thread(target) for target in (self._drain_stderr, self._write, self._read)]
        _live.add(self)

    @property
    def pid(self) -> int:
        """The worker's process. Until it has said hello this is the process that was started, which in a virtual
        environment on Windows is only a redirector."""
        return self._told_pid or self._process.pid

    @property
    def alive(self) -> bool:
        return not self._ended and self._process.poll() is None

    def wait_until_started(self, timeout: float) -> None:
        """Wait until the worker's program has been imported and reads requests.

        Raises:
            queue.Empty: it is not running within ``timeout`` seconds.
            WorkerDied: it ended.
        """
        self._hello.deliver(self._hello.next_event(timeout))  # for the next one who asks

    def ask(self, op: str, **fields: Any) -> PendingRequest:
        """Send a request and return it; its answers arrive there."""
        request = PendingRequest(self, next(self._ids))
        with self._pending_lock:
            self._pending[request.id] = request
            if self._ended:
                request.deliver(_DIED)
        self.tell(op, request.id, **fields)
        return request

    def tell(self, op: str, request_id: int, **fields: Any) -> None:
        """Send a line about an earlier request. Never blocks."""
        self._outbox.put(encode({"op": op, "id": request_id, **fields}))

    def end(self) -> None:
        """Close the pipe, which makes the worker exit; kill it if it does not."""
        self._outbox.put(None)
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._lifeline.cut()  # the child of a redirector, too
        self._process.wait()
        remove_leftovers()

    def cause_of_death(self) -> str:
        """One line for the user: how the worker ended, and the last line it printed."""
        code = self._process.wait()
        said = next((line for line in reversed(self._stderr) if line.strip()), "")
        return f"{self._whose}'s process ended: {describe_exit(code)}" + (f" ({said.strip()[:200]})." if said else ".")

    def _thread(self, target: Any) -> threading.Thread:
        thread = threading.Thread(target=target, name=f"zwaif-worker-{self.pid}", daemon=True)
        thread.start()
        return thread

    def _write(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        try:
            while (line := self._outbox.get()) is not None:
                pipe.write(line)
                pipe.flush()
            pipe.close()
        except OSError as error:  # the worker is gone; the reading thread tells all who wait
            logger.debug("The worker's pipe is closed: %s", error)

    def _read(self) -> None:
        try:
            for message in self._messages():
                self._deliver(message)
        finally:
            self._announce_end()

    def _messages(self) -> Iterator[dict[str, Any]]:
        pipe = self._process.stdout
        assert pipe is not None
        for line in pipe:
            try:
                yield decode_event(line)
            except ValueError as error:
                logger.debug("Skipped an invalid line from the worker (%s): %.200r", error, line)

    def _deliver(self, message: dict[str, Any]) -> None:
        if message["event"] == "hello":
            self._told_pid = message["pid"]
        with self._pending_lock:
            request = self._pending.get(message["id"])
            if message["event"] in FINAL_EVENTS:
                self._pending.pop(message["id"], None)
        if request is None:
            logger.info("The worker answered a request that nobody waits for: %.200r", message)
        else:
            request.deliver(message)

    def _announce_end(self) -> None:
        self._process.wait()
        self._lifeline.cut()
        self._threads[0].join(1.0)  # its last output belongs to the cause
        with self._pending_lock:
            self._ended = True
            waiting = list(self._pending.values())
        for request in waiting:
            request.deliver(_DIED)
        self._outbox.put(None)

    def _drain_stderr(self) -> None:
        pipe = self._process.stderr
        assert pipe is not None
        for raw in pipe:
            line = raw.decode("utf-8", "replace").rstrip()
            self._stderr.append(line)
            stderr_logger.debug("%s", line)


_NEEDED = re.compile(
    r"PATH|HOME|USER(?:NAME|PROFILE)?|LOGNAME|HOMEDRIVE|HOMEPATH|TE?MP(?:DIR)?|LANG(?:UAGE)?|TZ|OS|PATHEXT|COMSPEC|WINDIR"
    r"|SYSTEM(?:ROOT|DRIVE)|(?:LOCAL)?APPDATA|ALLUSERSPROFILE|PROGRAMDATA|(?:COMMON)?PROGRAM(?:FILES|W6432)(?:\(X86\))?"
    r"|NUMBER_OF_PROCESSORS|(?:LD_LIBRARY|LD_PRELOAD|DYLD_|LC_|XDG_|PROCESSOR_|PYTHON|VIRTUAL_ENV|CONDA_|COVERAGE_).*"
    r"|(?:CUDA|NVIDIA|NCCL|CUBLAS|HIP|HSA|ROC|ROCR|AMD|MIOPEN|GPU|VK|VULKAN|MESA|RADV|DISABLE_LAYER|ZE|SYCL|ONEAPI|MTL).*"
    r"|(?:OMP|KMP|MKL|GOMP|OPENBLAS|BLIS|VECLIB|NUMEXPR|TORCH|PYTORCH|TRITON|TOKENIZERS|TRANSFORMERS|SAFETENSORS|BNB).*"
    r"|(?:HF_|HUGGINGFACE_HUB_CACHE|GGML|LLAMA|XLLAMACPP|ZWAIF_).*",
    re.IGNORECASE,
)
"""Variables that Python, the system, graphics drivers and the model libraries read."""
_SECRET = re.compile(r"KEY|TOKEN(?!IZERS)|SECRET|PASS|CREDENTIAL|AUTH", re.IGNORECASE)


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables a worker needs, with our packages importable and Z-Waif's plugins switched off.

    A worker reads files from strangers, so it gets no keys, tokens or passwords."""
    environment = {
        name: value for name, value in environment.items() if _NEEDED.fullmatch(name) and not _SECRET.search(name)
    }
    roots = [str(Path(str(package.__file__)).resolve().parents[1]) for package in (zwaif_fallback, zwaif_hooks)]
    source = [root for root in dict.fromkeys(roots) if Path(root).name not in ("site-packages", "dist-packages")]
    already = [environment["PYTHONPATH"]] if environment.get("PYTHONPATH") else []
    result = {**PATIENT, **environment, "ZWAIF_PLUGINS": "OFF", "PYTHONSAFEPATH": "1", "PYTHONIOENCODING": "utf-8"}
    if source or already:
        result["PYTHONPATH"] = os.pathsep.join([*source, *already])
    return result


def neutral_folder() -> str:
    """A folder to run in: not Z-Waif's, whose ``utils`` would shadow other modules, nor one others can write to."""
    return sys.prefix if Path(sys.prefix).is_dir() else tempfile.gettempdir()


def describe_exit(code: int) -> str:
    """Return an exit status in words; as in subprocess, a negative one is a signal."""
    if code == -9:
        return "it was killed, most often because memory ran out"
    if code < 0:
        try:
            return f"it crashed ({signal.Signals(-code).name})"
        except ValueError:
            return f"it crashed (signal {-code})"
    if code >= 0xC0000000:
        return f"it crashed (Windows error {code:#x})"
    return f"exit code {code}"


@atexit.register
def _end_all() -> None:
    """Kill workers that still run when Z-Waif exits."""
    for worker in list(_live):
        if worker.alive:
            worker.kill()
