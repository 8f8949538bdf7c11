"""What fits on this machine now. Never imports torch, so Z-Waif's own process may ask."""

from __future__ import annotations

import logging
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

_QUERY = ["--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
_MIB = 1024 * 1024
_BYTES = {
    "float32": 4.0,
    "bfloat16": 2.0,
    "float16": 2.0,
    "4bit": 0.53,  # half a byte, and one double-quantized scale for every 64 weights
    "int8": 1.0,
    "int4": 0.625,  # half a byte, scale and offset of 16 bits for every 32 weights
}
NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
"""For Popen on Windows, where a console program would otherwise open a black window; nothing elsewhere."""
RUNTIME_BYTES = 700 * _MIB
"""What a worker takes before it holds a model: Python, torch and transformers (measured: 400 to 700 MB)."""


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA graphics card; bytes."""

    name: str
    total: int
    free: int


@dataclass(frozen=True)
class Memory:
    """Memory of this machine at one moment, in bytes. ``ram_free`` is what programs can get without swapping."""

    ram_total: int
    ram_free: int
    gpus: tuple[Gpu, ...] = ()

    @property
    def best_gpu(self) -> Gpu | None:
        return max(self.gpus, key=lambda gpu: gpu.free, default=None)


@dataclass(frozen=True)
class Estimate:
    """What one model will take, in bytes."""

    weights: int
    kv_cache: int
    runtime: int = RUNTIME_BYTES

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + self.runtime


@dataclass(frozen=True)
class Weights:
    """What the headers of a model's safetensors files say."""

    parameters: int
    quantizable: int
    """Parameters in matrices that 4-bit loading shrinks: all but embeddings, the output head, norms and biases."""
    stored_bytes: int


def memory_now() -> Memory:
    """RAM and VRAM, asked now."""
    import psutil  # late: Z-Waif's start waits for this module, and for psutil it would as long again

    ram = psutil.virtual_memory()
    return Memory(ram_total=ram.total, ram_free=ram.available, gpus=gpus_now())


def cpu_cores() -> int:
    """Physical cores, at least one: more threads than that slow a model down."""
    import psutil  # late, as above

    return psutil.cpu_count(logical=False) or psutil.cpu_count() or 1


def gpus_now() -> tuple[Gpu, ...]:
    """NVIDIA cards with their memory; empty without a card or without its driver's ``nvidia-smi``."""
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
        logger.debug("nvidia-smi gave no answer: %s", error)
        return ()
    return parse_gpus(answer.stdout)


def parse_gpus(table: str) -> tuple[Gpu, ...]:
    """Rows of ``name, total MiB, free MiB``; a row without numbers (``[N/A]``) is left out."""
    gpus = []
    for row in table.splitlines():
        cells = [cell.strip() for cell in row.rsplit(",", 2)]
        if len(cells) == 3 and cells[1].isdigit() and cells[2].isdigit():
            gpus.append(Gpu(cells[0], int(cells[1]) * _MIB, int(cells[2]) * _MIB))
    return tuple(gpus)


def read_weights(folder: Path) -> Weights:
    """Sizes from the safetensors headers of ``folder``; nothing is loaded.

    Raises:
        ValueError: a file is not a safetensors file.
        OSError: a file cannot be read.
    """
    from zwaif_fallback.models.safetensors_facts import is_shrunk  # late: Z-Waif's start waits for this module
    from zwaif_fallback.models.safetensors_header import read_tensors

    tensors = [tensor for file in sorted(folder.glob("model*.safetensors")) for tensor in read_tensors(file)]
    return Weights(
        sum(tensor.elements for tensor in tensors),
        sum(tensor.elements for tensor in tensors if is_shrunk(tensor)),
        sum(tensor.size for tensor in tensors),
    )


def estimate_memory(
    folder: Path, *, dtype: str = "bfloat16", quantization: str = "", context_window: int = 2048
) -> Estimate:
    """What loading ``folder`` will take with ``dtype`` (and ``quantization``: ``4bit`` on a card, ``int8`` or
    ``int4`` on a processor, or empty).

    Raises:
        ValueError, OSError: the folder holds no readable model.
    """
    weights = read_weights(folder)
    width = _BYTES.get(dtype, 2.0)
    shrunk = weights.quantizable if quantization else 0
    size = (weights.parameters - shrunk) * width + shrunk * _BYTES.get(quantization, width)
    return Estimate(weights=int(size), kv_cache=_kv_cache(folder, context_window, min(width, 4.0)))


def _kv_cache(folder: Path, context_window: int, width: float) -> int:
    """Two vectors per layer, key-value head and token."""
    from zwaif_fallback.models.safetensors_facts import cached_numbers, read_json  # late, as above

    return int(cached_numbers(read_json(folder / "config.json")) * context_window * width)
