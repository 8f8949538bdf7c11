"""Load a transformers model in the best way this machine allows, with one line for the user per fallback step."""

from __future__ import annotations

import copy
import gc
import importlib.metadata
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.engines.error_messages import explain, first_line, is_out_of_memory
from zwaif_fallback.engines.file_repairs import readable
from zwaif_fallback.engines.load_timer import LoadTimer
from zwaif_fallback.engines.quantize import pack_model, pays
from zwaif_fallback.engines.transformers_import import model_class
from zwaif_fallback.errors import ModelTooBig
from zwaif_fallback.hardware import gpus_now, memory_now
from zwaif_fallback.models.card_plans import card_plans, room_on
from zwaif_fallback.models.error_hints import SMALLER
from zwaif_fallback.models.memory import LEFT_FREE, Plan, need, planned_window
from zwaif_fallback.models.safetensors_facts import read_folder

logger = logging.getLogger(__name__)

OLDEST_ACCELERATE = (0, 26)
ACCELERATE_REMEDY = 'run: pip install "accelerate>=0.26.0"'
GENERATION = "generation_config.json"
BITSANDBYTES_REMEDY = "run: pip install bitsandbytes"


@dataclass(frozen=True)
class TransformersPlan:
    """One way to load a model."""

    device: str
    dtype: str
    four_bit: bool = False
    bits: int = 0
    """Bits per weight on a processor, 8 or 4; 0 keeps the computing type."""
    spread: bool = False
    """Let accelerate place the layers on all cards and, once those are full, in RAM."""
    rooms: tuple[int, ...] = ()
    """Bytes of each card for a spread model's weights; empty lets accelerate decide."""
    size: int = 0
    """Bytes of the cards that are planned with; 0 if unknown, and on a processor."""

    def __str__(self) -> str:
        return f"{'4-bit' if self.four_bit else self.quantization or self.dtype} on {self.device}"

    @property
    def quantization(self) -> str:
        """The quantization in words; empty if no weight is rounded."""
        if self.four_bit:
            return "4-bit NF4"
        return f"{self.bits}-bit" if self.bits else ""


@dataclass(frozen=True)
class Loaded:
    """A loaded model, and how it was loaded."""

    model: Any
    plan: TransformersPlan
    notes: tuple[str, ...]


def load_weights(
    folder: Path, config: Any, options: LoadOptions, progress: Callable[[str], None], timer: LoadTimer | None = None
) -> Loaded:
    """Try each plan in turn, best first.

    Raises:
        FallbackError: the last plan failed too; the text says why and what to do.
    """
    notes: list[str] = []
    timer = timer or LoadTimer()
    plans = make_plans(options, config, notes, folder)
    timer.done("plan")
    while True:
        plan = plans.pop(0)
        progress(f"Loading {options.model} ({plan}) …")
        try:
            if plan.device.startswith("cuda"):
                create_context(plan.device)
                timer.done("CUDA")
            model = _load(folder, copy.deepcopy(config), plan, options)
            timer.done("weights")
            if plan.bits:
                pack(model, plan.bits)
                timer.done("rounding")
            return Loaded(model, plan, tuple(notes))
        except Exception as error:  # each backend has errors of its own; only the last one is explained
            full = bool(plan.size) and is_out_of_memory(error)
            if full:  # what takes as much would fail, too
                plans = [other for other in plans if other.size < plan.size]
            if not plans:
                raise explain(error, options) from error
            logger.info("Loading %s as %s failed", options.model, plan, exc_info=True)
            why = "The graphics card is full" if full else f"{plan} did not work ({first_line(error)})"
            notes.append(f"{why}; loading it as {plans[0]}.")
            progress(notes[-1])
            free_memory()


def get_ready_to_load(options: LoadOptions, config: Any) -> None:
    """Measure in advance what a load on the processor would measure. Graphics cards are left alone, because asking
    torch about one takes some of its memory."""
    import torch

    if options.device == "cpu" or not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        make_plans(options, config, [])


def make_plans(
    options: LoadOptions, config: Any, notes: list[str], folder: Path | None = None
) -> list[TransformersPlan]:
    """Return the ways to load, best first. Each one that is not possible here is left out with a line in ``notes``.

    Args:
        folder: the model's files, to plan a card by what is free on it; if None, every way is tried in turn.
    """
    device = pick_device(options.device, notes)
    plans: list[TransformersPlan] = []
    four_bit = options.quantization != "none" and _four_bit_allowed(device, config, options, notes)
    free = cards_free() if folder and device.startswith("cuda") and options.device == "auto" else []
    if device == "cpu":
        plans += _processor_plans(options, config, notes)
    elif folder and free:
        plans += _plans_that_fit(folder, options, four_bit, free, notes)
        plans += _processor_plans(options, config, [] if plans else notes)
    else:
        spread = options.device == "auto" and device.startswith("cuda") and accelerate_works()
        plans += [TransformersPlan(device, half_dtype(device), four_bit=True)] if four_bit else []
        plans.append(TransformersPlan(device, pick_dtype(device, options.dtype, notes), spread=spread))
        if options.device == "auto":
            plans += _processor_plans(options, config, [])
    if not accelerate_works():
        notes.append(f"accelerate is missing or too old, so layers are not spread over devices; {ACCELERATE_REMEDY}")
    return plans


def cards_free() -> list[int]:
    """Return the free bytes of each card in torch's order; empty if the driver does not say or shows other cards.

    The driver lists cards by their slot, CUDA the fastest first."""
    import torch

    listed = list(gpus_now())
    free = []
    for place in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_name(place)
        card = next((card for card in listed if card.name == name), None)
        if card is None:
            return []
        listed.remove(card)
        free.append(card.free)
    return free if not listed else []


def _plans_that_fit(
    folder: Path, options: LoadOptions, four_bit: bool, free: list[int], notes: list[str]
) -> list[TransformersPlan]:
    """Return what fits on the cards now. Decided before loading: a card that turns out to be full costs seconds."""
    facts = read_folder(folder)
    window = planned_window(facts, options.context_window)
    plans = []
    for way in card_plans(facts, free, window, quantization=options.quantization, four_bit=four_bit):
        best = free.index(max(free))
        device = f"cuda:{best}" if best else "cuda"
        dtype = half_dtype(device) if way.plan.bits else pick_dtype(device, options.dtype, [])
        if not way.split:
            plans.append(TransformersPlan(device, dtype, four_bit=bool(way.plan.bits), size=way.need.total))
        elif accelerate_works() and way.in_ram <= memory_now().ram_free - LEFT_FREE:
            rooms = tuple(max(0, room_on(card, facts) - way.need.cache // len(free)) for card in free)
            plans.append(TransformersPlan("cuda", dtype, spread=True, rooms=rooms, size=way.need.total - way.in_ram))
    if not plans:
        room = max(room_on(card, facts) for card in free)
        notes.append(f"The model runs on the processor: the graphics card has {room / 1e9:.1f} GB free for it.")
    return plans


def _processor_plans(options: LoadOptions, config: Any, notes: list[str]) -> list[TransformersPlan]:
    """Return 8-bit weights if they are faster, and 4-bit ones if those do not fit or 4 bits were requested."""
    dtype = pick_dtype("cpu", options.dtype, notes)
    plain = TransformersPlan("cpu", dtype)
    chosen = options.quantization == "4bit" or options.dtype == "auto"
    if options.quantization == "none" or not chosen or getattr(config, "quantization_config", None):
        return [plain]
    wanted = [4, 8] if options.quantization == "4bit" else [8, 4]
    # Only the first is measured; the later ones are for a processor or a memory that cannot take it.
    while wanted and not pays(wanted[0], dtype):
        del wanted[0]
    packed = [TransformersPlan("cpu", dtype, bits=bits) for bits in wanted]
    if 4 not in wanted and options.quantization == "4bit":
        notes.append("4-bit weights are not faster on this processor; using the fastest ones instead.")
    return [*packed, plain]


def pick_device(wish: str, notes: list[str]) -> str:
    """Return the requested device if it exists, else the best there is."""
    import torch

    has_mps = torch.backends.mps.is_available()
    if wish.startswith("cuda") and not torch.cuda.is_available():
        notes.append("No usable NVIDIA card was found; the model runs on the CPU.")
        return "cpu"
    if wish == "mps" and not has_mps:
        notes.append("No Apple graphics device was found; the model runs on the CPU.")
        return "cpu"
    if wish != "auto":
        return wish
    return "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"


def half_dtype(device: str) -> str:
    """Return the 16-bit type that a graphics device computes in.

    ``torch.cuda.is_bf16_supported`` also says yes to cards before Ampere, which only emulate bfloat16, and asks the
    first card only."""
    import torch

    return "bfloat16" if device.startswith("cuda") and torch.cuda.get_device_capability(device)[0] >= 8 else "float16"


def pick_dtype(device: str, wish: str, notes: list[str]) -> str:
    """Return a 16-bit type if the device supports it, float32 on older CPUs. float16 is unusably slow on a CPU."""
    if device == "cpu":
        if wish == "float16":
            notes.append("float16 is too slow on a CPU; using the CPU's best type instead.")
        elif wish != "auto":
            return wish
        if cpu_computes_bfloat16():
            return "bfloat16"
        notes.append("This CPU has no fast 16-bit arithmetic; the model runs in float32 and takes twice the memory.")
        return "float32"
    return half_dtype(device) if wish == "auto" else wish


def cpu_computes_bfloat16() -> bool:
    """Ask what torch itself asks before it uses oneDNN's bfloat16 kernels."""
    import torch

    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError) as error:  # builds without oneDNN lack this operator
        logger.debug("torch cannot say whether this CPU computes bfloat16: %s", error)
        return False


def accelerate_works() -> bool:
    return version_of("accelerate") >= OLDEST_ACCELERATE


def version_of(distribution: str) -> tuple[int, ...]:
    """Return the first two numbers of the installed version; ``(0,)`` if it is not installed."""
    try:
        parts = importlib.metadata.version(distribution).split(".")[:2]
    except importlib.metadata.PackageNotFoundError:
        return (0,)
    return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in parts)


def _four_bit_allowed(device: str, config: Any, options: LoadOptions, notes: list[str]) -> bool:
    if getattr(config, "quantization_config", None):
        notes.append("The model is published quantized; it is loaded as it is.")
        return False
    if not device.startswith("cuda"):
        if options.quantization == "4bit" and device != "cpu":
            notes.append("4-bit loading needs an NVIDIA card; using standard loading.")
        return False
    if version_of("bitsandbytes") == (0,):
        notes.append(f"bitsandbytes is not installed; using standard loading. For 4-bit {BITSANDBYTES_REMEDY}")
        return False
    if not accelerate_works():
        notes.append(f"4-bit loading needs a newer accelerate; using standard loading. For 4-bit {ACCELERATE_REMEDY}")
        return False
    return True


def _load(folder: Path, config: Any, plan: TransformersPlan, options: LoadOptions) -> Any:
    import torch
    from transformers import GenerationConfig

    _check_room(folder, plan, options)
    arguments: dict[str, Any] = {"config": config, "torch_dtype": getattr(torch, plan.dtype)}
    if plan.four_bit:
        arguments["quantization_config"] = _four_bit(plan)
    if accelerate_works():
        arguments["device_map"] = "auto" if plan.spread else {"": _place(plan.device)}
    if plan.rooms:
        arguments["max_memory"] = {**dict(enumerate(plan.rooms)), "cpu": memory_now().ram_free}
    arguments |= {"trust_remote_code": False, "local_files_only": True, "use_safetensors": True}
    with readable(folder) as place:
        model = model_class(config).from_pretrained(folder, **arguments)
        if place != folder and (place / GENERATION).exists():
            model.generation_config = GenerationConfig.from_pretrained(place, local_files_only=True)
    if "device_map" not in arguments:
        model = model.to(plan.device)
    return model.eval()


def create_context(device: str) -> None:
    """Create what CUDA needs once in each process. It would be created with the first weight; this way it is timed."""
    import torch

    torch.zeros(1, device=device)


def pack(model: Any, bits: int) -> None:
    """Round the weights of a model on a processor."""
    import torch

    with torch.inference_mode():
        pack_model(model, bits)


def _place(device: str) -> str | int:
    """Return what accelerate expects: a card's number if the device has none."""
    return 0 if device == "cuda" else device


def _four_bit(plan: TransformersPlan) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, plan.dtype),
    )


def _check_room(folder: Path, plan: TransformersPlan, options: LoadOptions) -> None:
    """Raise before loading if the weights alone exceed the free RAM, as the system would kill the worker."""
    if plan.device != "cpu":
        return
    needed = need(read_folder(folder), Plan("cpu", plan.dtype, plan.bits), 0).weights
    free = memory_now().ram_free
    if needed > free:
        raise ModelTooBig(
            f"{options.model} needs {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free. {SMALLER}"
        )


def free_memory() -> None:
    """Release what a failed attempt took before the next one needs it."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        try:
            torch.cuda.empty_cache()
        except RuntimeError as error:  # after a failed capture or kernel; what is being handled matters more
            logger.warning("The card's memory cannot be released before the model is unloaded: %s", first_line(error))
