"""docs/troubleshooting.md by its texts: every error of ours is in it, and every text in it is really said.

A new error text needs a line in the manual; a new line in the manual needs somebody here who produces it.
"""

from __future__ import annotations

import json
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from tests.faults.conftest import QuickClock, ScriptedPlugin
from tests.unit.error_texts import ROOT, error_texts, fits, manual_texts
from zwaif_fallback import (
    bench,
    catalogue,
    cli,
    download,
    model_files,
    plugin,
    prompts,
    settings,
    transfer,
    ui,
)
from zwaif_fallback.chain import Chain
from zwaif_fallback.cli_tree import needed_folder, zwaif_folder
from zwaif_fallback.demo import demo, real_tree
from zwaif_fallback.engines import explain, gguf_plan, gguf_server, weights
from zwaif_fallback.engines import model_files as engine_files
from zwaif_fallback.engines.base import Generation, LoadOptions
from zwaif_fallback.engines.remote import RemoteChat
from zwaif_fallback.errors import FallbackError
from zwaif_fallback.hardware import Estimate, Memory
from zwaif_fallback.service import FallbackService
from zwaif_fallback.standin import copy_tree
from zwaif_fallback.supervisor import LocalModel
from zwaif_hooks import bridge, startup
from zwaif_hooks.host import envfile, health, log
from zwaif_hooks.host.settings import SettingProblem, SettingsStore
from zwaif_hooks.messages import ChatRequest, FailureKind, Message, ModelInfo, PrimaryFailure
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.primary import PrimaryBook
from zwaif_hooks.pump import Chunk
from zwaif_hooks.runtime import Runtime
from zwaif_hooks.takeover import Call, Turn

PAGE = ROOT / "docs" / "troubleshooting.md"
WORKER = [sys.executable, str(Path(__file__).with_name("scripted_worker.py"))]
CHAT = ChatRequest("oobabooga", (Message("user", "Hi"),))
REFUSED = PrimaryFailure(FailureKind.REFUSED, "nothing listens there")


@dataclass
class Scene:
    """Where something goes wrong."""

    folder: Path
    patch: pytest.MonkeyPatch
    said: list[str] = field(default_factory=list)
    """What the user was told."""

    def say(self, line: str) -> None:
        self.said.append(line)

    def store(self, **environ: str) -> SettingsStore:
        return SettingsStore(settings.SETTINGS, None, dict(environ), say=self.say)

    def env_file(self, content: bytes = b"A = 1\n") -> Path:
        path = self.folder / ".env"
        path.write_bytes(content)
        return path

    def model(self, *leave_out: str) -> Path:
        """A copy of the embedded model that lacks some files."""
        copy = self.folder / "model"
        shutil.copytree(demo.MODEL, copy, ignore=shutil.ignore_patterns(*leave_out))
        return copy


Producer = Callable[[Scene], object]
PRODUCERS: dict[str, Producer] = {}


def says(*texts: str) -> Callable[[Producer], Producer]:
    """What is produced by raising it, returning it, or telling the scene."""

    def register(producer: Producer) -> Producer:
        for text in texts:
            assert text not in PRODUCERS
            PRODUCERS[text] = producer
        return producer

    return register


def means(text: str, error: str, kind: type[Exception] = OSError) -> None:
    """An error of a library, as one of ours."""

    def produce(scene: Scene) -> object:
        return str(explain.explain(kind(error), LoadOptions("owner/model")))

    says(text)(produce)


# --- the tests --------------------------------------------------------------------------------------------------------


def explained() -> list[str]:
    return manual_texts(PAGE.read_text(encoding="utf-8"))


def test_every_error_of_ours_is_in_the_manual() -> None:
    missing = [text for text in sorted(error_texts()) if not any(fits(entry, text) for entry in explained())]
    assert missing == [], "each needs a heading, or an 'also' line, in docs/troubleshooting.md"


def test_the_search_for_error_texts_finds_them() -> None:
    """The test above would pass if it found nothing."""
    found = error_texts()
    assert len(found) > 70
    for part in ("is read-only", "There is no setting", "is gated", "not downloaded: offline mode", "is no model name"):
        assert any(part in text for text in found), part


def test_every_text_in_the_manual_has_somebody_who_says_it() -> None:
    assert sorted(explained()) == sorted(PRODUCERS)


@pytest.mark.parametrize("text", sorted(explained()))
def test_a_text_of_the_manual_is_really_said(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for setting in settings.SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(log, "log_path", lambda: tmp_path / "log" / "zwaif_fallback.log")
    monkeypatch.chdir(tmp_path)
    scene = Scene(tmp_path, monkeypatch)
    monkeypatch.setattr(log, "say", scene.say)
    try:
        scene.say(str(PRODUCERS[text](scene)))
    except (FallbackError, SettingProblem, envfile.EnvFileError) as error:
        scene.say(str(error))
    shown = [*scene.said, *capsys.readouterr()]
    assert any(fits(text, line) for line in shown), shown


# --- before the first reply -------------------------------------------------------------------------------------------


@says("Fallback not ready: … is not on this computer yet")
def _(scene: Scene) -> object:
    store = scene.store()
    local: Any = SimpleNamespace(loaded=None)
    return FallbackService(store, local, lambda *_: None, scene.say, plugin.format_prompt).prepare()


@says("Fallback is switched off (API_FALLBACK_ENABLED = OFF): Z-Waif runs as if it were not installed")
def _(scene: Scene) -> object:
    tree = copy_tree(scene.folder / "z-waif", {"API_FALLBACK_ENABLED": "OFF"})
    return bridge.Bridge(tree)._start()


@says("… is not there yet: replies come from the fallback until it is")
def _(scene: Scene) -> object:
    library = SimpleNamespace(Client=SimpleNamespace(find_default_local_api_host=lambda: None))
    scene.patch.setitem(sys.modules, "lmstudio", library)
    return health.find_lmstudio()


@says("zwaif-fallback … Z-Waif goes on without that part. Cause: …")
def _(scene: Scene) -> object:
    scene.patch.setattr(startup, "is_half_imported", lambda module: False)

    def broken(module: object) -> None:
        raise ImportError("No module named 'pluggy'")

    return startup.run_quietly(broken, sys)


# --- the model --------------------------------------------------------------------------------------------------------


def resolve(name: str) -> Producer:
    return lambda scene: model_files.resolve(name, scene.folder)


says("API_FALLBACK_MODEL is …, which is neither a folder nor a model name like …")(resolve("two words"))
says("API_FALLBACK_MODEL names no model (…)")(resolve("  "))
says("API_FALLBACK_MODEL is …, but there is no model at that place")(resolve("C:\\models\\old.gguf"))
says("API_FALLBACK_MODEL is …, but that model is not on this computer.")(resolve("ollama:no-such-model"))


@says("API_FALLBACK_MODEL is auto, but no model on this computer fits the memory that is free.")
def _(scene: Scene) -> object:
    scene.patch.setattr(model_files, "choose_here", lambda wishes: None)
    return model_files.resolve("auto", scene.folder)


says("… is not on this computer yet")(lambda scene: model_files.not_here(catalogue.DEFAULT))


def find(name: str) -> Producer:
    return lambda scene: engine_files.find_model(LoadOptions(name), scene.say)


says("… is no model name (…)")(find("two words"))
says("No fallback model is chosen.")(find(" "))
says("There is no folder …")(find("/no/such/folder"))
says("… is not on this machine yet.")(find("someone/absent"))


@says("There are no complete weights (*.safetensors) in …. Download the model again, with all its files.")
def _(scene: Scene) -> object:
    model = scene.model("*.safetensors")
    service = FallbackService(
        scene.store(API_FALLBACK_MODEL=str(model)),
        SimpleNamespace(loaded=None),
        lambda *_: None,
        scene.say,
        plugin.format_prompt,
    )
    return service.ready()


@says("There are no weights (*.safetensors) in …")
def _(scene: Scene) -> object:
    return engine_files.check_folder(scene.model("*.safetensors"))


@says("… has weights but no config.json. Download the model again, with all its files.")
def _(scene: Scene) -> object:
    return engine_files.check_folder(scene.model("config.json"))


@says("… is a file; the fallback needs the model's folder.")
def _(scene: Scene) -> object:
    return engine_files.check_folder(scene.model() / "config.json")


@says("… is not complete: … is missing (… in all). Download the model again.")
def _(scene: Scene) -> object:
    model = scene.model()
    (model / "model.safetensors").rename(model / "model-00001.safetensors")
    weight_map = {"weight_map": {"a": "model-00001.safetensors", "b": "model-00002.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(weight_map), encoding="utf-8")
    return engine_files.check_folder(model)


@says("… cannot be read (…). Download the model again.")
def _(scene: Scene) -> object:
    model = scene.model()
    (model / "model.safetensors").rename(model / "model-00001.safetensors")
    (model / "model.safetensors.index.json").write_text("{", encoding="utf-8")
    return engine_files.check_folder(model)


@says("… holds only pickled weights (…). They can run any code when loaded, so they are not loaded.")
def _(scene: Scene) -> object:
    model = scene.model("*.safetensors")
    (model / "pytorch_model.bin").write_bytes(b"")
    return engine_files.check_folder(model)


says("There is no file …")(lambda scene: gguf_plan.read_facts(scene.folder / "gone.gguf"))


def damaged_gguf(folder: Path, name: str = "model.gguf") -> Path:
    place = folder / name
    place.write_bytes(b"GGUF, but not really")
    return place


says("… cannot be used: …. Download the model again.")(lambda scene: gguf_plan.read_facts(damaged_gguf(scene.folder)))


@says("… cannot be read (…). Check the disk and who may read the file.")
def _(scene: Scene) -> object:
    def refuse(path: Path) -> object:
        raise PermissionError(13, "Permission denied")

    scene.patch.setattr(gguf_plan, "read_gguf", refuse)
    return gguf_plan.read_facts(damaged_gguf(scene.folder))


@says("… holds several models (…). Set API_FALLBACK_MODEL to one of these files.")
def _(scene: Scene) -> object:
    return [gguf_plan.gguf_in(damaged_gguf(scene.folder, name).parent) for name in ("a.gguf", "b.gguf")]


@says("GGUF models need one more package.")
def _(scene: Scene) -> object:
    scene.patch.setitem(sys.modules, "xllamacpp", None)
    return gguf_server.library()


@says("xllamacpp, which runs GGUF models, cannot be loaded (…).")
def _(scene: Scene) -> object:
    (scene.folder / "xllamacpp.py").write_text("raise ImportError('libgomp.so.1 is missing')")
    scene.patch.delitem(sys.modules, "xllamacpp", raising=False)
    scene.patch.syspath_prepend(scene.folder)
    return gguf_server.library()


def llama_says(line: str) -> Producer:
    """What llama.cpp writes when it cannot load a model."""
    return lambda scene: gguf_server._explained(SimpleNamespace(), LoadOptions("model.gguf"), line)


says("… is of a kind that the installed xllamacpp cannot run (…).")(
    llama_says("llama_model_load: error loading model: unknown model architecture: 'new'")
)
says("… cannot be loaded (…). Download the model again, or choose another.")(
    llama_says("llama_model_load: error loading model: tensor 'output' data is not within the file bounds")
)
means("The weights of … are damaged (…). Download the model again.", "SafetensorError: HeaderTooLarge")
means("A file of … is damaged (…). Download the model again.", "config.json is not a valid JSON file")
means(
    "The tokenizer of … cannot be loaded (…). Download the model again, with all its files.",
    "Can't load tokenizer for 'owner/model'",
)
means(
    "… needs code of its own to run, and code from a model is never run here",
    "Please pass the argument `trust_remote_code=True`",
    ValueError,
)
means(
    "… is of a kind this version of transformers cannot run as a chat model (…)",
    "Transformers does not recognize this architecture",
    ValueError,
)
means("… cannot be loaded (…). Check that API_FALLBACK_MODEL is set correctly", "something unheard of", KeyError)


@says("… was loaded but said nothing.")
def _(scene: Scene) -> object:
    local: Any = SimpleNamespace(generate=lambda generation, stats: iter([" "]))
    return bench._speak(local, ModelInfo("owner/model", "tinyllama"), [Message("user", "Hi")], 8)


# --- downloads --------------------------------------------------------------------------------------------------------


class Hub:
    """Says no, or has files of some sizes."""

    def __init__(self, error: Exception | None = None, **sizes: int) -> None:
        self._error = error
        self._sizes = {name.replace("_", "."): size for name, size in sizes.items()}

    def files(self, model: str) -> dict[str, int]:
        if self._error is not None:
            raise self._error
        return self._sizes

    def fetch(self, model: str) -> Path:
        raise AssertionError("not reached")


def fetch(scene: Scene, hub: Hub, free: int = 10**12) -> object:
    return download.download("owner/model", scene.say, hub, free_bytes=lambda place: free)


def http(status: int) -> Exception:
    import requests

    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(f"{status} for url", response=response)


def hub_error(name: str, **fields: Any) -> Exception:
    from huggingface_hub import errors

    kind: type[Exception] = getattr(errors, name)
    made = kind.__new__(kind)
    made.args = (name,)
    for attribute, value in fields.items():
        setattr(made, attribute, value)
    return made


def downloads(ending: str, error: Callable[[], Exception]) -> None:
    says(f"… was not downloaded: {ending}")(lambda scene: fetch(scene, Hub(error())))


def _requests_error(name: str) -> Exception:
    from requests import exceptions

    made: Exception = getattr(exceptions, name)("no route")
    return made


downloads("its owner lets in only who has agreed to the conditions.", lambda: hub_error("GatedRepoError"))
downloads(
    "Hugging Face knows no model of that name that everybody may see.", lambda: hub_error("RepositoryNotFoundError")
)
downloads("Hugging Face refused (…). Check the name.", lambda: http(400))
downloads("Hugging Face cannot be reached.", lambda: _requests_error("ConnectionError"))
downloads("offline mode is on.", lambda: hub_error("OfflineModeIsEnabled"))
downloads("no safe connection to Hugging Face (…)", lambda: _requests_error("SSLError"))
downloads("Hugging Face asks for a pause (too many requests).", lambda: http(429))
downloads("Hugging Face has trouble of its own (…)", lambda: http(503))
downloads("the disk is full.", lambda: OSError(28, "No space left on device"))
downloads("its folder cannot be written (…)", lambda: PermissionError(13, "Permission denied"))
downloads("…. Try again; ZWAIF_DEBUG=1 shows the details.", lambda: RuntimeError("unheard of"))
says("… offers no safetensors weights")(lambda scene: fetch(scene, Hub(pytorch_model_bin=9)))
says("… offers several files.")(lambda scene: fetch(scene, Hub(a_gguf=9, b_gguf=9)))
says("… has no such file.")(
    lambda scene: download.download("owner/model:other.gguf", scene.say, Hub(a_gguf=9, b_gguf=9))
)
downloads("the connection breaks off again and again.", lambda: _requests_error("ChunkedEncodingError"))


@says("… ends too soon, again and again. Try again later.")
def _(scene: Scene) -> object:
    scene.patch.setattr(transfer, "_attempt", lambda *_: None)
    remote = transfer.Remote("model.safetensors", "", 10, "")
    meter = transfer.Meter(10, lambda progress: None)
    return transfer.transfer(remote, scene.folder / "part", meter, session=None, headers={}, wait=lambda seconds: None)


@says("… arrived damaged (its checksum is wrong) and was removed.")
def _(scene: Scene) -> object:
    part = scene.folder / "part"
    part.write_bytes(b"short")
    return transfer.check(transfer.Remote("model.safetensors", "", 10, ""), part)


says("… needs … GB, and … has … GB free.")(
    lambda scene: fetch(scene, Hub(config_json=1, model_safetensors=2 * 10**9), free=10**9)
)
means(
    "… is gated: accept its licence on huggingface.co first, then run: huggingface-cli login",
    "Cannot access gated repo for url",
)
means("There is no model … on Hugging Face", "404 Client Error: Repository Not Found for url")
means("… could not be downloaded: huggingface.co cannot be reached", "Max retries exceeded with url")
means("The disk is full: … could not be stored.", "[Errno 28] No space left on device")


# --- memory and speed -------------------------------------------------------------------------------------------------

means("… does not fit the memory that is free now (…)", "CUDA out of memory. Tried to allocate 2.00 GiB", RuntimeError)
means(
    "… is published in a form that needs bitsandbytes. Run: pip install bitsandbytes",
    "No package metadata was found for bitsandbytes",
    ImportError,
)
means(
    "… needs a newer accelerate. Run: pip install",
    "Using `low_cpu_mem_usage=True` requires Accelerate",
    ImportError,
)


@says("… GB of memory, … GB are free")
def _(scene: Scene) -> object:
    scene.patch.setattr(weights, "memory_now", lambda: Memory(10**9, 10**8))
    scene.patch.setattr(weights, "estimate_memory", lambda *_, **__: Estimate(2 * 10**9, 0))
    return weights._check_room(scene.folder, weights.Plan("cpu", "float32"), LoadOptions("owner/model"))


def notes_for(device: str, quantization: str = "auto", **versions: tuple[int, ...]) -> Producer:
    """What loading says about the way it takes."""

    def produce(scene: Scene) -> object:
        real = weights.version_of
        scene.patch.setattr(weights, "version_of", lambda name: versions.get(name) or real(name))
        notes: list[str] = []
        options = LoadOptions("owner/model", device=device, quantization=quantization)
        if versions:
            weights._four_bit_allowed(device, None, options, notes)
        else:
            scene.patch.setattr("torch.cuda.is_available", lambda: False)
            weights.make_plans(options, None, notes)
        return " ".join(notes)

    return produce


says("No usable NVIDIA card was found; the model runs on the CPU.")(notes_for("cuda"))
says("4-bit loading needs an NVIDIA card; using standard loading.")(notes_for("cpu", "4bit"))
says("bitsandbytes is not installed; using standard loading. For 4-bit …")(notes_for("cuda", bitsandbytes=(0,)))
says("4-bit loading needs a newer accelerate; using standard loading. For 4-bit …")(
    notes_for("cuda", bitsandbytes=(0, 50), accelerate=(0, 20))
)


# --- while it speaks --------------------------------------------------------------------------------------------------


@says("The local model's process ended: …")
def _(scene: Scene) -> object:
    return speak("crash")


@says("… and was ended; it starts again with the next reply.")
def _(scene: Scene) -> object:
    return speak("hang", hang_timeout=0.3)


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


@says("The local model was unloaded meanwhile.")
def _(scene: Scene) -> object:
    return LocalModel(command=WORKER)._its_description()


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


says("The local model ran out of memory while it wrote.")(fails_while_speaking(RuntimeError("CUDA out of memory")))
says("The local model failed while it wrote (…).")(fails_while_speaking(RuntimeError("shapes do not fit")))


def llama_answers(status: int | None) -> Producer:
    """llama.cpp's server inside the worker, out of order."""

    def produce(scene: Scene) -> object:
        door = gguf_server.Door()
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


says("llama.cpp's tokenizer does not answer (…).")(llama_answers(None))
says("llama.cpp's tokenizer answers … (…).")(llama_answers(503))


@says("The chat template of … does not accept this conversation: …")
def _(scene: Scene) -> object:
    strict = ModelInfo("owner/model", chat_template="{{ raise_exception('Roles must alternate') }}")
    return prompts.render(CHAT.messages, strict, "")


# --- replies ----------------------------------------------------------------------------------------------------------


@says("… failed (…): replies come from the fallback until it is back")
def _(scene: Scene) -> object:
    scene.patch.setattr(plugin, "service", lambda: SimpleNamespace(preload=lambda: None))
    return plugin.primary_failed("127.0.0.1:5000", REFUSED)


@says(". Waiting will not mend that: check the address, the model's name and the key in Z-Waif's .env")
def _(scene: Scene) -> object:
    return plugin._remedy(PrimaryFailure(FailureKind.MISCONFIGURED, "HTTP 404"))


@says("…; a local answer is begun, whoever speaks first is heard")
def _(scene: Scene) -> object:
    over, clock = threading.Event(), QuickClock()

    def silent(closers: object) -> Iterator[Chunk]:
        over.wait(30)
        yield from ()

    plugins = PluginManager(lambda line, error: scene.say(line))
    plugins.register(ScriptedPlugin(), "scripted")
    book = PrimaryBook(lambda *_: None, clock)
    runtime = Runtime(scene.folder, scene.store(), plugins, book, scene.say, lambda line, _: scene.say(line), clock)
    try:
        turn = Turn(Call("127.0.0.1:5000", silent, silent, lambda: CHAT), runtime)
        return "".join(chunk.text for chunk in turn.start().chunks())
    finally:
        over.set()


@says("The fallback server … gave no reply: …")
def _(scene: Scene) -> object:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return "".join(RemoteChat(address, "any").stream(CHAT.messages))


@says("… gave an empty reply; trying the next.")
def _(scene: Scene) -> object:
    silent: Any = SimpleNamespace(speak=lambda request, begun: ("owner/model", iter([" "])))
    return list(Chain(lambda request: [silent], scene.say).answer(CHAT, REFUSED).pieces)


# --- settings and .env ------------------------------------------------------------------------------------------------

says("…, but it must be …")(lambda scene: scene.store().set("API_FALLBACK_STALL_TIMEOUT", "soon"))
says("There is no setting …")(lambda scene: scene.store().setting("API_FALLBACK_ENABLD"))
says("Fallback Host is …, but it must look like 127.0.0.1:5000 or http://127.0.0.1:5000.")(
    lambda scene: ui.host_problem("some where")
)
says("API_FALLBACK_HOST … is no address.")(lambda scene: RemoteChat("some where"))


@says("… is saved as UTF-16, which Z-Waif cannot read. Save it as UTF-8 in your editor.")
def _(scene: Scene) -> object:
    return envfile.read(scene.env_file("A = 1\n".encode("utf-16")))


@says("… is now …, but only until Z-Waif ends. …")
def _(scene: Scene) -> object:
    store = SettingsStore(settings.SETTINGS, scene.env_file(), {"API_FALLBACK_THREADS": "2"}, say=scene.say)
    return store.set("API_FALLBACK_THREADS", 3)


@says("… is read-only. Allow writing to it, or change the line in it by hand.")
def _(scene: Scene) -> object:
    path = scene.env_file()
    path.chmod(0o444)
    return envfile.write(path, "A", "2")


@says("… cannot be written (…). Check the folder's permissions and free space.")
def _(scene: Scene) -> object:
    return envfile.write(scene.folder / "gone" / ".env", "A", "2")


@says("… cannot be read (…). Check that it is a file you own.")
def _(scene: Scene) -> object:
    (scene.folder / ".env").mkdir()
    return envfile.read(scene.folder / ".env")


@says("… could not be saved: a line of … opens a quote and never closes it.")
def _(scene: Scene) -> object:
    return envfile.write(scene.env_file(b"A = 'x\n"), "B", "it's 'a' \"b\"")


@says("… was not changed: another program keeps writing it. Try again in a moment.")
def _(scene: Scene) -> object:
    scene.patch.setattr(envfile, "_replace", lambda path, data, seen: False)
    return envfile.write(scene.env_file(), "A", "2")


# --- the command line -------------------------------------------------------------------------------------------------


says("This is not a Z-Waif folder. Run the command in it, or say where it is: --zwaif FOLDER")(
    lambda scene: needed_folder(None)
)
says("… Give the folder that holds Z-Waif's main.py.")(lambda scene: zwaif_folder(str(scene.folder)))
says("… is not a Z-Waif folder: it has no …. Give the folder that holds main.py.")(
    lambda scene: real_tree.prepare(scene.folder, scene.folder / "scratch", {}, {})
)


@says("… is a Z-Waif before v1.9, which asks one fixed port only.")
def _(scene: Scene) -> object:
    tree = copy_tree(scene.folder / "old", {})
    (tree / "API" / "api_controller.py").unlink()
    return real_tree.prepare(tree, scene.folder / "scratch", {}, {})


@says("Neither the fallback host nor the local model gave a reply.")
def _(scene: Scene) -> object:
    local: Any = SimpleNamespace(loaded=None)
    service = FallbackService(scene.store(), local, lambda *_: None, scene.say, plugin.format_prompt)
    return list(service._or_problem([]))


@says("Unexpected …: …. --debug shows the details.")
def _(scene: Scene) -> object:
    def burst(*_: object) -> int:
        raise RuntimeError("a bug")

    scene.patch.setattr(demo, "run", burst)
    return cli.main(["demo"])


# --- plugins ----------------------------------------------------------------------------------------------------------


@says("Plugin … is left out: …")
def _(scene: Scene) -> object:
    manager = PluginManager(lambda line, error: scene.say(line))
    manager.register(SimpleNamespace(), "one")
    return manager.register(SimpleNamespace(), "one")
