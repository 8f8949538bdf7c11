"""Keeps a worker process ready for the model that would be loaded next (``API_FALLBACK_STANDBY``)."""

from __future__ import annotations

from collections.abc import Callable, Collection

from zwaif_fallback.answering.contracts import LocalModel
from zwaif_fallback.answering.early_loader import OthersAnswer, nobody_else
from zwaif_fallback.answering.live_settings import LiveSettings
from zwaif_fallback.answering.model_loader import ModelLoader
from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.local.standby_policy import StandbyPolicy


class Standby:
    """Tells :class:`StandbyPolicy` what to be ready for, and when the computer is needed for something else.

    Args:
        wait: waits for some seconds; True once Z-Waif ends.
        others_answer: whether another plugin is going to answer any request; then no process is kept.
    """

    def __init__(
        self,
        settings: LiveSettings,
        local: LocalModel,
        loader: ModelLoader,
        wait: Callable[[float], bool],
        others_answer: OthersAnswer = nobody_else,
    ) -> None:
        self._settings, self._local, self._loader = settings, local, loader
        self._policy = StandbyPolicy(local, self._target, self._is_busy, wait)
        self._others_answer = others_answer
        self._looked_up: tuple[int, LoadOptions | None] = (-1, None)
        self._under_way: Collection[object] = ()

    def begin(self, under_way: Collection[object]) -> None:
        """Start, a while after Z-Waif has started. Returns at once.

        Args:
            under_way: the replies that are being read; stays the same object.
        """
        self._under_way = under_way
        self._policy.begin()

    def memory(self) -> int:
        """Bytes that the waiting process takes; 0 without one."""
        return self._policy.bytes if self._local.standing_by is not None else 0

    def _is_busy(self) -> bool:
        return bool(self._under_way) or self._loader.is_busy()

    def _target(self) -> LoadOptions | None:
        """Asked every few seconds; the disks are looked at only after a change."""
        on = self._settings.get("API_FALLBACK_ENABLED") and self._settings.get("API_FALLBACK_STANDBY")
        if not on or self._local.loaded is not None:
            return None
        if self._looked_up[0] != (changes := self._loader.changes):
            needed = not self._others_answer(None, None)
            self._looked_up = changes, self._loader.available() if needed else None
        return self._looked_up[1]
