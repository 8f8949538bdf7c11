"""Who says how a GGUF file is loaded: its window and its layers by what is free."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

from tests.helpers.made_models import LLAMA, write_gguf
from tests.helpers.scenes import Producer, Scene, says
from zwaif_fallback import llama_servers
from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.engines import gguf, gguf_process
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


@says("API_FALLBACK_LLAMA_SERVER: … is not used: …")
def _(scene: Scene) -> object:
    llama_servers.find(str(scene.folder / "gone"), scene.say)
    return scene.said


def started(code: str) -> Producer:
    """A llama-server program that runs this Python code; there is none if it is empty."""

    def produce(scene: Scene) -> object:
        file = write_gguf(scene.folder / "model.gguf")
        program = llama_servers.LlamaProgram(scene.folder / "gone", "Jan", "1", frozenset())
        if code:
            real = gguf_process._popen
            scene.patch.setattr(
                gguf_process, "_popen", lambda command, *rest: real([sys.executable, "-c", code, *command], *rest)
            )
        scene.patch.setattr(gguf_process, "_START_SECONDS", 0.0 if "sleep" in code else 60.0)
        return gguf_process.LlamaProcess(program, make_plan(LoadOptions(str(file)), [], PLENTY), LoadOptions(str(file)))

    return produce


OPEN_SERVER = """
import http.server, socketserver, sys
class Open(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def address_string(self):
        return ""
at = dict(zip(sys.argv[2:], sys.argv[3:]))
if "--port" in at:
    server = socketserver.TCPServer((at["--host"], int(at["--port"])), Open)
else:
    server = socketserver.UnixStreamServer(at["--host"], Open)
server.serve_forever()
"""
says("… cannot be started (…).")(started(""))
says("… was not ready after … seconds.")(started("import time; time.sleep(60)"))
says("… answers without a key.")(started(OPEN_SERVER))
