"""Whether the local model may be loaded before an outage, and on which device.

Memory comes first. A machine that swaps is slow for every program, the primary included, and a primary that is idle now
may need its whole card for the next long prompt. So next to a primary on this machine the model stays off the card,
unless the user chose the card, and it is unloaded when memory gets short.
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
"""Share of all memory. The larger of the two stays free for other programs."""
SPARE_ON_CARD = 1.2
"""Free memory that a card must have, as a multiple of what the model needs: other programs may want the card too."""


@dataclass(frozen=True)
class Place:
    """The device to load on, or the reason not to load."""

    device: str = ""
    """As in ``API_FALLBACK_DEVICE``; empty if there is no room."""
    why_not: str = ""


def spare(memory: Memory) -> int:
    """Return the bytes of RAM that must stay free."""
    return max(SPARE_BYTES, int(memory.ram_total * SPARE_SHARE))


def place_for(
    options: LoadOptions,
    primary_is_here: bool,
    memory: Memory,
    needed: Callable[[LoadOptions, bool], int | None] | None = None,
) -> Place:
    """Decide where the model may be loaded while the primary works.

    Args:
        needed: returns the bytes that the model takes, given whether on a card. None means unknown: it is not loaded.
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
    """Whether less than half of the memory that must stay free is free."""
    import psutil  # late, as in hardware

    ram = psutil.virtual_memory()
    return int(ram.available) < spare(Memory(ram.total, ram.available)) // 2


def processors_are_idle() -> bool:
    """Whether the processors are less than half busy, over 0.1 s; otherwise a server may be computing on them."""
    import psutil  # late, as in hardware

    return float(psutil.cpu_percent(interval=0.1)) < 50


def has_room_for(size: int) -> bool:
    """Whether ``size`` bytes can be taken while enough stays free."""
    import psutil  # late, as in hardware

    ram = psutil.virtual_memory()
    return int(ram.available) - size >= spare(Memory(ram.total, ram.available))


def placed(options: LoadOptions, primary_is_here: bool) -> tuple[LoadOptions | None, str]:
    """Return ``options`` for the device chosen now, or None and the reason not to load."""
    place = place_for(options, primary_is_here, memory_now())
    return (replace(options, device=place.device) if place.device else None), place.why_not
