"""Recorders of decoding steps for machines without a graphics card."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Rerun:
    """A captured step that runs again on the same buffers and writes to the same output, as a CUDA graph does."""

    def __init__(self, step: Callable[[], Any], fail_at: int) -> None:
        self._step, self._output, self._fail_at = step, step().clone(), fail_at
        self.replays = 0

    def replay(self) -> Any:
        self.replays += 1
        if self.replays == self._fail_at:
            self._step()  # it got as far as writing to the cache
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        self._output.copy_(self._step())
        return self._output


class RerunRecorder:
    """``fail_capture`` fails halfway, ``fail_at`` is the replay that fails (the first one checks the capture)."""

    def __init__(self, *, fail_capture: bool = False, fail_at: int = 0) -> None:
        self._fail_capture, self._fail_at = fail_capture, fail_at
        self.captured: list[Rerun] = []
        self.captures = 0

    @property
    def replays(self) -> int:
        return sum(each.replays for each in self.captured)

    def capture(self, step: Callable[[], Any]) -> Rerun:
        self.captures += 1
        if self._fail_capture:
            step()
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        self.captured.append(Rerun(step, self._fail_at))
        return self.captured[-1]


class LostKernels:
    """A recorder whose replays run nothing, as with kernels that went to another stream."""

    def capture(self, step: Callable[[], Any]) -> Any:
        step()
        output = step().clone()

        class Stale:
            def replay(self) -> Any:
                return output

        return Stale()
