"""Who says how a GGUF file is loaded: its window and its layers by what is free."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.helpers.made_models import LLAMA, write_gguf
from tests.helpers.scenes import Producer, Scene, says
from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.engines import gguf
from zwaif_fallback.engines.gguf_plan import Card, make_plan
from zwaif_fallback.errors import ModelTooBig
from zwaif_fallback.models.memory import GGUF_ON_CARD, GGUF_PROGRAM, GGUF_WORKING, LEFT_ON_CARD

PLENTY = 10**12
RESERVE = GGUF_ON_CARD + GGUF_WORKING + LEFT_ON_CARD


def planned(card_free: int = -1, ram_free: int = PLENTY, device: str = "auto") -> Producer:
    """The notes of a plan for a model of ten layers; no card where ``card_free`` is negative."""

    def produce(scene: Scene) -> object:
        file = write_gguf(scene.folder / "model.gguf", {**LLAMA, "llama.block_count": 10})
        cards = [Card("GeForce", card_free)] if card_free >= 0 else []
        return " ".join(make_plan(LoadOptions(str(file), device=device), cards, ram_free).notes)

    return produce


says("API_FALLBACK_DEVICE is …, but the installed xllamacpp computes on the processor only")(planned(device="cuda"))
says("The model runs on the processor: … has … GB free for it.")(planned(card_free=RESERVE))


@says("… of … layers run on …: more do not fit into its free memory.")
def _(scene: Scene) -> object:
    whole = make_plan(
        LoadOptions(str(write_gguf(scene.folder / "a.gguf", {**LLAMA, "llama.block_count": 10}))), [], PLENTY
    )
    return planned(card_free=RESERVE + whole.memory_bytes // 2)(scene)


@says("The context window is … tokens instead of …: more does not fit into the free memory.")
def _(scene: Scene) -> object:
    plan = make_plan(LoadOptions(str(write_gguf(scene.folder / "a.gguf"))), [], PLENTY)
    cache = plan.memory_bytes - plan.facts.weights
    return planned(ram_free=GGUF_PROGRAM + plan.facts.weights + cache // 2)(scene)


@says("The graphics card could not load the model (…); it runs on the processor.")
def _(scene: Scene) -> object:
    def server(plan: Any, options: LoadOptions) -> object:
        if plan.gpu_layers:
            raise ModelTooBig("unable to allocate CUDA0 buffer")
        return SimpleNamespace()

    scene.patch.setattr(gguf, "LlamaServer", server)
    options = LoadOptions(str(write_gguf(scene.folder / "model.gguf")))
    _, plan = gguf._start(make_plan(options, [Card("GeForce", PLENTY)], PLENTY), options, scene.say)
    assert not plan.gpu_layers
    return plan.notes[-1]
