"""Who says the texts about starting, speaking, replies and plugins."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

from tests.faults.conftest import QuickClock, ScriptedPlugin
from tests.helpers.made_models import put_in_ollama
from tests.helpers.scenes import CHAT, REFUSED, WORKER, Producer, Scene, says
from zwaif_fallback import plugin
from zwaif_fallback.answering.chain import Chain
from zwaif_fallback.answering.second_server import SecondServerClient
from zwaif_fallback.answering.service import Collaborators, FallbackService
from zwaif_fallback.choosing import memory_fit
from zwaif_fallback.choosing.configured_model import ConfiguredModel
from zwaif_fallback.choosing.no_model_chosen import EXAMPLE_VALUE
from zwaif_fallback.choosing.suggestions import suggest_found_model
from zwaif_fallback.engine_types import Generation, LoadOptions
from zwaif_fallback.engines import gguf_server
from zwaif_fallback.engines.hostile_files import check_files
from zwaif_fallback.local import preload_policy
from zwaif_fallback.local.model import LocalModel
from zwaif_fallback.local.single_flight import SingleFlight
from zwaif_fallback.prompt import formats
from zwaif_fallback.prompt.template_client import TemplateClient
from zwaif_fallback.standin import copy_tree
from zwaif_fallback.workers import protocol
from zwaif_hooks import bridge, startup
from zwaif_hooks.failover import start_check
from zwaif_hooks.failover.call import Call
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.failover.takeover import MEANWHILE
from zwaif_hooks.failover.turn import Turn
from zwaif_hooks.messages import AnswerRecord, ModelInfo
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.plugins.discovery import FOLDER_VARIABLE
from zwaif_hooks.runtime import Runtime
from zwaif_hooks.stream import CancelScope, Chunk

# --- before the first reply -------------------------------------------------------------------------------------------


@says("Fallback not ready: … is not on this computer yet")
def _(scene: Scene) -> object:
    store = scene.store(API_FALLBACK_MODEL="owner/model")
    local: Any = SimpleNamespace(loaded=None)
    return FallbackService(Collaborators(store, local, lambda *_: None, scene.say)).prepare()


def found_instead(scene: Scene, **settings: str) -> object:
    put_in_ollama(scene.folder / "store", "registry.ollama.ai/library/llama3.2/3b")
    scene.patch.setenv("OLLAMA_MODELS", str(scene.folder / "store"))
    scene.patch.setattr(memory_fit, "abilities", memory_fit.Abilities)
    store = scene.store(**settings)
    return ConfiguredModel(store.get, lambda: scene.folder, say=scene.say, named=lambda: False).current()


@says("API_FALLBACK_MODEL is not set and … is not on this computer, so … answers instead.")
def _(scene: Scene) -> object:
    return found_instead(scene)


@says(
    "API_FALLBACK_MODEL is …, as in an example file of Z-Waif's, and that is not on this computer, so … answers "
    "instead."
)
def _(scene: Scene) -> object:
    return found_instead(scene, API_FALLBACK_MODEL=EXAMPLE_VALUE)


@says("Already on this computer: …. It needs one more package: pip install …")
def _(scene: Scene) -> object:
    put_in_ollama(scene.folder / "store", "registry.ollama.ai/library/llama3.2/3b")
    scene.patch.setenv("OLLAMA_MODELS", str(scene.folder / "store"))
    scene.patch.setattr(memory_fit, "abilities", lambda: memory_fit.Abilities(gguf=False))
    return suggest_found_model(scene.folder)


@says("Already on this computer: …. To use it: zwaif-fallback settings set API_FALLBACK_MODEL …")
def _(scene: Scene) -> object:
    put_in_ollama(scene.folder / "store", "registry.ollama.ai/library/llama3.2/3b")
    scene.patch.setenv("OLLAMA_MODELS", str(scene.folder / "store"))
    return suggest_found_model(scene.folder)


@says("Fallback is switched off (API_FALLBACK_ENABLED = OFF): Z-Waif runs as if it were not installed")
def _(scene: Scene) -> object:
    tree = copy_tree(scene.folder / "z-waif", {"API_FALLBACK_ENABLED": "OFF"})
    return bridge.Bridge(tree)._start()


@says("Plugins: …")
def _(scene: Scene) -> object:
    (scene.folder / "diary.py").write_text(
        "import zwaif_hooks as zw\n\n@zw.hookimpl\ndef turn_finished(record): pass\n", encoding="utf-8"
    )
    scene.patch.setenv("ZWAIF_PLUGINS_DIR", str(scene.folder))
    opened = bridge.Bridge(copy_tree(scene.folder / "z-waif", {}))
    opened.plugins.discover()
    return opened._start()


@says("This Z-Waif differs from the releases that are known, so these features are off: …")
def _(scene: Scene) -> object:
    tree = copy_tree(scene.folder / "z-waif", {"API_FALLBACK_ENABLED": "OFF"})
    (tree / "utils" / "zw_logging.py").unlink()
    return bridge.Bridge(tree)._start()


@says("… is not there yet: replies come from the fallback until it is")
def _(scene: Scene) -> object:
    library = SimpleNamespace(Client=SimpleNamespace(find_default_local_api_host=lambda: None))
    scene.patch.setitem(sys.modules, "lmstudio", library)
    return start_check.find_lmstudio()


@says("zwaif-fallback … Z-Waif continues without that part. Cause: …")
def _(scene: Scene) -> object:
    scene.patch.setattr(startup, "is_half_imported", lambda module: False)

    def broken(module: object) -> None:
        raise ImportError("No module named 'pluggy'")

    return startup.run_quietly(broken, sys)


# --- while it speaks --------------------------------------------------------------------------------------------------


@says("The local model's process ended: …")
def _(scene: Scene) -> object:
    return speak("crash")


@says(
    "The local model's process could not be started (…). Close other programs, or install Z-Waif's environment again."
)
def _(scene: Scene) -> object:
    return LocalModel(command=("no such python",)).load(LoadOptions("a"))


@says("… and was ended; it starts again with the next reply.")
def _(scene: Scene) -> object:
    return speak("hang", hang_timeout=0.3)


@says("… and was ended. It is tried again when its files change, or when you load it.")
def _(scene: Scene) -> object:
    local = LocalModel(command=WORKER, hang_timeout=0.3)
    try:
        return local.load(LoadOptions("never"))
    finally:
        local.close()


@says("… is not loaded: its … has impossible values (…). Download it again, or choose another.")
def _(scene: Scene) -> object:
    (scene.folder / "config.json").write_text('{"configuration_files": ["config.config.x"]}', encoding="utf-8")
    return check_files(scene.folder)


def speak(prompt: str, **options: Any) -> object:
    local = LocalModel(command=WORKER, **options)
    try:
        local.load(LoadOptions("/any"))
        return "".join(local.generate(Generation(prompt)))
    finally:
        local.close()


@says("No local model is loaded. Press Load Model in Z-Waif's Settings tab.")
def _(scene: Scene) -> object:
    return next(LocalModel(command=WORKER).generate(Generation("Hello")))


@says("The local model was unloaded in the meantime.")
def _(scene: Scene) -> object:
    return LocalModel(command=WORKER)._description()


@says("The local model was closed.")
def _(scene: Scene) -> object:
    local = LocalModel(command=WORKER)
    local.close()
    return local.load(LoadOptions("/any"))


def engine() -> Any:
    from zwaif_fallback.engines.transformers import TransformersEngine

    return TransformersEngine()


says("No model is loaded.")(lambda scene: engine().count_tokens(["Hello"]))
says("The prompt is empty: there is nothing to go on from.")(lambda scene: engine()._room([], Generation("")))


@says("The prompt has … tokens and the model's window is …: shorten the prompt.")
def _(scene: Scene) -> object:
    full = engine()
    full._window = 3
    return full._room([1, 2, 3], Generation("a b c"))


def fails_while_speaking(error: Exception) -> Producer:
    def produce(scene: Scene) -> object:
        from zwaif_fallback.engines.transformers import _engine_error

        return _engine_error(error)

    return produce


says("The local model ran out of memory while writing.")(fails_while_speaking(RuntimeError("CUDA out of memory")))


@says("The local model failed in an unexpected way. Install Microsoft's Visual C++ Redistributable (2015-2022, x64)")
def _(scene: Scene) -> object:
    return protocol.unpack_error(protocol.pack_error(ImportError("DLL load failed while importing _C")))


@says("The local model failed in an unexpected way. If it happens again, choose another model.")
def _(scene: Scene) -> object:
    return protocol.unpack_error(protocol.pack_error(ValueError("shapes do not fit")))


says("The local model failed while writing (…).")(fails_while_speaking(RuntimeError("shapes do not fit")))


def llama_answers(status: int | None) -> Producer:
    """llama.cpp's server inside the worker, out of order."""

    def produce(scene: Scene) -> object:
        door = gguf_server.PrivateEndpoint()
        connection = MagicMock()
        connection.getresponse.return_value.status = status
        connection.getresponse.return_value.read.return_value = b'{"error": {"message": "busy"}}'
        if status is None:
            connection.request.side_effect = ConnectionRefusedError("refused")
        try:
            return door.ask(connection, "/tokenize", {})
        finally:
            door.close()

    return produce


says("llama.cpp's tokenizer does not respond (…).")(llama_answers(None))
says("llama.cpp's tokenizer answers … (…).")(llama_answers(503))


@says("The chat template of … does not accept this conversation: …")
def _(scene: Scene) -> object:
    strict = ModelInfo("owner/model", chat_template="{{ raise_exception('Roles must alternate') }}")
    return formats.render(CHAT.messages, strict, "")


@says("the template process does not start (…)")
def _(scene: Scene) -> object:
    return TemplateClient(["/no/such/program"]).render("", {})


# --- replies ----------------------------------------------------------------------------------------------------------


@says("… replies come from the fallback until it is back. …")
def _(scene: Scene) -> object:
    scene.patch.setattr(plugin, "service", lambda: SimpleNamespace(preload=lambda: None))
    return plugin.primary_failed("127.0.0.1:5000", REFUSED)


@says("No reply was ready after … s, so only a short line was said. The next message should get one")
def _(scene: Scene) -> object:
    scene.patch.setattr(plugin, "service", lambda: SimpleNamespace(prepare_next=lambda request, reply: None))
    return plugin.fallback_answered(AnswerRecord(CHAT, REFUSED, MEANWHILE, MEANWHILE, "One moment …", 24.0, 24.0))


@says("… has been silent for … s: the fallback now starts as well")
def _(scene: Scene) -> object:
    over, clock = threading.Event(), QuickClock()

    def silent(scope: object) -> Iterator[Chunk]:
        over.wait(30)
        yield from ()

    plugins = PluginManager(lambda line, error: scene.say(line))
    plugins.register(ScriptedPlugin(), "scripted")
    book = PrimaryRegistry(lambda *_: None, clock)
    runtime = Runtime(scene.folder, scene.store(), plugins, book, scene.say, lambda line, _: scene.say(line), clock)
    try:
        turn = Turn(Call("127.0.0.1:5000", silent, silent, lambda: CHAT), runtime)
        return "".join(chunk.text for chunk in turn.start().chunks())
    finally:
        over.set()
        book.shut_down()


@says("… is slower than usual: the local model is loaded in case it fails")
def _(scene: Scene) -> object:
    folder = scene.folder / "models" / "one"
    folder.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}", encoding="utf-8")
    scene.patch.setattr(preload_policy, "placed", lambda options, here: (options, ""))
    local = LocalModel(command=["/no/such/program"])
    service = FallbackService(
        Collaborators(scene.store(API_FALLBACK_MODEL=str(folder)), local, lambda *_: None, scene.say)
    )
    service.primary_late("127.0.0.1:5000", lambda: CHAT, "")
    return service.early.wait(30)


@says("The second server … gave no reply: …")
def _(scene: Scene) -> object:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return "".join(SecondServerClient(address, "any").stream(CHAT.messages))


@says("The reply was cancelled.")
def _(scene: Scene) -> object:
    scope, loaded = CancelScope(), threading.Event()
    scope.cancel()
    try:
        return SingleFlight(loaded.wait).result(scope)
    finally:
        loaded.set()


@says("… gave an empty reply; trying the next.")
def _(scene: Scene) -> object:
    silent: Any = SimpleNamespace(speak=lambda request, begun, scope: ("owner/model", iter([" "])))
    return list(Chain(lambda request: [silent], scene.say).answer(CHAT, REFUSED).pieces)


# --- plugins ----------------------------------------------------------------------------------------------------------


@says("ZWAIF_PLUGINS_DIR: no plugin of it is loaded: …")
def _(scene: Scene) -> object:
    return PluginManager(
        lambda line, error: scene.say(line), lambda name: "gone" * (name == FOLDER_VARIABLE)
    ).discover()


@says("Plugin … is left out: …")
def _(scene: Scene) -> object:
    manager = PluginManager(lambda line, error: scene.say(line))
    return manager.register(SimpleNamespace(), "one")
