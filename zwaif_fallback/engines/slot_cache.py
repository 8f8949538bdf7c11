"""A key-value cache in buffers of fixed size, which a captured decoding step can go on using.

transformers' ``StaticCache`` is not used: its constructor differs between the versions allowed here, it counts its
tokens by reading all of them, and it holds nothing but whole buffers, so a prompt would be read with a mask as long as
the buffer. This cache is read like a ``DynamicCache`` except inside a captured step. Imports torch and transformers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from transformers.cache_utils import Cache

from zwaif_fallback.models.slots import slots_for


class SlotCache(Cache):  # type: ignore[misc]
    """The keys and values of one text, batch size 1. Tensors are ``(1, heads, slots, width)``."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: list[Any] = []
        self._values: list[Any] = []
        self._lengths: list[int] = []
        self._slots = slots_for(1)
        self._position: Any = None

    @property
    def slots(self) -> int:
        """Tokens that fit into the buffers as they are."""
        return self._slots

    def reserve(self, tokens: int) -> None:
        """Make room for ``tokens``, in larger buffers if need be."""
        if tokens <= self._slots:
            return
        self._slots = slots_for(tokens)
        for buffers in (self._keys, self._values):
            for layer, buffer in enumerate(buffers):
                buffers[layer] = self._larger(buffer, self._lengths[layer])

    def update(self, keys: Any, values: Any, layer_idx: int, cache_kwargs: Any = None) -> tuple[Any, Any]:
        """Add tokens and return all of them; inside :meth:`fixed` the whole buffers."""
        if self._position is not None:
            for buffer, new in ((self._keys[layer_idx], keys), (self._values[layer_idx], values)):
                buffer.index_copy_(2, self._position, new)
            return self._keys[layer_idx], self._values[layer_idx]
        if layer_idx == len(self._keys):
            self._keys.append(self._buffer_like(keys))
            self._values.append(self._buffer_like(values))
            self._lengths.append(0)
        begin = self._lengths[layer_idx]
        end = begin + keys.shape[2]
        self.reserve(end)
        self._lengths[layer_idx] = end
        self._keys[layer_idx][:, :, begin:end] = keys
        self._values[layer_idx][:, :, begin:end] = values
        return self[layer_idx]

    @contextlib.contextmanager
    def fixed(self, position: Any) -> Iterator[None]:
        """Write to the slot in the tensor ``position``, shape (1,), and leave the lengths to :meth:`advance`."""
        self._position = position
        try:
            yield
        finally:
            self._position = None

    def advance(self) -> None:
        """Count the token that a captured step has written."""
        self._lengths = [length + 1 for length in self._lengths]

    def crop(self, length: int) -> None:
        """Keep the first ``length`` tokens."""
        self._lengths = [min(length, each) for each in self._lengths]

    def get_seq_length(self, layer_idx: int | None = 0) -> int:
        layer = layer_idx or 0
        return self._lengths[layer] if layer < len(self._lengths) else 0

    def get_max_cache_shape(self) -> int | None:
        """Return None as ``DynamicCache`` does: the buffers grow."""
        return None

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, layer: int) -> tuple[Any, Any]:
        end = self._lengths[layer]
        return self._keys[layer][:, :, :end], self._values[layer][:, :, :end]

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return (self[layer] for layer in range(len(self)))

    def _buffer_like(self, states: Any) -> Any:
        # Zeros, because a slot that is masked out is still multiplied by 0, and leftover memory may hold NaN.
        return states.new_zeros((*states.shape[:2], self._slots, states.shape[3]))

    def _larger(self, buffer: Any, length: int) -> Any:
        larger = self._buffer_like(buffer)
        larger[:, :, :length] = buffer[:, :, :length]
        return larger


def mask_for(position: Any, slots: int, dtype: Any) -> Any:
    """Return the attention mask of a token at ``position``: 0 up to there, then the lowest number of ``dtype``."""
    seen = torch.arange(slots, device=position.device) <= position
    mask = torch.zeros(slots, device=position.device, dtype=dtype)
    return mask.masked_fill(~seen, torch.finfo(dtype).min).view(1, 1, 1, slots)
