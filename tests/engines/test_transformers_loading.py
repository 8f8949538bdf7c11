"""Every way a model can be unusable has its own remedy, and every step down is said in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engines.conftest import TEMPLATE
from zwaif_fallback.downloads.download import NEEDED_FILES
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadOptions
from zwaif_fallback.engines import transformers_loading
from zwaif_fallback.engines.error_messages import explain, is_out_of_memory
from zwaif_fallback.engines.factory import make_engine
from zwaif_fallback.engines.transformers import TransformersEngine
from zwaif_fallback.errors import FallbackError, ModelError, ModelNotFound, ModelTooBig
from zwaif_fallback.hardware import Gpu, Memory
from zwaif_fallback.models.catalogue import prompt_family
from zwaif_fallback.models.safetensors_facts import read_folder

TinyModel = Callable[..., Path]


def load(model: str | Path, **options: Any) -> Any:
    chosen = LoadOptions(str(model), **{"device": "cpu", **options})
    return make_engine(chosen).load(chosen, lambda line: None)


@pytest.fixture
def copy(tiny_model: TinyModel, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model(), tmp_path / "model"))


def edit_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


# Where the files are


@pytest.mark.parametrize("model", ["./nowhere", "C:\\models\\nowhere", "/nowhere/at/all", "~/nowhere-at-all"])
def test_missing_folder(model: str) -> None:
    with pytest.raises(ModelNotFound, match=r"There is no folder .*Check that API_FALLBACK_MODEL is set correctly"):
        load(model)


def test_folder_without_weights(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelNotFound, match="There are no weights"):
        load(copy)


def test_only_pickled_weights(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only pickled weights \(pytorch_model.bin\)"):
        load(copy)


def test_incomplete_download(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelNotFound, match=r"model-00002-of-00002.safetensors is missing"):
        load(copy)


@pytest.mark.parametrize("model", ["what is/this model/here", "two--dashes/x", "name with spaces"])
def test_nonsense_instead_of_a_model_name(model: str) -> None:
    with pytest.raises(ModelError, match=r"Check that API_FALLBACK_MODEL is set.*TinyLlama/TinyLlama-1.1B-Chat-v1.0"):
        load(model)


def test_no_model_at_all() -> None:
    with pytest.raises(ModelError, match="No fallback model is chosen"):
        load(" ")


def test_hub_model_that_is_not_here(tmp_path: Path) -> None:
    with pytest.raises(
        ModelNotFound, match=r"Load Model in Z-Waif's Settings tab, or run: zwaif-fallback download o/m"
    ):
        load("o/m", cache_dir=str(tmp_path))


@pytest.mark.slow
def test_hub_model_in_the_cache_is_found_offline(tiny_model: TinyModel, tmp_path: Path) -> None:
    repository = tmp_path / "models--o--m"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    shutil.copytree(tiny_model(), repository / "snapshots" / "abc")
    assert load("o/m", cache_dir=str(tmp_path)).info.name == "o/m"


# What is in them


@pytest.mark.slow
def test_unknown_architecture(copy: Path) -> None:
    edit_config(copy, model_type="brandnew", architectures=["BrandNewForCausalLM"])
    with pytest.raises(ModelError, match="of a kind this version of transformers cannot run"):
        load(copy)


MARK = b"\xef\xbb\xbf"
BODY = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"


def with_marks(folder: Path) -> None:
    """As an editor of Windows saves it."""
    for file in folder.glob("*.json"):
        file.write_bytes(MARK + file.read_bytes())


def with_dtype(name: str) -> Callable[[Path], None]:
    return lambda folder: edit_config(folder, torch_dtype=name)


def of_version_5(folder: Path) -> None:
    rotation = {"rope_type": "linear", "factor": 2.0, "rope_theta": 50000.0}
    config = json.loads((folder / "config.json").read_text())
    del config["torch_dtype"], config["rope_theta"]
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16", "rope_parameters": rotation}))
    edit_tokenizer(folder, tokenizer_class="TokenizersBackend", backend="tokenizers", extra_special_tokens=["<odd>"])


def edit_tokenizer(folder: Path, **changes: Any) -> None:
    file = folder / "tokenizer_config.json"
    found = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({name: value for name, value in found.items() if value is not None}))


def template_in_json(folder: Path) -> None:
    edit_tokenizer(folder, chat_template=None)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": BODY}))


def templates_in_json(folder: Path) -> None:
    edit_tokenizer(folder, chat_template=None)
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": BODY}]
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": named}))


def template_in_jinja(folder: Path) -> None:
    edit_tokenizer(folder, chat_template=None)
    (folder / "chat_template.jinja").write_bytes(MARK + BODY.encode())


def templates_without_default(folder: Path) -> None:
    edit_tokenizer(folder, chat_template=[{"name": "rag", "template": BODY}])


@pytest.mark.slow
@pytest.mark.parametrize(
    "found",
    [
        with_marks,
        with_dtype("auto"),
        with_dtype("fp16"),
        of_version_5,
        template_in_json,
        templates_in_json,
        template_in_jinja,
        templates_without_default,
    ],
    ids=lambda found: found.__qualname__.partition(".")[0],
)
def test_a_folder_as_it_is_found_is_listed_and_loads(copy: Path, found: Callable[[Path], None]) -> None:
    before = {file.name: file.read_bytes() for file in copy.iterdir()}
    found(copy)
    given = {file.name: file.read_bytes() for file in copy.iterdir()}
    assert given != before
    facts = read_folder(copy)
    assert (facts.problem, facts.has_template) == ("", True)
    engine = TransformersEngine()
    info = engine.load(LoadOptions(str(copy), device="cpu")).info
    assert info.chat_template == (BODY if "template" in found.__name__ else TEMPLATE)
    stats = GenerationStats()
    list(engine.generate(Generation(prompt="Hello", max_tokens=3), stats))
    assert stats.generated_tokens == 3, "what random weights say need not be whole characters"
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == given, "the user's files stay as they are"
    if found is of_version_5:
        config = engine._model.config
        assert (config.rope_theta, config.rope_scaling["factor"]) == (50000.0, 2.0)
        assert "<odd>" in info.control_tokens


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "fields"),
    [
        ("generation_config.json", {"do_sample": False, "temperature": 0.9, "max_length": 20, "pad_token_id": -1}),
        ("generation_config.json", {"eos_token_id": [2, 1, 99999]}),
        ("config.json", {"eos_token_id": [2, 5]}),
        ("config.json", {"eos_token_id": None}),
        ("config.json", {"torch_dtype": None, "dtype": "bfloat16"}),
        (
            "config.json",
            {"auto_map": {"AutoConfig": "configuration_mine.C", "AutoModelForCausalLM": "modeling_mine.M"}},
        ),
        ("config.json", {"rope_scaling": {"type": "yarn", "rope_type": "default", "factor": 2.0}}),
        ("config.json", {"max_position_embeddings": None}),
        ("config.json", {"tie_word_embeddings": True}),
        ("adapter_config.json", {"base_model_name_or_path": "x/y", "peft_type": "LORA"}),
        ("tokenizer_config.json", {"model_max_length": 10**30, "chat_template": None}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"419": {"content": "<|think|>", "special": True}}}),
    ],
)
def test_settings_as_they_are_found_are_no_reason_not_to_load(copy: Path, file: str, fields: dict[str, Any]) -> None:
    found = json.loads((copy / file).read_text()) if (copy / file).exists() else {}
    (copy / file).write_text(json.dumps({**found, **fields}))
    assert read_folder(copy).problem == ""
    stats, engine = GenerationStats(), TransformersEngine()
    engine.load(LoadOptions(str(copy), device="cpu"))
    list(engine.generate(Generation(prompt="Hello", max_tokens=3), stats))
    assert stats.generated_tokens


@pytest.mark.slow
def test_generation_settings_with_a_mark_count(copy: Path) -> None:
    settings = json.dumps({"do_sample": True, "temperature": 0.25, "eos_token_id": [2, 7]})
    (copy / "generation_config.json").write_bytes(MARK + settings.encode())
    engine = TransformersEngine()
    assert engine.load(LoadOptions(str(copy), device="cpu")).advice.temperature == 0.25
    assert {2, 7} <= engine._end_tokens


def test_an_adapter_needs_its_base_model(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "adapter_model.safetensors")
    (copy / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="is an adapter"):
        load(copy)


def test_a_folder_without_a_tokenizer(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    with pytest.raises(ModelNotFound, match="it has no tokenizer"):
        load(copy)


@pytest.mark.slow
def test_a_model_that_cannot_chat(copy: Path) -> None:
    edit_config(copy, model_type="clip", architectures=["CLIPModel"])
    with pytest.raises(ModelError, match="of a kind this version of transformers cannot run"):
        load(copy)


@pytest.mark.slow
def test_code_of_a_model_is_never_run(copy: Path) -> None:
    edit_config(copy, model_type="own", auto_map={"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"})
    (copy / "own.py").write_text(f"open({str(copy / 'ran')!r}, 'w')")
    with pytest.raises(ModelError, match="needs its own code to run, and code from a model is never run"):
        load(copy)
    assert not (copy / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.safetensors", b"version https://git-lfs", "weights of .* are damaged"),
        ("config.json", b"{", "config.json.*is damaged|A file of .* is damaged"),
        ("tokenizer.json", b"{}", "cannot be loaded"),
    ],
)
def test_damaged_files(copy: Path, file: str, content: bytes, message: str) -> None:
    (copy / file).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load(copy)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("published", "packages"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "optimum and gptqmodel"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}, "autoawq"),
    ],
)
def test_a_model_in_a_format_of_another_library(copy: Path, published: dict[str, Any], packages: str) -> None:
    edit_config(copy, quantization_config=published)
    with pytest.raises(ModelError, match=f"is published as .*: {packages} .*as a GGUF file or in its original form"):
        load(copy)


# Errors of the libraries, as they are raised


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), ModelTooBig, "choose a smaller model"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), ModelTooBig, "choose a smaller model"),
        (MemoryError(), ModelTooBig, "choose a smaller model"),
        (
            ImportError("`device_map` requires Accelerate: `pip install`"),
            ModelError,
            'pip install "accelerate>=0.26.0"',
        ),
        (ImportError("Using `bitsandbytes` 4-bit quantization"), ModelError, "pip install bitsandbytes"),
        (RuntimeError("A GPU is needed for FP8 quantization."), ModelError, "as a GGUF file or in its original form"),
        (OSError(28, "No space left on device"), ModelError, "The disk is full"),
        (KeyError("odd"), ModelError, "KeyError"),
        (ModuleNotFoundError("No module named 'torch'"), ModelError, "zwaif-fallback doctor"),
        (OSError("[WinError 126] x Error loading 'torch\\lib\\c10.dll'"), ModelError, "Visual C++ Redistributable"),
        (ImportError("DLL load failed while importing tokenizers: x"), ModelError, "Visual C++ Redistributable"),
        (RuntimeError("Failed to import llama:\nDLL load failed while importing x"), ModelError, "Visual C++"),
    ],
)
def test_library_errors_become_remedies(error: Exception, kind: type[FallbackError], message: str) -> None:
    explained = explain(error, LoadOptions("o/m"))
    assert type(explained) is kind
    assert message in str(explained)
    assert "\n" not in str(explained)


# Steps down


def plans(monkeypatch: pytest.MonkeyPatch, options: LoadOptions, device: str = "cuda", **versions: Any) -> Any:
    have = {"accelerate": (1, 0), "bitsandbytes": (0, 45), **versions}
    monkeypatch.setattr(transformers_loading, "pick_device", lambda wish, notes: device)
    monkeypatch.setattr(transformers_loading, "half_dtype", lambda device: "float16")
    monkeypatch.setattr(transformers_loading, "cpu_computes_bfloat16", lambda: versions.get("cpu_bf16", True))
    monkeypatch.setattr(transformers_loading, "version_of", have.__getitem__)
    monkeypatch.setattr(transformers_loading, "pays", lambda bits, dtype: False)
    notes: list[str] = []
    made = transformers_loading.make_plans(options, None, notes)
    return [str(plan) for plan in made], notes


def test_best_first_on_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    made, notes = plans(monkeypatch, LoadOptions("m"))
    assert made == ["4-bit on cuda", "float16 on cuda", "bfloat16 on cpu"]
    assert notes == []


def test_quantization_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = plans(monkeypatch, LoadOptions("m", device="cuda", quantization="none"))
    assert made == ["float16 on cuda"]


@pytest.mark.parametrize(
    ("versions", "remedy"),
    [({"bitsandbytes": (0,)}, "pip install bitsandbytes"), ({"accelerate": (0, 25)}, '"accelerate>=0.26.0"')],
)
def test_what_4_bit_lacks_is_named(monkeypatch: pytest.MonkeyPatch, versions: Any, remedy: str) -> None:
    made, notes = plans(monkeypatch, LoadOptions("m"), **versions)
    assert made[0] == "float16 on cuda"
    assert remedy in notes[0]


def test_old_cpu_computes_in_float32_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    made, notes = plans(monkeypatch, LoadOptions("m", quantization="4bit", dtype="float16"), "cpu", cpu_bf16=False)
    assert made == ["float32 on cpu"]
    assert [note.split()[0] for note in notes] == ["float16", "This", "4-bit"]


@pytest.mark.slow
def test_a_failed_attempt_is_noted_and_the_next_one_serves(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tried = transformers_loading._load, []

    def fail_first(folder: Path, config: Any, plan: transformers_loading.TransformersPlan, options: LoadOptions) -> Any:
        tried.append(plan)
        if plan.four_bit:
            raise ImportError("Using `bitsandbytes` 4-bit quantization requires the latest version")
        return real(folder, config, transformers_loading.TransformersPlan("cpu", "float32"), options)

    monkeypatch.setattr(
        transformers_loading,
        "make_plans",
        lambda *_: [
            transformers_loading.TransformersPlan("cpu", "float16", True),
            transformers_loading.TransformersPlan("cpu", "float32"),
        ],
    )
    monkeypatch.setattr(transformers_loading, "_load", fail_first)
    loaded = load(tiny_model())
    assert len(tried) == 2
    assert len(loaded.notes) == 1
    assert loaded.notes[0].startswith("4-bit on cpu did not work (Using `bitsandbytes`")
    assert loaded.quantization == ""


@pytest.mark.slow
def test_without_accelerate_it_still_loads(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers_loading, "accelerate_works", lambda: False)
    loaded = load(tiny_model())
    assert any('pip install "accelerate>=0.26.0"' in note for note in loaded.notes)


@pytest.mark.slow
def test_too_big_is_said_before_memory_runs_out(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers_loading, "memory_now", lambda: Memory(ram_total=1, ram_free=1))
    with pytest.raises(ModelTooBig, match=r"needs 0\.0 GB of memory, 0\.0 GB are free"):
        load(tiny_model())


@pytest.mark.parametrize(
    ("model", "model_type", "family"),
    [
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "llama", "tinyllama"),
        ("meta/Llama-3", "llama", ""),
        ("microsoft/phi-2", "phi", "phi"),
        ("Intel/neural-chat-7b-v3-1", "mistral", "neural-chat"),
        ("mistralai/Mistral-7B-Instruct-v0.2", "mistral", "mistral"),
    ],
)
def test_family(model: str, model_type: str, family: str) -> None:
    assert prompt_family([model], (), "", model_type) == family


def test_download_never_fetches_pickles_or_code() -> None:
    assert not any(pattern.endswith((".bin", ".pt", ".py")) for pattern in NEEDED_FILES)


# Cards


def card(name: str, free: int) -> Gpu:
    return Gpu(name, 24, free)


@pytest.mark.parametrize(
    ("torch_sees", "driver_lists", "free"),
    [
        (["big", "small"], [card("small", 1), card("big", 2)], [2, 1]),  # CUDA puts the fastest first
        (["same", "same"], [card("same", 1), card("same", 2)], [1, 2]),
        (["small"], [card("small", 1), card("big", 2)], []),  # CUDA_VISIBLE_DEVICES hides one
        (["a part of big", "small"], [card("small", 1), card("big", 2)], []),
        (["big"], [], []),
    ],
)
def test_the_free_memory_of_each_card_is_that_card_s(
    torch_sees: list[str], driver_lists: list[Gpu], free: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: len(torch_sees))
    monkeypatch.setattr("torch.cuda.get_device_name", lambda place: torch_sees[place])
    monkeypatch.setattr(transformers_loading, "gpus_now", lambda: tuple(driver_lists))
    assert transformers_loading.cards_free() == free


def test_cards_that_only_emulate_bfloat16_compute_in_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    capabilities = {"cuda": (7, 5), "cuda:1": (8, 6)}
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capabilities[device])
    assert [transformers_loading.half_dtype(device) for device in ("cuda", "cuda:1", "mps")] == [
        "float16",
        "bfloat16",
        "float16",
    ]


def test_an_allocator_that_cannot_release_memory_hides_no_other_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck() -> None:
        raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.empty_cache", stuck)
    transformers_loading.free_memory()


def test_a_card_too_full_for_its_libraries_is_out_of_memory() -> None:
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
