"""A llama-server program as a child process of the worker: the same requests as to xllamacpp, but all through HTTP.

It listens where xllamacpp would, in a folder that only this user may enter or on a loopback port, and requires the same
kind of key. The key is passed in its environment, which other users cannot read; its command line they can.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.engines.gguf_plan import GgufPlan
from zwaif_fallback.engines.gguf_server import (
    OTHER_PROMPTS_MIB,
    READ_AT_ONCE,
    READ_AT_ONCE_ON_CARD,
    Chunk,
    LlamaEndpoint,
    explained,
)
from zwaif_fallback.engines.hard_exit import before_leaving, leave
from zwaif_fallback.errors import EngineError, ModelError
from zwaif_fallback.hardware import NO_WINDOW
from zwaif_fallback.llama_servers import LlamaProgram, environment
from zwaif_fallback.models.memory import copies_of_state

logger = logging.getLogger(__name__)

_START_SECONDS = 300.0
"""Longest time for loading; a large file on a slow disk takes minutes."""
_POLL_SECONDS = 0.05
_PROBE_SECONDS = 2.0
"""A server that has just begun to listen may lose its first request."""
_LAST_SECONDS = 5.0
"""Longest time between a connection that broke off and the end of the process that broke it."""
_READ_SECONDS = 1.0
"""Longest time for the last lines of a process that has ended; another that it started may hold the pipe open."""
_LINES = 200
_DATA = b"data: "


class LlamaProcess(LlamaEndpoint):
    """One model loaded in a llama-server process, which ends with this process, and this process with it.

    Raises:
        ModelError: the program does not start with this model; the text has its reason.
    """

    def __init__(self, program: LlamaProgram, plan: GgufPlan, options: LoadOptions) -> None:
        super().__init__()
        self._closing = False
        self._ready = False
        self._said: deque[str] = deque(maxlen=_LINES)
        where = ["--host", self.endpoint.address]
        if self.endpoint.folder is None:
            port = _free_port()
            where += ["--port", str(port)]
            self.listening_at = f"http://127.0.0.1:{port}"
        variables = environment(program.path, os.environ) | {"LLAMA_API_KEY": self.endpoint.key}
        try:
            self._process, self._lifeline = _start(
                [str(program.path), *where, *arguments(program, plan, options)], variables
            )
        except OSError as error:
            self.endpoint.close()
            raise ModelError(f"{program.title} cannot be started ({error}).") from error
        before_leaving(self._process.kill)
        self._reader = threading.Thread(target=self._read, name="zwaif-llama-read", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name="zwaif-llama-watch", daemon=True)
        self._reader.start()
        self._watcher.start()
        try:
            self._wait_until_ready(program, options)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def complete(self, body: Mapping[str, Any], take: Callable[[Chunk], bool]) -> None:
        try:
            with self.endpoint.open(self.listening_at) as connection:
                response = self.endpoint.send(connection, "/v1/completions", body)
                if response.status != http.client.OK:
                    take(json.loads(response.read()))
                    return
                for chunk in _events(response):
                    if take(chunk):
                        return  # closing the connection ends the reply after the current token
        except (OSError, http.client.HTTPException):
            self._end_if_it_has_ended()
            raise

    def close(self) -> None:
        self._closing = True
        self._process.kill()
        self._process.wait()
        self._watcher.join()
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        super().close()

    def _ask_each(self, path: str, bodies: list[Any]) -> list[Any]:
        try:
            return super()._ask_each(path, bodies)
        except EngineError:
            self._end_if_it_has_ended()
            raise

    def _end_if_it_has_ended(self) -> None:
        """Let the watcher end this process if the program is gone: that is the cause, and the parent restarts us."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_SECONDS)
            self._watcher.join(_LAST_SECONDS)

    def _wait_until_ready(self, program: LlamaProgram, options: LoadOptions) -> None:
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_POLL_SECONDS)
                self._watcher.join()
                raise explained(options, "\n".join(self._said), "llama-server")
            if self._status("/health", self.endpoint.key) == http.client.OK:
                without_key = self._status("/props", "")
                if without_key == http.client.UNAUTHORIZED:
                    self._ready = True
                    return
                if without_key:
                    raise ModelError(f"{program.title} answers without a key.")
        raise ModelError(f"{program.title} was not ready after {_START_SECONDS:.0f} seconds.")

    def _status(self, path: str, key: str) -> int:
        """Return the HTTP status; 0 if nothing listens."""
        try:
            with self.endpoint.open(self.listening_at, _PROBE_SECONDS) as connection:
                connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
                return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0

    def _read(self) -> None:
        """Log what the process writes."""
        output: IO[bytes] = self._process.stdout  # type: ignore[assignment]
        for line in output:
            self._said.append(line.decode("utf-8", "replace").rstrip())
            logger.debug("llama-server: %s", self._said[-1])

    def _watch(self) -> None:
        """Wait for the end of the process. If it ends by itself, so does the worker, which is then started again."""
        code = self._process.wait()
        self._reader.join(_READ_SECONDS)
        if self._ready and not self._closing:
            sys.stderr.write("\n".join([*list(self._said)[-5:], f"llama-server ended with code {code}.\n"]))
            sys.stderr.flush()
            leave(1)


def arguments(program: LlamaProgram, plan: GgufPlan, options: LoadOptions) -> list[str]:
    """Return the command line for a model: the same settings as for xllamacpp, as far as the program has them."""
    batch = str(READ_AT_ONCE_ON_CARD if plan.gpu_layers else READ_AT_ONCE)
    devices = [device.id for device in program.devices] if plan.gpu_layers else []
    if (card := re.fullmatch(r"cuda:(\d+)", options.device)) and int(card[1]) < len(devices):
        devices = [devices[int(card[1])]]
    wanted: dict[str, str | None] = {
        "--model": str(plan.path.absolute()),
        "--ctx-size": str(plan.window),
        "--parallel": "1",
        "--n-gpu-layers": str(plan.gpu_layers),
        "--device": ",".join(devices) or "none",
        "--batch-size": batch,
        "--ubatch-size": batch,
        "--cache-ram": str(OTHER_PROMPTS_MIB),
        "--ctx-checkpoints": str(copies_of_state(plan.facts.shape)),
        "--fit": "off",
        "--threads-http": "2",
        "--alias": "local",
        "--chat-template": "chatml",
        **dict.fromkeys(["--no-jinja", "--no-slots", "--no-webui", "--offline"]),
    }
    if options.threads > 0:
        wanted["--threads"] = str(options.threads)
    known = {name: value for name, value in wanted.items() if name in program.options}
    return [part for name, value in known.items() for part in (name, value) if part is not None]


if sys.platform == "win32":

    def _start(command: list[str], variables: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], int | None]:
        """Start it in the worker's job object, which Z-Waif's process closes when the worker has ended."""
        return _popen(command, variables, ()), None

else:
    import fcntl

    def _start(command: list[str], variables: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], int | None]:
        """Start it with one end of a pipe, and return the other. When that is closed, by the kernel if need be, the
        kernel sends the program a signal that ends it."""
        far, near = os.pipe()
        try:
            process = _popen(command, variables, (far,))
            fcntl.fcntl(far, fcntl.F_SETOWN, process.pid)
            fcntl.fcntl(far, fcntl.F_SETFL, fcntl.fcntl(far, fcntl.F_GETFL) | fcntl.FASYNC)
        except BaseException:
            os.close(near)
            raise
        finally:
            os.close(far)
        return process, near


def _popen(command: list[str], variables: Mapping[str, str], keep: tuple[int, ...]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=variables,
        cwd=Path(command[0]).parent,  # llama.cpp loads backends from the working directory too
        creationflags=NO_WINDOW,
        pass_fds=keep,
    )


def _events(response: http.client.HTTPResponse) -> Iterator[Chunk]:
    """Yield the chunks of a reply.

    Raises:
        IncompleteRead: the connection ended before the reply; ``http.client`` itself is silent about that.
    """
    for line in response:
        if line.startswith(_DATA):
            data = line[len(_DATA) :].strip()
            if data == b"[DONE]":
                return
            yield json.loads(data)
    raise http.client.IncompleteRead(b"")


def _free_port() -> int:
    """Return a free loopback port. If another program takes it first, llama-server cannot start and the load fails."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
