"""Who says the texts about models and their files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.helpers.scenes import Producer, Scene, means, says
from zwaif_fallback.answering.service import Collaborators, FallbackService
from zwaif_fallback.choosing import resolve_name, suggestions
from zwaif_fallback.choosing.auto import Constraints
from zwaif_fallback.cli import measure_model
from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.engines import gguf_server, transformers_loading
from zwaif_fallback.engines.error_messages import explain
from zwaif_fallback.hardware import Memory
from zwaif_fallback.models import catalogue, model_files, short_names
from zwaif_fallback.models.facts import SAFETENSORS, ModelFacts
from zwaif_fallback.models.search import Findings, FoundModel
from zwaif_fallback.ui import model_permissions
from zwaif_fallback.ui.model_actions import ModelActions
from zwaif_fallback.ui.model_list import ModelList
from zwaif_hooks.messages import Message, ModelInfo

# --- the model --------------------------------------------------------------------------------------------------------


def resolve(name: str) -> Producer:
    return lambda scene: resolve_name.resolve(name, scene.folder)


says("There is no model called … on this computer or in the list.")(resolve("two words"))
says("No model is named")(resolve("  "))
says("There is no model at …")(resolve("C:\\models\\old.gguf"))
says("… is not on this computer. …, or choose one of those that zwaif-fallback models lists.")(
    resolve("ollama:no-such-model")
)


@says("Several models are called …")
def _(scene: Scene) -> object:
    return short_names.find_called("twin", [_twin(scene, "one"), _twin(scene, "two")])


def _twin(scene: Scene, folder: str) -> FoundModel:
    path = scene.folder / folder / "twin.gguf"
    return FoundModel("twin", folder, str(path), path, ModelFacts("GGUF"))


says("No model that can answer is on this computer yet.")(lambda scene: suggestions.nothing_here(Constraints()))


@says("No model that can answer is on this computer, and no model of the list fits its memory.")
def _(scene: Scene) -> object:
    scene.patch.setattr(suggestions, "memory_now", lambda: Memory(10**9, 10**8))
    return suggestions.nothing_here(Constraints())


@says("API_FALLBACK_MODEL is auto, but no model on this computer fits into the free memory.")
def _(scene: Scene) -> object:
    scene.patch.setattr(resolve_name, "choose_here", lambda constraints: None)
    return resolve_name.resolve("auto", scene.folder)


says("… is not on this computer yet")(lambda scene: resolve_name.not_here(catalogue.DEFAULT))


def name_on_the_page(name: str) -> Producer:
    return lambda scene: model_permissions.resolve(name, [catalogue.DEFAULT], [], scene.folder, "models/")


says(
    "There is no such model in the list. Pick one from it, or type a name from huggingface.co, as owner/name or "
    "owner/name:file.gguf."
)(name_on_the_page("/somewhere/else"))


@says("… is not on this computer. Press Load Model first.")
def _(scene: Scene) -> object:
    store = scene.store()
    service: Any = SimpleNamespace(is_automatic=lambda: False, loaded=lambda: None, taken=str)
    model_list = ModelList(store, scene.folder, lambda *_: Findings())
    changes: Any = None
    return ModelActions(service, model_list, changes, changes, lambda: None).model_to_test("microsoft/phi-2")


def find(name: str) -> Producer:
    return lambda scene: model_files.find_model(name)


says("… is not a model name (…)")(find("two words"))
says("No fallback model is chosen.")(find(" "))
says("There is no folder …")(find("/no/such/folder"))
says("… is not on this machine yet.")(find("someone/absent"))


@says("There are no complete weights (*.safetensors) in …. Download the model again, with all its files.")
def _(scene: Scene) -> object:
    model = scene.model("*.safetensors")
    store: Any = scene.store(API_FALLBACK_MODEL=str(model))
    local: Any = SimpleNamespace(loaded=None)
    service = FallbackService(Collaborators(store, local, lambda *_: None, scene.say))
    return service.loader.ready()


@says("There are no weights (*.safetensors) in …")
def _(scene: Scene) -> object:
    return model_files.check_folder(scene.model("*.safetensors"))


@says("… cannot be used: it …. Download the model again, with all its files.")
def _(scene: Scene) -> object:
    return model_files.check_folder(scene.model("tokenizer.json"))


@says("… is an adapter (LoRA), which needs its base model. Choose a whole model.")
def _(scene: Scene) -> object:
    folder = scene.model("*.safetensors")
    (folder / "adapter_config.json").write_text("{}", encoding="utf-8")
    return model_files.check_folder(folder)


@says("… has weights but no config.json. Download the model again, with all its files.")
def _(scene: Scene) -> object:
    return model_files.check_folder(scene.model("config.json"))


@says("… is a file; the fallback needs the model's folder.")
def _(scene: Scene) -> object:
    return model_files.check_folder(scene.model() / "config.json")


@says("… is not complete: … is missing (… in all). Download the model again.")
def _(scene: Scene) -> object:
    model = scene.model()
    (model / "model.safetensors").rename(model / "model-00001.safetensors")
    weight_map = {"weight_map": {"a": "model-00001.safetensors", "b": "model-00002.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(weight_map), encoding="utf-8")
    return model_files.check_folder(model)


@says("… cannot be read (…). Download the model again.")
def _(scene: Scene) -> object:
    model = scene.model()
    (model / "model.safetensors").rename(model / "model-00001.safetensors")
    (model / "model.safetensors.index.json").write_text("{", encoding="utf-8")
    return model_files.check_folder(model)


@says("… holds only pickled weights (…). They can run any code when loaded, so they are not loaded.")
def _(scene: Scene) -> object:
    model = scene.model("*.safetensors")
    (model / "pytorch_model.bin").write_bytes(b"")
    return model_files.check_folder(model)


says("There is no file …")(lambda scene: model_files.read_facts(scene.folder / "gone.gguf"))


def damaged_gguf(folder: Path, name: str = "model.gguf") -> Path:
    place = folder / name
    place.write_bytes(b"GGUF, but not really")
    return place


says("… cannot be used: …. Download the model again.")(lambda scene: model_files.read_facts(damaged_gguf(scene.folder)))


@says("… cannot be read (…). Check the disk and who may read the file.")
def _(scene: Scene) -> object:
    def refuse(path: Path) -> object:
        raise PermissionError(13, "Permission denied")

    scene.patch.setattr(model_files, "gguf_facts_of", refuse)
    return model_files.read_facts(damaged_gguf(scene.folder))


@says("… holds several models (…). Set API_FALLBACK_MODEL to one of these files.")
def _(scene: Scene) -> object:
    return [model_files.gguf_in(damaged_gguf(scene.folder, name).parent) for name in ("a.gguf", "b.gguf")]


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
    return lambda scene: gguf_server.explained(LoadOptions("model.gguf"), line)


says("… is of a kind that … cannot run (…).")(
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
    "… needs its own code to run, and code from a model is never run",
    "Please pass the argument `trust_remote_code=True`",
    ValueError,
)
means(
    "… is of a kind this version of transformers cannot run as a chat model (…)",
    "Transformers does not recognize this architecture",
    ValueError,
)
means(
    "… cannot be loaded (…). Install Microsoft's Visual C++ Redistributable (2015-2022, x64)",
    "[WinError 126] The specified module could not be found. Error loading c10.dll or one of its dependencies.",
    OSError,
)
means(
    "… cannot be loaded (…). To see what is missing, run: zwaif-fallback doctor",
    "No module named 'torch'",
    ModuleNotFoundError,
)
means("… cannot be loaded (…). Check that API_FALLBACK_MODEL is set correctly", "something unheard of", KeyError)


@says("… was loaded but wrote nothing.")
def _(scene: Scene) -> object:
    local: Any = SimpleNamespace(generate=lambda generation, stats: iter([" "]))
    return measure_model._speak(local, ModelInfo("owner/model", "tinyllama"), [Message("user", "Hi")], 8)


# --- memory and speed -------------------------------------------------------------------------------------------------

means("… does not fit into the free memory (…)", "CUDA out of memory. Tried to allocate 2.00 GiB", RuntimeError)
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
    scene.patch.setattr(transformers_loading, "memory_now", lambda: Memory(10**9, 10**8))
    scene.patch.setattr(transformers_loading, "read_folder", lambda _: ModelFacts(SAFETENSORS, parameters=5 * 10**8))
    return transformers_loading._check_room(
        scene.folder, transformers_loading.TransformersPlan("cpu", "float32"), LoadOptions("owner/model")
    )


def notes_for(device: str, quantization: str = "auto", **versions: tuple[int, ...]) -> Producer:
    """What loading says about the way it takes."""

    def produce(scene: Scene) -> object:
        real = transformers_loading.version_of
        scene.patch.setattr(transformers_loading, "version_of", lambda name: versions.get(name) or real(name))
        notes: list[str] = []
        options = LoadOptions("owner/model", device=device, quantization=quantization)
        if versions:
            transformers_loading._four_bit_allowed(device, None, options, notes)
        else:
            scene.patch.setattr("torch.cuda.is_available", lambda: False)
            transformers_loading.make_plans(options, None, notes)
        return " ".join(notes)

    return produce


says("No usable NVIDIA card was found; the model runs on the CPU.")(notes_for("cuda"))
says("4-bit loading needs an NVIDIA card; using standard loading.")(notes_for("mps", "4bit", bitsandbytes=(0, 50)))


@says("The graphics card is full; loading it as ….")
def _(scene: Scene) -> object:
    plans = [
        transformers_loading.TransformersPlan("cuda", "bfloat16", size=1),
        transformers_loading.TransformersPlan("cpu", "bfloat16"),
    ]

    def load(folder: Path, config: Any, plan: transformers_loading.TransformersPlan, options: LoadOptions) -> None:
        if plan.size:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    scene.patch.setattr(transformers_loading, "make_plans", lambda *_: plans)
    scene.patch.setattr(transformers_loading, "_load", load)
    scene.patch.setattr(transformers_loading, "create_context", lambda device: None)
    loaded = transformers_loading.load_weights(scene.folder, None, LoadOptions("owner/model"), lambda line: None)
    return loaded.notes[0]


@says("4-bit weights are not faster on this processor; using the fastest ones instead.")
def _(scene: Scene) -> object:
    scene.patch.setattr(transformers_loading, "pays", lambda bits, dtype: False)
    return notes_for("cpu", "4bit")(scene)


@says("… is published quantized in a way that does not run here (…).")
def _(scene: Scene) -> object:
    return explain(RuntimeError("No GPU found. A GPU is needed for FP8 quantization."), LoadOptions("owner/model"))


@says("… is published as GPTQ. That needs an NVIDIA card and two more packages, which may not work with Z-Waif")
def _(scene: Scene) -> object:
    return explain(ImportError("Loading a GPTQ quantized model requires optimum"), LoadOptions("owner/model"))


@says("… is published as AWQ. That needs an NVIDIA card and one more package, which may not work with Z-Waif")
def _(scene: Scene) -> object:
    return explain(ImportError("Loading an AWQ quantized model requires auto-awq library"), LoadOptions("owner/model"))


says("bitsandbytes is not installed; using standard loading. For 4-bit …")(notes_for("cuda", bitsandbytes=(0,)))
says("4-bit loading needs a newer accelerate; using standard loading. For 4-bit …")(
    notes_for("cuda", bitsandbytes=(0, 50), accelerate=(0, 20))
)
