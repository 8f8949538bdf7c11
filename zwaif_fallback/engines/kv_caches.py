"""Key-value caches of what a model has read, one for each of the last two conversations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

logger = logging.getLogger(__name__)

MOST = 2
"""The microphone and Discord, or a chat and a summary made between two of its turns."""
SAME = 0.5
"""A prompt that shares less than this of a cache belongs to another conversation with the same character."""
SHARE_OF_FREE = 0.25
"""Share of the free memory that a second cache may take."""


@dataclass
class KvCache:
    """One cache (transformers' ``DynamicCache`` or :class:`~zwaif_fallback.engines.slot_cache.SlotCache`), its tokens
    and the decoding step captured on it."""

    cache: Any
    tokens: list[int] = field(default_factory=list)
    step: Any = None


def growing_cache() -> Any:
    """Return an empty cache whose tensors grow with each token."""
    from transformers import DynamicCache

    return DynamicCache()


def slot_cache() -> Any:
    """Return an empty cache that decoding steps can be captured on."""
    from zwaif_fallback.engines.slot_cache import SlotCache

    return SlotCache()


class KvCaches:
    """The caches of one model; ``device`` is torch's, ``empty`` makes a cache."""

    def __init__(self, device: Any, empty: Callable[[], Any] = growing_cache) -> None:
        self._device, self._empty = device, empty
        self._kept: list[KvCache] = []

    def forget(self) -> None:
        self._kept = []

    def tokens(self) -> int:
        """Return how many tokens are kept, of all conversations."""
        return sum(len(kept.tokens) for kept in self._kept)

    def best_for(self, tokens: Sequence[int]) -> KvCache:
        """Return the cache that shares most with ``tokens``, cut to the shared prefix; one token is left to read."""
        wanted = list(tokens[:-1])
        kept, common = self._nearest(wanted)
        if kept is None or not common:
            kept = KvCache(self._empty())
        elif common < SAME * len(kept.tokens) and self._has_room(kept):
            kept = KvCache(_beginning_of(kept.cache, common, self._empty()), kept.tokens[:common])
        elif common < len(kept.tokens):
            kept.cache.crop(common)
            del kept.tokens[common:]
        self._kept = [*(other for other in self._kept if other is not kept), kept][-MOST:]
        return kept

    def _nearest(self, wanted: list[int]) -> tuple[KvCache | None, int]:
        """Return the last used cache if ``wanted`` continues it, as during a reply; else the one that shares most."""
        best: KvCache | None = None
        most = 0
        for kept in reversed(self._kept):
            common = _common_prefix(kept.tokens, wanted)
            if best is None or common > most:
                best, most = kept, common
            if common == len(kept.tokens) and kept is self._kept[-1] and common:
                break
        return best, most

    def _has_room(self, kept: KvCache) -> bool:
        size = sum(part.nbytes for layer in kept.cache for part in layer)
        return bool(size <= SHARE_OF_FREE * _free(self._device))


def _free(device: Any) -> int:
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def _beginning_of(cache: Any, length: int, copied: Any) -> Any:
    """Copy the first ``length`` tokens to ``copied``, so that a character card is not read again for each
    conversation."""
    import torch

    with torch.inference_mode():
        for place, (keys, values) in enumerate(cache):
            copied.update(keys[..., :length, :].clone(), values[..., :length, :].clone(), place)
    return copied


def _common_prefix(one: list[int], other: list[int]) -> int:
    if other[: len(one)] == one:
        return len(one)
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))
