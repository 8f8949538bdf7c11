"""Keeping the local model warm while the primary is well: whether it may be loaded, and where.

Memory comes first. A machine that swaps is slower for everybody, the primary included, and a primary that is idle now
may need all of its card for its next long prompt. So beside a primary on this machine the model stays off the card,
unless the user named the card, and its memory is given back when that gets short.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.hardware import Memory, memory_now
from zwaif_fallback.local.memory_needed import bytes_needed

GIB = 1024**3
SPARE_BYTES = 2 * GIB
SPARE_SHARE = 0.15
"""Of all memory. The larger of the two stays free for everybody else."""
SPARE_ON_CARD = 1.2
"""How much of what a model needs must be free on a card that somebody else may want as well."""


@dataclass(frozen=True)
class Place:
    """Where to load for the time being, or why not to."""

    device: str = ""
    """As in ``API_FALLBACK_DEVICE``; empty when there is no room."""
    why_not: str = ""


def spare(memory: Memory) -> int:
    """Bytes of RAM that stay free."""
    return max(SPARE_BYTES, int(memory.ram_total * SPARE_SHARE))


def place_for(
    options: LoadOptions,
    primary_is_here: bool,
    memory: Memory,
    needed: Callable[[LoadOptions, bool], int | None] | None = None,
) -> Place:
    """Where the model of ``options`` may be loaded while the primary is well.

    Args:
        needed: bytes it takes, given whether on a card; None when nobody can tell, and then it is not loaded.
    """
    needed = needed or bytes_needed
    named_card = options.device.startswith("cuda")
    card = memory.best_gpu
    if card is not None and (named_card or (options.device == "auto" and not primary_is_here)):
        size = needed(options, True)
        if size is not None and size * SPARE_ON_CARD + GIB <= card.free:
            return Place(options.device)
    if named_card:
        return Place(why_not="the graphics card has no room for it beside what runs there")
    size = needed(options, False)
    if size is None:
        return Place(why_not="its size is not known")
    if size + spare(memory) > memory.ram_free:
        return Place(why_not=f"it takes {size / 1e9:.1f} GB and {memory.ram_free / 1e9:.1f} GB are free")
    return Place("cpu" if card is not None else options.device)


def is_short_of_memory() -> bool:
    """Whether less than half of what should stay free is free."""
    import psutil  # late, as in hardware

    ram = psutil.virtual_memory()
    return int(ram.available) < spare(Memory(ram.total, ram.available)) // 2


def processors_are_idle() -> bool:
    """Whether half of them are, for a tenth of a second: a server that computes on them is not to be held up."""
    import psutil  # late, as in hardware

    return float(psutil.cpu_percent(interval=0.1)) < 50


def has_room_for(size: int) -> bool:
    """Whether so many bytes can be taken, and as much stays free as should."""
    import psutil  # late, as in hardware

    ram = psutil.virtual_memory()
    return int(ram.available) - size >= spare(Memory(ram.total, ram.available))


def placed(options: LoadOptions, primary_is_here: bool) -> tuple[LoadOptions | None, str]:
    """``options`` with the place found now, or None and why not."""
    place = place_for(options, primary_is_here, memory_now())
    return (replace(options, device=place.device) if place.device else None), place.why_not
