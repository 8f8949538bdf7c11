"""Models that other programs brought, on machines made up for it; and every way in which a folder can be bad."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.links import link
from tests.helpers.made_models import (
    CONFIG,
    LLAMA,
    TENSORS,
    gguf,
    put_in_hub,
    put_in_ollama,
    write_gguf,
    write_safetensors,
)
from zwaif_fallback.choosing.server_model import served_model, served_name
from zwaif_fallback.models import facts_cache, program_folders, safetensors_facts, search, walk
from zwaif_fallback.models.facts import GGUF, PART, SAFETENSORS, ModelFacts
from zwaif_fallback.models.gguf_facts import read_gguf
from zwaif_fallback.models.memory import copies_of_state, gguf_cache
from zwaif_fallback.models.program_folders import Machine, own_folders
from zwaif_fallback.models.search import Findings, FoundModel, find_models


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "Zoë's home"


def machine(home: Path, system: str = "Linux", **environ: str) -> Machine:
    return Machine(system, home, environ)


def look(home: Path, tree: Path | None = None, model_dir: str = "", **environ: str) -> Findings:
    """Everything that is found below ``home``: what this computer really has stays out of it."""
    findings = find_models(tree, model_dir, machine(home, **environ))
    findings.models = [model for model in findings.models if home.parent in model.path.parents]
    findings.skipped = [line for line in findings.skipped if str(home.parent) in line]
    return findings


def only(findings: Findings) -> FoundModel:
    (model,) = findings.models
    return model


# --- each program's own layout ----------------------------------------------------------------------------------------


def test_a_model_of_ollama_has_its_own_name_and_layers(home: Path) -> None:
    store = home / ".ollama" / "models"
    blob = put_in_ollama(store, "registry.ollama.ai/library/llama3.2/3b")
    model = only(look(home))
    assert (model.name, model.source, model.setting) == ("llama3.2:3b", "Ollama", "ollama:llama3.2:3b")
    assert model.path == blob
    facts = model.facts
    assert (facts.format, facts.quantization, facts.window, facts.has_template) == (GGUF, "Q4_K_M", 4096, True)
    assert facts.usable and facts.parameters == 256 * 13 and facts.size == blob.stat().st_size
    assert Path(model.extras["template"]).read_text(encoding="utf-8") == "{{ .Prompt }}"


@pytest.mark.parametrize(
    ("manifest", "name"),
    [
        ("registry.ollama.ai/leeplenty/lumimaid-v0.2/8b", "leeplenty/lumimaid-v0.2:8b"),
        ("hf.co/bartowski/Llama-3.2-1B-GGUF/Q4_K_M", "hf.co/bartowski/Llama-3.2-1B-GGUF:Q4_K_M"),
    ],
)
def test_names_of_other_owners(manifest: str, name: str, home: Path) -> None:
    put_in_ollama(home / ".ollama" / "models", manifest)
    assert only(look(home)).name == name


def test_two_names_for_one_blob_are_two_models(home: Path) -> None:
    for tag in ("3b", "latest"):
        put_in_ollama(home / ".ollama" / "models", f"registry.ollama.ai/library/llama3.2/{tag}")
    assert [model.name for model in look(home).models] == ["llama3.2:3b", "llama3.2:latest"]


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ("{", "is not an Ollama manifest"),
        ("[]", "is not an Ollama manifest"),
        (json.dumps({"layers": []}), "has no model on this computer"),
        (
            json.dumps({"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "../../../secret"}]}),
            "is not an Ollama manifest",
        ),
        (" " * (2 << 20), "is not an Ollama manifest"),
    ],
)
def test_a_bad_manifest_is_one_line(manifest: str, why: str, home: Path) -> None:
    store = home / ".ollama" / "models"
    put_in_ollama(store, "registry.ollama.ai/library/good/1b")
    (store / "manifests/registry.ollama.ai/library/good/bad").write_text(manifest)
    findings = look(home)
    assert only(findings).name == "good:1b"
    (line,) = findings.skipped
    assert why in line


def test_a_repository_of_the_hub(home: Path) -> None:
    snapshot = put_in_hub(home / ".cache/huggingface/hub", "someone/tiny")
    model = only(look(home))
    assert (model.name, model.setting, model.path) == ("someone/tiny", "someone/tiny", snapshot)
    facts = model.facts
    assert (facts.format, facts.quantization, facts.window) == (SAFETENSORS, "bf16", 2048)
    assert facts.parameters == 100 * 32 + 32 * 32 and facts.has_template and facts.usable
    assert facts.shape.cached_numbers == 2 * 3 * 2 * 8 and facts.shape.quantizable == 32 * 32


def test_a_gguf_file_of_the_hub_is_named_by_repository_and_file(home: Path) -> None:
    link = put_in_hub(home / "cache", "bartowski/Tiny-GGUF", "sub/Tiny-Q4_K_M.gguf")
    model = only(look(home, HF_HUB_CACHE=str(home / "cache")))
    assert model.setting == model.name == "bartowski/Tiny-GGUF:sub/Tiny-Q4_K_M.gguf"
    assert model.path == link


def test_a_model_of_lm_studio_at_its_own_place_and_at_a_chosen_one(home: Path) -> None:
    (home / ".lmstudio").mkdir(parents=True)
    (home / ".lmstudio" / "settings.json").write_text(json.dumps({"downloadsFolder": str(home / "big disk")}))
    write_gguf(home / "big disk" / "pub" / "Tiny-GGUF" / "Tiny-Q8_0.gguf")
    write_gguf(home / "big disk" / "pub" / "Tiny-GGUF" / "mmproj.gguf", {"general.architecture": "clip"})
    write_safetensors(home / ".lmstudio/models/pub/folder")
    models = {model.setting: model for model in look(home).models}
    assert set(models) == {
        "lmstudio:pub/Tiny-GGUF/Tiny-Q8_0.gguf",
        "lmstudio:pub/Tiny-GGUF/mmproj.gguf",
        "lmstudio:pub/folder",
    }
    assert "vision part of another model" in models["lmstudio:pub/Tiny-GGUF/mmproj.gguf"].facts.problem


@pytest.mark.parametrize(
    ("system", "environ", "place", "source", "name"),
    [
        ("Linux", {}, ".local/share/nomic.ai/GPT4All", "GPT4All", "Tiny"),
        ("Darwin", {}, "Library/Application Support/nomic.ai/GPT4All", "GPT4All", "Tiny"),
        ("Windows", {}, "AppData/Local/nomic.ai/GPT4All", "GPT4All", "Tiny"),
        ("Linux", {}, ".config/Jan/data/llamacpp/models/org/tiny-1b", "Jan", "org/tiny-1b"),
        ("Darwin", {}, "Library/Application Support/Jan/data/llamacpp/models/tiny", "Jan", "tiny"),
        ("Windows", {}, "AppData/Roaming/Jan/data/models/tiny", "Jan", "tiny"),
        ("Linux", {}, "koboldcpp", "KoboldCpp", "Tiny"),
        ("Windows", {}, "Desktop/text-generation-webui-main/user_data/models", "text-generation-webui", "Tiny"),
        ("Windows", {}, "Desktop/textgen-portable-4/textgen-4/user_data/models", "text-generation-webui", "Tiny"),
        ("Linux", {}, "text-generation-webui/models/sub", "text-generation-webui", "Tiny"),
        ("Windows", {}, "Downloads", "Downloads", "Tiny"),
        ("Darwin", {}, "Downloads", "", ""),
        ("Darwin", {}, "Desktop/koboldcpp", "", ""),
        ("Darwin", {}, "koboldcpp", "KoboldCpp", "Tiny"),
        ("Linux", {}, ".cache/lm-studio/models/a/b", "LM Studio", "a/b/Tiny"),
        ("Windows", {}, ".ollama-elsewhere", "", ""),
    ],
)
def test_every_program_on_every_system(
    system: str, environ: dict[str, str], place: str, source: str, name: str, home: Path
) -> None:
    write_gguf(home / place / "Tiny.gguf")
    models = find_models(None, "", machine(home, system, **environ)).models
    mine = [(model.source, model.name) for model in models if home in model.path.parents]
    assert mine == ([(source, name)] if source else [])


def test_gpt4all_s_chosen_folder_and_variables(home: Path) -> None:
    write_gguf(home / "elsewhere" / "Tiny.gguf")
    settings = home / ".config/nomic.ai/GPT4All.ini"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"[General]\nmodelPath={home / 'elsewhere'}\n", encoding="utf-8")
    assert only(look(home)).source == "GPT4All"
    put_in_ollama(home / "mine", "registry.ollama.ai/library/x/1b")
    assert {model.source for model in look(home, OLLAMA_MODELS=str(home / "mine")).models} == {"GPT4All", "Ollama"}


def test_programs_beside_z_waif(home: Path) -> None:
    write_gguf(home / "AI stuff" / "text-generation-webui-3.4" / "user_data" / "models" / "Tiny.gguf")
    tree = home / "AI stuff" / "z-waif-1.15"
    tree.mkdir()
    assert only(look(home, tree)).source == "text-generation-webui"


def test_portable_builds_may_share_their_models(home: Path) -> None:
    (home / "AI" / "text-generation-webui-3.4").mkdir(parents=True)
    write_gguf(home / "AI" / "user_data" / "models" / "Tiny.gguf")
    assert only(look(home)).source == "text-generation-webui"


def test_model_folders_may_be_several(home: Path) -> None:
    tree = home / "z-waif"
    write_gguf(tree / "models" / "One.gguf")
    write_safetensors(home / "two" / "deep" / "Two")
    model_dir = os.pathsep.join(["models/", f' "{home / "two"}" ', ""])
    assert own_folders(model_dir, tree) == [tree / "models", home / "two"]
    models = {model.name: model for model in look(home, tree, model_dir).models}
    assert set(models) == {"One", "deep/Two"}
    assert models["One"].setting == str(tree / "models" / "One.gguf")


def test_what_is_found_twice_is_listed_once(home: Path) -> None:
    write_gguf(home / ".lmstudio/models/a/b/Tiny.gguf")
    assert only(look(home, None, str(home / ".lmstudio/models"))).source == "Model folder"


# --- what a file is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "tensors", "why"),
    [
        ({"general.architecture": "bert", "bert.context_length": 512}, TENSORS, "embedding"),
        ({**LLAMA, "llama.pooling_type": 3}, TENSORS, "embedding"),
        ({**LLAMA, "general.type": "adapter"}, TENSORS, "not a chat model"),
        ({"general.architecture": "flux"}, TENSORS, "not a language model"),
        ({}, TENSORS, "does not say what it is"),
        (LLAMA, {"v.blk.0.attn.weight": ((32,), 0)}, "only Ollama"),
        (LLAMA, {"t": ((32,), 250)}, "type 250"),
    ],
)
def test_what_cannot_chat_says_why(metadata: Any, tensors: Any, why: str, home: Path) -> None:
    write_gguf(home / "m" / "x.gguf", metadata, tensors)
    findings = look(home, None, str(home / "m"))
    assert why in only(findings).facts.problem
    assert findings.usable() == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"architectures": ["BertModel"]}, "not a chat model"),
        ({"architectures": ["LlavaForConditionalGeneration"], "vision_config": {}}, "vision model"),
        ({"architectures": ["T5ForConditionalGeneration"]}, "translates"),
        ({"model_type": "from_the_future"}, "does not support"),
        ({"model_type": "odd", "auto_map": {"AutoModel": "x.py"}}, "never run"),
        ({"quantization_config": {"quant_method": "exl2"}}, "quantized as exl2"),
        ({"quantization_config": {"quant_method": "fp8"}}, "newer NVIDIA card"),
        ({"quantization": {"bits": 4}}, "MLX"),
    ],
)
def test_what_a_folder_cannot_do(change: dict[str, Any], why: str, home: Path) -> None:
    write_safetensors(home / "m" / "x", {**CONFIG, **change})
    assert why in only(look(home, None, str(home / "m"))).facts.problem


@pytest.mark.parametrize(
    ("files", "has_protobuf", "why"),
    [
        ((), True, "has no tokenizer"),
        (("tokenizer.model",), False, "protobuf"),
        (("tokenizer.model",), True, ""),
        (("vocab.json", "merges.txt"), False, ""),
    ],
)
def test_a_tokenizer_that_cannot_be_made(
    files: tuple[str, ...], has_protobuf: bool, why: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safetensors_facts, "_has_protobuf", lambda: has_protobuf)
    folder = write_safetensors(home / "m" / "x")
    (folder / "tokenizer.json").unlink()
    for name in files:
        (folder / name).write_bytes(b"")
    problem = only(look(home, None, str(home / "m"))).facts.problem
    assert why in problem
    assert bool(problem) == bool(why)


def test_an_embedding_folder_and_pickles_and_adapters(home: Path) -> None:
    (write_safetensors(home / "m" / "sentence") / "modules.json").write_text("[]")
    pickled = write_safetensors(home / "m" / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    (home / "m" / "lora").mkdir()
    (home / "m" / "lora" / "adapter_config.json").write_text("{}")
    problems = {model.name: model.facts.problem for model in look(home, None, str(home / "m")).models}
    assert "embedding" in problems["sentence"]
    assert "pickled weights (pytorch_model.bin)" in problems["pickled"]
    assert "adapter" in problems["lora"]


def test_a_split_model_is_one(home: Path) -> None:
    for number in (1, 2, 3):
        write_gguf(home / "m" / f"Big-Q4_0-0000{number}-of-00003.gguf")
    model = only(look(home, None, str(home / "m")))
    assert model.name == "Big-Q4_0" and model.path.name == "Big-Q4_0-00001-of-00003.gguf"
    assert model.facts.parameters == 3 * 256 * 13 and model.facts.usable
    (home / "m" / "Big-Q4_0-00002-of-00003.gguf").unlink()
    assert "1 of its 3 files are missing" in only(look(home, None, str(home / "m"))).facts.problem


def test_broken_downloads_say_so(home: Path) -> None:
    write_gguf(home / "m" / "cut.gguf", cut=200)
    shards = write_safetensors(home / "m" / "shards")
    (shards / "model.safetensors").rename(shards / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (shards / "model.safetensors.index.json").write_text(json.dumps(index))
    short = write_safetensors(home / "m" / "short") / "model.safetensors"
    os.truncate(short, short.stat().st_size - 1)
    problems = {model.name: model.facts.problem for model in look(home, None, str(home / "m")).models}
    assert "is not complete: 0.00 GB of" in problems["cut"]
    assert "model-00002-of-00002.safetensors is missing" in problems["shards"]
    assert "is not complete" in problems["short"]


def test_per_layer_heads_are_added_up(home: Path) -> None:
    write_gguf(home / "m" / "x.gguf", {**LLAMA, "llama.attention.head_count_kv": [2, 0, 4]})
    assert only(look(home, None, str(home / "m"))).facts.shape.cached_numbers == 6 * (8 + 8)


BARE = {key: value for key, value in LLAMA.items() if not key.startswith(("llama.", "general.architecture"))}
HEADS = {"attention.head_count": 8, "attention.key_length": 16, "attention.value_length": 16}


@pytest.mark.parametrize(
    ("architecture", "told", "numbers", "windowed", "state", "forward_only"),
    [
        ("qwen3", {"block_count": 4, "attention.head_count_kv": 2}, 4 * 2 * 32, 0, 0, False),
        (  # Three layers in four keep a state; the last one only guesses at further tokens, and is not loaded.
            "qwen35",
            {
                "block_count": 9,
                "attention.head_count_kv": 2,
                "full_attention_interval": 4,
                "nextn_predict_layers": 1,
                "ssm.state_size": 128,
                "ssm.inner_size": 256,
            },
            2 * 2 * 32,
            0,
            6 * 128 * 256 * 4,
            True,
        ),
        (
            "lfm2",
            {"block_count": 4, "attention.head_count_kv": [0, 2, 0, 2], "shortconv.l_cache": 3},
            2 * 2 * 32,
            0,
            0,
            True,
        ),
        (
            "gemma3",
            {"block_count": 12, "attention.head_count_kv": 1, "attention.sliding_window": 512},
            2 * 32,
            10 * 32,
            0,
            False,
        ),
        (  # The last two layers take the caches of others.
            "gemma4",
            {
                "block_count": 6,
                "attention.head_count_kv": 1,
                "attention.sliding_window": 512,
                "attention.sliding_window_pattern": [True, True, False, True, True, False],
                "attention.key_length_swa": 4,
                "attention.value_length_swa": 4,
                "attention.shared_kv_layers": 2,
            },
            32,
            3 * 8,
            0,
            False,
        ),
        ("mistral3", {"block_count": 4, "attention.sliding_window": 512}, 4 * 8 * 32, 0, 0, False),
    ],
)
def test_what_a_model_keeps_of_a_prompt(
    architecture: str, told: dict[str, Any], numbers: int, windowed: int, state: int, forward_only: bool, home: Path
) -> None:
    own = {f"{architecture}.{key}": value for key, value in {**HEADS, **told, "context_length": 8192}.items()}
    write_gguf(home / "m" / "x.gguf", {**BARE, "general.architecture": architecture, **own})
    facts = only(look(home, None, str(home / "m"))).facts
    assert facts.usable, facts.problem
    shape = facts.shape
    assert (shape.cached_numbers, shape.windowed_numbers) == (numbers, windowed)
    assert (shape.state, shape.forward_only) == (state, forward_only)
    assert shape.cached(8192) == numbers * 8192 + windowed * (512 + PART)
    assert gguf_cache(shape, 8192) == 2 * shape.cached(8192) + state * (1 + copies_of_state(shape))


# --- bad folders ------------------------------------------------------------------------------------------------------


def test_links_in_circles_to_folders_and_to_pipes(home: Path) -> None:
    folder = home / "m"
    write_gguf(folder / "a" / "Tiny.gguf")
    write_gguf(home / "secret" / "Hidden.gguf")
    link(folder / "loop", folder)
    link(folder / "outside", home / "secret")
    link(folder / "self.gguf", folder / "self.gguf")
    link(folder / "gone.gguf", home / "nowhere")
    link(folder / "plain.gguf", home / "secret" / "Hidden.gguf")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe")
        link(folder / "pipe.gguf", folder / "pipe")
    names = [model.name for model in look(home, None, str(folder)).models]
    assert names == ["plain", "a/Tiny"]


def test_junk_is_one_line_each_and_the_rest_is_found(home: Path) -> None:
    folder = home / "m"
    write_gguf(folder / "Good.gguf")
    (folder / "empty.gguf").write_bytes(b"")
    (folder / "text.gguf").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (folder / "half.gguf").write_bytes(gguf()[:100])
    with (folder / "huge.gguf").open("wb") as file:
        file.truncate(1 << 40)
    damaged = write_safetensors(folder / "damaged")
    (damaged / "config.json").write_text("{")
    (write_safetensors(folder / "deep") / "config.json").write_text("[" * 100_000)
    findings = look(home, None, str(folder))
    assert [model.name for model in findings.models] == ["Good"]
    assert sorted(Path(line.split(": ")[0]).name for line in findings.skipped) == sorted(
        ["empty.gguf", "text.gguf", "half.gguf", "huge.gguf", "damaged", "deep"]
    )
    assert all("\n" not in line for line in findings.skipped)


def test_permission_denied_is_a_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(home / "m" / "Good.gguf")
    locked = home / "m" / "locked"
    locked.mkdir()
    real = os.scandir

    def refusing(folder: Any) -> Any:
        if Path(folder) == locked:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    findings = look(home, None, str(home / "m"))
    assert [model.name for model in findings.models] == ["Good"]
    assert findings.skipped == [f"{locked}: permission denied"]


@pytest.mark.skipif(os.name != "posix", reason="only here may names be bytes")
def test_names_that_no_setting_can_hold(home: Path) -> None:
    write_gguf(home / "m" / "Good.gguf")
    shutil.copy(home / "m" / "Good.gguf", os.fsdecode(os.fsencode(home / "m") + b"/bad\xff.gguf"))
    shutil.copy(home / "m" / "Good.gguf", home / "m" / "two\nlines.gguf")
    findings = look(home, None, str(home / "m"))
    assert [model.name for model in findings.models] == ["Good"]
    assert len([line for line in findings.skipped if "rename it" in line and line.isprintable()]) == 2


def test_a_whole_disk_named_as_a_model_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "MOST_ENTRIES", 50)
    for number in range(60):
        (home / "m" / f"{number:02}").mkdir(parents=True)
    write_gguf(home / "m" / "59" / "Deep.gguf")
    findings = look(home, None, str(home / "m"))
    assert findings.models == [] and "the rest was not searched" in findings.skipped[0]


# --- quick, and read-only ---------------------------------------------------------------------------------------------


def test_each_file_is_read_once_for_as_long_as_it_stays_as_it_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []

    def counted(path: Path) -> ModelFacts:
        reads.append(path)
        return read_gguf(path)

    monkeypatch.setattr(facts_cache, "read_gguf", counted)
    for number in range(5):
        write_gguf(home / "m" / f"{number}.gguf")
    (home / "m" / "damaged.gguf").write_bytes(b"GGUF" + bytes(50))
    for _ in range(3):
        assert len(find_models(None, str(home / "m"), machine(home)).skipped) == 1
    assert len(reads) == 6
    write_gguf(home / "m" / "0.gguf", {**LLAMA, "general.name": "Another"})
    find_models(None, str(home / "m"), machine(home))
    assert len(reads) == 7


def test_nothing_is_changed(home: Path) -> None:
    put_in_ollama(home / ".ollama/models", "registry.ollama.ai/library/llama3.2/3b")
    put_in_hub(home / ".cache/huggingface/hub", "someone/tiny")

    def state() -> dict[str, tuple[int, int]]:
        return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in home.rglob("*")}

    before = state()
    assert len(look(home).models) == 2
    assert state() == before


# --- the model that the server served ---------------------------------------------------------------------------------


def test_the_very_model_of_a_dead_ollama(home: Path) -> None:
    put_in_ollama(home / ".ollama/models", "registry.ollama.ai/leeplenty/lumimaid-v0.2/8b")
    put_in_ollama(home / ".ollama/models", "registry.ollama.ai/library/llama3.2/latest", digest="c" * 64)
    models = look(home).models
    values = {"API_TYPE": "Ollama", "ZW_OLLAMA_MODEL": '"leeplenty/lumimaid-v0.2:8b"'}
    assert served_name(values) == "ollama:leeplenty/lumimaid-v0.2:8b"
    served = served_model(values, models)
    assert served is not None and served.setting == "ollama:leeplenty/lumimaid-v0.2:8b"
    served = served_model({"API_TYPE": "Ollama", "ZW_OLLAMA_MODEL": "llama3.2"}, models)
    assert served is not None and served.name == "llama3.2:latest"
    assert served_model({"API_TYPE": "Ollama", "ZW_OLLAMA_MODEL": "gone:1b"}, models) is None
    assert served_model({"API_TYPE": "Oobabooga", "ZW_OLLAMA_MODEL": "llama3.2"}, models) is None
    assert served_model({}, models) is None


@pytest.mark.parametrize(
    "wanted",
    ["gemma-3-12b-it-heretic", "pub/Gemma-3-12b-it-heretic", "gemma-3-12b-it-heretic@q4_k_m", "Gemma-3-12b-IT-heretic"],
)
def test_the_very_model_of_a_dead_lm_studio(wanted: str, home: Path) -> None:
    write_gguf(home / ".lmstudio/models/pub/gemma-3-12b-it-heretic-GGUF/gemma-3-12b-it-heretic-Q4_K_M.gguf")
    write_gguf(
        home / ".lmstudio/models/pub/gemma-3-12b-it-heretic-GGUF/mmproj-model-f16.gguf",
        {"general.architecture": "clip"},
    )
    models = look(home).models
    served = served_model({"API_TYPE": "LMStudio", "ZW_LMSTUDIO_MODEL": wanted}, models)
    assert served is not None and served.path.name.endswith("Q4_K_M.gguf")
    assert served_model({"API_TYPE": "LMStudio", "ZW_LMSTUDIO_MODEL": f"{wanted}-else"}, models) is None


@pytest.mark.parametrize("system", ["Windows", "Linux"])
def test_models_lie_in_folders_that_were_moved(home: Path, system: str) -> None:
    """Documents in OneDrive, Downloads on another disk."""
    moved = {"Documents": home / "OneDrive" / "Dokumente", "Downloads": home.parent / "D" / "Heruntergeladen"}
    there = write_gguf(moved["Downloads"] / "a-Q4_0.gguf")
    write_gguf(home / "Downloads" / "b-Q4_0.gguf")
    write_gguf(moved["Documents"] / "koboldcpp" / "models" / "c-Q4_0.gguf")
    models = find_models(None, "", Machine(system, home, {}, moved)).models
    names = sorted(model.path.name for model in models if home.parent in model.path.parents)
    assert names == ["a-Q4_0.gguf", "b-Q4_0.gguf", "c-Q4_0.gguf"]
    assert there.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the file of XDG's folders")
def test_the_system_is_asked_for_moved_folders(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".config").mkdir(parents=True)
    (home / ".config" / "user-dirs.dirs").write_text('XDG_DOWNLOAD_DIR="$HOME/Téléchargements"\n', encoding="utf-8")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_DOWNLOAD_DIR", raising=False)
    here = program_folders.this_machine()
    assert here.folders("Downloads") == [home / "Téléchargements", home / "Downloads"]
    assert here.folders("Desktop") == [home / "Desktop"]


def test_a_machine_is_this_one_unless_told_otherwise() -> None:
    here = program_folders.this_machine()
    assert here.home == Path.home() and here.environ is os.environ
    assert here.expanded("~/x") == Path.home() / "x"
    assert program_folders.hub_cache(Machine("Linux", Path("/h"), {"HF_HOME": "~/hf"})) == Path("/h/hf/hub")
    assert search.find_models.__doc__
