"""Memory, graphics cards and processor cores of this machine. Never imports torch, so Z-Waif's own process may ask."""

from __future__ import annotations

import logging
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

logger = logging.getLogger(__name__)

_QUERY = ["--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
_MIB = 1024 * 1024
NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
"""Creation flag for Popen: keeps console programs from opening a window on Windows; 0 elsewhere."""


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA graphics card; memory in bytes."""

    name: str
    total: int
    free: int


@dataclass(frozen=True)
class Memory:
    """Memory of this machine at one moment, in bytes. ``ram_free`` is available without swapping."""

    ram_total: int
    ram_free: int
    gpus: tuple[Gpu, ...] = ()

    @property
    def best_gpu(self) -> Gpu | None:
        return max(self.gpus, key=lambda gpu: gpu.free, default=None)


def memory_now() -> Memory:
    """Measure RAM and VRAM now."""
    import psutil  # late: Z-Waif's start-up waits for this module, and importing psutil would double that time

    ram = psutil.virtual_memory()
    return Memory(ram_total=ram.total, ram_free=ram.available, gpus=gpus_now())


def ram_free() -> int:
    """Return the bytes that are available without swapping. Unlike :func:`memory_now`, it asks no card, which takes
    longer."""
    import psutil  # late, as above

    return int(psutil.virtual_memory().available)


def cpu_cores() -> int:
    """Return the number of physical cores, at least one: more threads than that slow a model down."""
    import psutil  # late, as above

    return psutil.cpu_count(logical=False) or psutil.cpu_count() or 1


@cache
def cpu_has_bfloat16() -> bool:
    """Return whether torch would compute in 16 bits on this processor, which it does with AVX-512 or AMX (Linux only).

    Other systems do not tell without importing torch; then the larger need is assumed.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512bw" in flags or "amx_bf16" in flags


def cpu_dtype() -> str:
    """Return the type that transformers computes in on this processor."""
    return "bfloat16" if cpu_has_bfloat16() else "float32"


def gpus_now() -> tuple[Gpu, ...]:
    """Return the NVIDIA cards; empty without a card or without the driver's ``nvidia-smi``."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        answer = subprocess.run(
            [program, *_QUERY],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=5,
            check=True,
            creationflags=NO_WINDOW,
        )
    except (OSError, subprocess.SubprocessError) as error:
        logger.debug("nvidia-smi failed: %s", error)
        return ()
    return parse_gpus(answer.stdout)


def parse_gpus(table: str) -> tuple[Gpu, ...]:
    """Parse rows of ``name, total MiB, free MiB``; skip rows without numbers (``[N/A]``)."""
    gpus = []
    for row in table.splitlines():
        cells = [cell.strip() for cell in row.rsplit(",", 2)]
        if len(cells) == 3 and cells[1].isdigit() and cells[2].isdigit():
            gpus.append(Gpu(cells[0], int(cells[1]) * _MIB, int(cells[2]) * _MIB))
    return tuple(gpus)
