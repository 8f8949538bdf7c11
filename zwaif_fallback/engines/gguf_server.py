"""llama.cpp's server inside this process, through xllamacpp, with an endpoint that only this process can use.

xllamacpp is llama.cpp's own HTTP server as a library. Generations are function calls, but it always listens for HTTP
too, which is the only way to its tokenizer. So it listens on a Unix socket in a folder that only this user may enter
(on Windows on a loopback port), and refuses requests without a key made for this load.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.engines import private_sockets
from zwaif_fallback.engines.gguf_plan import Card, GgufPlan
from zwaif_fallback.engines.hard_exit import before_leaving
from zwaif_fallback.errors import EngineError, ModelError, ModelTooBig
from zwaif_fallback.install_hints import GGUF_ENGINE, remedy_for
from zwaif_fallback.models.error_hints import SMALLER
from zwaif_fallback.models.memory import copies_of_state

logger = logging.getLogger(__name__)

READ_AT_ONCE = 64
"""Prompt tokens between two checks for cancellation on a CPU; llama.cpp aborts with a batch of one token."""
READ_AT_ONCE_ON_CARD = 512
OTHER_PROMPTS_MIB = 256
"""RAM for the KV caches of other prompts, such as a summary's beside the chat's. llama.cpp's default is 8 GiB."""
_PATIENCE = 60.0
"""Seconds to wait for the tokenizer, which needs milliseconds."""
_LOG_SECONDS = 2.0
_CAUSE = re.compile(r"error loading model: (.+)|\b(?:failed|unable) to (?:allocate|create|load) (.+)")
_NO_MEMORY = re.compile(r"out of memory|unable to allocate|failed to allocate|failed to create context|bad_alloc", re.I)

Chunk = Mapping[str, Any]


def library() -> Any:
    """Return the module xllamacpp.

    Raises:
        ModelError: it is not installed, or cannot be loaded here.
    """
    try:
        import xllamacpp
    except ModuleNotFoundError as error:
        raise ModelError(f"GGUF models need one more package. Run: {GGUF_ENGINE}") from error
    except ImportError as error:  # a system library is missing, or the wheel is for another system
        remedy = remedy_for(str(error), f"Run: pip uninstall -y xllamacpp. Then: {GGUF_ENGINE}")
        raise ModelError(f"xllamacpp, which runs GGUF models, cannot be loaded ({error}). {remedy}") from error
    return xllamacpp


def cards() -> list[Card]:
    """Return the graphics devices that the installed llama.cpp can use."""
    return [
        Card(str(device.get("description") or device["name"]), int(device["memory_free"]))
        for device in library().get_device_info()
        if "GPU" in str(device["type"])
    ]


class PrivateEndpoint:
    """The address where llama.cpp listens, and the key it requires."""

    def __init__(self) -> None:
        self.key = secrets.token_urlsafe(32)
        self.folder = private_sockets.new_folder()
        self.address = str(self.folder / private_sockets.NAME) if self.folder else "127.0.0.1"
        before_leaving(self.close)

    def configure(self, params: Any) -> None:
        """Make a server with these parameters listen here and nowhere else."""
        params.api_keys = [self.key]
        params.endpoint_slots = params.endpoint_metrics = params.endpoint_props = False
        params.n_threads_http = 2
        if hasattr(params, "hostnames"):  # since 2026.10
            params.hostnames = [self.address]
        else:
            params.hostname = self.address

    def ask(self, connection: http.client.HTTPConnection, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send one request to the server; return its JSON response."""
        try:
            response = self.send(connection, path, body)
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise EngineError(f"llama.cpp's tokenizer does not respond ({error}).") from error
        if response.status != 200:
            raise EngineError(f"llama.cpp's tokenizer answers {response.status} ({error_text(answer)}).")
        return answer

    def send(
        self, connection: http.client.HTTPConnection, path: str, body: Mapping[str, Any] | None = None
    ) -> http.client.HTTPResponse:
        """Send one request to the server with the key; return the response, not read yet."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode("ascii")
        connection.request("GET" if data is None else "POST", path, data, headers)
        return connection.getresponse()

    @contextlib.contextmanager
    def open(self, listening_at: str, timeout: float = _PATIENCE) -> Iterator[http.client.HTTPConnection]:
        """Open a connection for a few requests, with ``timeout`` in seconds for each step."""
        port = re.search(r":(\d+)/?$", listening_at)
        connection = (
            _UnixConnection(self.address, timeout)
            if self.folder
            else http.client.HTTPConnection(self.address, int(port[1]) if port else 0, timeout=timeout)
        )
        with contextlib.closing(connection):
            yield connection

    def close(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path, self._seconds = path, timeout

    def connect(self) -> None:
        self.sock = private_sockets.connect(self._path, self._seconds)


class LlamaEndpoint(ABC):
    """One model loaded in a llama.cpp server, wherever that runs."""

    def __init__(self) -> None:
        self.endpoint = PrivateEndpoint()
        self.listening_at = f"unix://{self.endpoint.address}"

    def properties(self) -> Any:
        """Return what the server says about the model: template, special tokens, settings."""
        return self._ask_each("/props", [None])[0]

    def tokens(self, texts: list[str], *, special: bool = False) -> list[list[int]]:
        """Return the tokens of each text, special tokens in it included. Works while a reply is generated.

        Args:
            special: add the tokens that the model wants at the start of each prompt.
        """
        bodies = [{"content": text, "add_special": special, "parse_special": True} for text in texts]
        return [list(answer["tokens"]) for answer in self._ask_each("/tokenize", bodies)]

    @abstractmethod
    def complete(self, body: Mapping[str, Any], take: Callable[[Chunk], bool]) -> None:
        """Generate a reply; ``take`` gets each chunk and returns True to stop. Returns when the reply is over."""

    def close(self) -> None:
        """Stop the server and release its memory."""
        self.endpoint.close()

    def _ask_each(self, path: str, bodies: list[Any]) -> list[Any]:
        with self.endpoint.open(self.listening_at) as connection:
            return [self.endpoint.ask(connection, path, body) for body in bodies]


class LlamaServer(LlamaEndpoint):
    """One model loaded in this process by xllamacpp.

    Raises:
        ModelError: llama.cpp refuses the file; the text has its reason.
    """

    def __init__(self, plan: GgufPlan, options: LoadOptions) -> None:
        super().__init__()
        params = _parameters(plan, options)
        self.endpoint.configure(params)
        said: list[str] = []
        try:
            with _captured_stderr(said):
                # Holds the GIL until the model is loaded: nothing else runs in this process meanwhile.
                self._server: Any = library().Server(params)
        except RuntimeError as error:
            self.endpoint.close()
            raise explained(options, "".join(said)) from error
        self.listening_at = str(self._server.listening_address)

    def complete(self, body: Mapping[str, Any], take: Callable[[Chunk], bool]) -> None:
        self._server.handle_completions(dict(body), take)

    def close(self) -> None:
        self._server = None
        super().close()


def error_text(answer: Any) -> str:
    """Return the text of llama.cpp's ``{"error": …}``."""
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    return str(error.get("message", error) if isinstance(error, dict) else error)


def _parameters(plan: GgufPlan, options: LoadOptions) -> Any:
    params = library().CommonParams()
    params.model.path = str(plan.path)
    params.n_ctx = plan.window
    params.n_parallel = 1
    params.n_gpu_layers = plan.gpu_layers
    params.fit_params = False
    params.warmup = False
    # Our prompts are finished, but llama.cpp would still read and test the model's own template while loading.
    params.use_jinja, params.chat_template = False, "chatml"
    params.verbosity = 1
    params.n_batch = params.n_ubatch = READ_AT_ONCE_ON_CARD if plan.gpu_layers else READ_AT_ONCE
    params.cache_ram_mib = OTHER_PROMPTS_MIB
    params.n_ctx_checkpoints = copies_of_state(plan.facts.shape)
    if options.threads > 0:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    if not plan.gpu_layers:
        params.no_kv_offload = params.no_op_offload = True
    elif card := re.fullmatch(r"cuda:(\d+)", options.device):
        params.main_gpu = int(card[1])
        params.split_mode = library().llama_split_mode.LLAMA_SPLIT_MODE_NONE
    return params


def explained(options: LoadOptions, said: str, server: str = "the installed xllamacpp") -> ModelError:
    """Return the reason why a model cannot be loaded, from what llama.cpp has written."""
    causes = [match[1] or match[0] for match in _CAUSE.finditer(said)]
    cause = causes[0].strip()[:160] if causes else "llama.cpp does not say why"
    if _NO_MEMORY.search(said):
        return ModelTooBig(f"{options.model} does not fit into the free memory ({cause}). {SMALLER}")
    if "unknown" in cause:
        return ModelError(
            f"{options.model} is of a kind that {server} cannot run ({cause}). "
            "Run: pip install --upgrade xllamacpp, or choose another model."
        )
    return ModelError(f"{options.model} cannot be loaded ({cause}). Download the model again, or choose another.")


@contextlib.contextmanager
def _captured_stderr(said: list[str]) -> Iterator[None]:
    """Capture what native code writes to stderr: only there does llama.cpp give its reasons."""
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryDirectory(prefix="zwaif-log-", ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "log"
        with log.open("wb") as file:
            os.dup2(file.fileno(), 2)
        try:
            yield
        except RuntimeError:
            _wait_for_final_log(log)
            raise
        finally:
            os.dup2(real, 2)
            os.close(real)
            said.append(log.read_text(encoding="utf-8", errors="replace"))
            logger.info("llama.cpp: %s", said[-1].strip())


def _wait_for_final_log(log: Path) -> None:
    """Wait for llama.cpp's log, which a thread may write after the error was raised."""
    until = time.monotonic() + _LOG_SECONDS
    while b"exiting due to" not in log.read_bytes() and time.monotonic() < until:
        time.sleep(0.01)
