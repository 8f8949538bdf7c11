"""How much room the transformers engine gives its key-value cache on a graphics card."""

from __future__ import annotations

STEP = 512
"""Tokens. Smaller steps would capture decoding anew more often; larger ones read more empty slots for each token."""
REPLY = 256
"""Tokens left for the reply, so that most replies end in the buffers they began in."""
CAPTURED = 100_000_000
"""Bytes that captured decoding steps keep besides the cache. An estimate: not measured on a card yet."""


def slots_for(tokens: int) -> int:
    """Return the tokens that the cache of a text of ``tokens`` has room for."""
    return -(-(tokens + REPLY) // STEP) * STEP


def slot_cache_bytes(numbers_per_token: int, tokens: int, width: float) -> int:
    """Return the bytes of one cache on a card, and of the decoding steps captured on it.

    Args:
        numbers_per_token: keys and values of one token, all layers.
        tokens: prompt and reply.
        width: bytes of one number.
    """
    return int(numbers_per_token * slots_for(tokens) * width) + CAPTURED
