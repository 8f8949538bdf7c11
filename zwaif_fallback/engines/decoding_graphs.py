"""Decode with a captured step: on a graphics card, one CUDA graph instead of hundreds of kernels started from Python.

Starting the kernels of one token takes about 20 ms whatever the model; running them takes a fraction of that. A graph
is captured by hand, without torch's compiler, which needs a C compiler and triton. It belongs to the buffers of one
:class:`~zwaif_fallback.engines.slot_cache.SlotCache`. Imports torch only when used.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from zwaif_fallback.engines.error_messages import first_line
from zwaif_fallback.engines.kv_caches import KvCache
from zwaif_fallback.engines.own_caches import sliding_layers

logger = logging.getLogger(__name__)

MOST_OFF = 0.1
"""Largest difference from scores decoded without the graph, relative to their spread. bfloat16 makes about 0.02."""
_NEEDED = frozenset({"attention_mask", "position_ids", "cache_position", "past_key_values"})
_STEADY_ROPES = (None, "default", "linear", "llama3", "yarn")
"""Position encodings that do the same at every length; the others look at it, which a graph cannot."""


class GraphFailed(Exception):
    """A decoding step cannot be captured, or gains nothing; the text says why."""


class Captured(Protocol):
    """A step that was recorded together with its buffers."""

    def replay(self) -> Any:
        """Run the step on what its input buffers hold now; return its output buffer, which the next replay reuses."""


class Recorder(Protocol):
    """Something that captures a step: a callable that reads and writes the same buffers each time it is called."""

    def capture(self, step: Callable[[], Any]) -> Captured:
        """Call the step as often as needed and record it.

        Raises:
            Exception: the step cannot be captured.
        """


def disable_cudnn_attention() -> None:
    """Turn off cuDNN's attention, which makes a plan for every length of the cache: 40 ms a token, once per process
    and length. Older versions of torch have none."""
    import torch

    disable = getattr(torch.backends.cuda, "enable_cudnn_sdp", None)
    if disable is not None:
        disable(False)


def recorder_for(model: Any) -> Recorder | None:
    """Return what captures decoding steps where the model is; None if decoding stays as it is."""
    if model.device.type != "cuda":
        return None
    reason = reason_against(model)
    if reason:
        logger.info("Decoding without a CUDA graph: %s.", reason)
        return None
    return CudaRecorder(model.device)


def reason_against(model: Any) -> str:
    """Return why the model's decoding step cannot be the same at every length; empty if it can."""
    config = model.config
    rope = getattr(config, "rope_scaling", None) or {}
    if len({parameter.device for parameter in model.parameters()}) > 1:
        return "the layers are on several devices"
    if not getattr(model, "_supports_static_cache", False):
        return "the architecture supports no static cache"
    if sliding_layers(model):
        return "the mask of its sliding window depends on the length"
    if not _NEEDED.issubset(inspect.signature(model.forward).parameters):
        return "the architecture takes no positions"
    if getattr(config, "_attn_implementation", "") not in ("sdpa", "eager"):
        return "its attention takes no mask"
    if rope.get("rope_type", rope.get("type")) not in _STEADY_ROPES:
        return "its position encoding depends on the length"
    return ""


class DecodingGraphs:
    """The captured decoding steps of one model, one for each cache."""

    def __init__(self, model: Any, recorder: Recorder, arguments: Mapping[str, Any]) -> None:
        """``arguments`` are passed to the model's ``forward`` as well."""
        self._model, self._recorder, self._arguments = model, recorder, arguments
        # Only positions within a sliding window see everything before them, as the step's mask says.
        slides = getattr(model.config, "use_sliding_window", True)
        self._end = (slides and getattr(model.config, "sliding_window", None)) or float("inf")
        self._failed = False

    def read(self, kept: KvCache, token: int) -> Any:
        """Read one token with the cache's captured step and return the scores, valid until the next call; None if there
        is no step or it failed. The cache is then as before."""
        place = len(kept.tokens)
        if kept.step is not None and not kept.step.fits(kept.cache, place):
            kept.step = None  # it writes to buffers that are gone or full
        if kept.step is None or place >= self._end:
            return None
        try:
            scores = kept.step.replay(token, place)
        except Exception as error:  # decoding without a graph goes on with the same token
            self._give_up(kept, error)
            return None
        kept.cache.advance()
        return scores

    def wants(self, kept: KvCache) -> bool:
        """Return whether a step for this cache has yet to be captured."""
        return not self._failed and kept.step is None and len(kept.tokens) < self._end

    def capture(self, kept: KvCache, token: int, scores: Any) -> bool:
        """Capture a step for the cache.

        Args:
            token: the one after ``kept.tokens``, which the cache holds already.
            scores: what reading it gave; the step must give the same.

        Returns:
            False if that failed. The token must then be read again.
        """
        began, place = time.monotonic(), len(kept.tokens)
        try:
            step = _Step(self._model, kept.cache, self._arguments)
            step.capture(self._recorder, place)
            again = step.replay(token, place)
            off = float((again - scores).norm() / (scores - scores.mean()).norm())
            if not off <= MOST_OFF:
                raise GraphFailed(f"its scores are off by {off:.2g}")
        except Exception as error:  # decoding without a graph goes on
            self._give_up(kept, error)
            return False
        kept.step = step
        logger.info("Decoding as a graph of %d slots, captured in %.2f s.", kept.cache.slots, time.monotonic() - began)
        return True

    def _give_up(self, kept: KvCache, error: Exception) -> None:
        self._failed, kept.step = True, None
        logger.info("Decoding as a graph did not work (%s); going on without one.", first_line(error))
        logger.debug("The error of the graph", exc_info=error)


class _Step:
    """The decoding step on one cache's buffers."""

    def __init__(self, model: Any, cache: Any, arguments: Mapping[str, Any]) -> None:
        import torch

        self._model, self._cache, self._arguments = model, cache, arguments
        self._slots = cache.slots
        self._token = torch.zeros((1, 1), dtype=torch.long, device=model.device)
        self._position = torch.zeros(1, dtype=torch.long, device=model.device)
        self._captured: Captured | None = None

    def fits(self, cache: Any, place: int) -> bool:
        """Return whether the cache still has the captured buffers, and a slot at ``place``."""
        return bool(cache.slots == self._slots > place)

    def capture(self, recorder: Recorder, place: int) -> None:
        """Record the step with token 0, so that a replay which still has that token's scores recorded nothing."""
        import torch

        with torch.inference_mode():
            self._position.fill_(place)
            self._captured = recorder.capture(self._run)

    def replay(self, token: int, place: int) -> Any:
        import torch

        assert self._captured is not None
        with torch.inference_mode():
            self._token.fill_(token)
            self._position.fill_(place)
            return self._captured.replay()

    def _run(self) -> Any:
        from zwaif_fallback.engines.slot_cache import mask_for

        with self._cache.fixed(self._position):
            output = self._model(
                input_ids=self._token,
                attention_mask=mask_for(self._position, self._slots, self._model.dtype),
                position_ids=self._position.unsqueeze(0),
                cache_position=self._position,
                past_key_values=self._cache,
                use_cache=True,
                return_dict=True,
                **self._arguments,
            )
        return output.logits[:, -1, :].float()


class CudaRecorder:
    """Capture steps as CUDA graphs on one card."""

    TIMED = 2
    """Calls of the step, and of the graph, the quicker of which counts. One more comes first, in which libraries may
    allocate and wait for the card."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._apart: Any = None

    def capture(self, step: Callable[[], Any]) -> Captured:
        import torch

        with torch.cuda.device(self._device):
            before = torch.cuda.current_stream()
            # One stream for all captures, because torch keeps a workspace of cuBLAS, 32 MiB, for each stream.
            apart = self._apart = self._apart or torch.cuda.Stream()  # type: ignore[no-untyped-call]
            apart.wait_stream(before)
            try:
                with torch.cuda.stream(apart):
                    step()
                    plain = min(_seconds(_without_waiting(step)) for _ in range(self.TIMED))
                graph = torch.cuda.CUDAGraph()
                # Other threads of the worker may ask the card about its memory meanwhile.
                with _own_workspaces(), torch.cuda.graph(graph, stream=apart, capture_error_mode="thread_local"):
                    output = step()
            finally:
                # A capture that fails as it ends leaves its own stream behind as the current one.
                torch.cuda.set_stream(before)
                before.wait_stream(apart)
            captured = _CapturedByCuda(graph, output)
            replayed = min(_seconds(captured.replay) for _ in range(self.TIMED))
        if replayed > plain:
            raise GraphFailed(f"a token takes {replayed * 1000:.1f} ms with it and {plain * 1000:.1f} ms without")
        return captured


@dataclass(frozen=True)
class _CapturedByCuda:
    graph: Any
    output: Any

    def replay(self) -> Any:
        self.graph.replay()
        return self.output


def _without_waiting(step: Callable[[], Any]) -> Callable[[], Any]:
    """Return the step, but an operation in it that waits for the card raises.

    It would also raise during a capture; before torch 2.12, a capture that failed keeps the allocator from ever
    releasing memory again (pytorch/pytorch#180395)."""
    import torch

    def checked() -> Any:
        mode = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            return step()
        finally:
            torch.cuda.set_sync_debug_mode(mode)

    return checked


@contextlib.contextmanager
def _own_workspaces() -> Iterator[None]:
    """Let what is captured inside have cuBLAS workspaces of its own, in the graph's memory. torch would share those of
    the stream between its graphs, and some versions release them with the first (pytorch/pytorch#193402)."""
    import torch

    clear = getattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None)
    clear()
    try:
        yield
    finally:
        clear()


def _seconds(call: Callable[[], Any]) -> float:
    import torch

    began = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - began
