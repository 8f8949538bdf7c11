from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.made_models import put_in_hub, put_in_ollama, write_gguf
from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.models import catalogue
from zwaif_fallback.models.name_syntax import looks_like_path


def folder(place: Path, *files: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for name in files:
        (place / name).write_text("{}", encoding="utf-8")
    return place


def test_a_folder_as_it_stands_in_the_tree_and_in_the_model_folder(tmp_path: Path) -> None:
    tree, elsewhere = tmp_path / "Z-Waif Möwe", folder(tmp_path / "mine", "config.json")
    in_tree = folder(tree / "my models" / "tiny", "config.json")
    in_models = folder(tree / "models" / "small", "config.json")
    assert resolve_name.resolve(f' "{elsewhere}" ', tree) == str(elsewhere)
    assert resolve_name.resolve("my models/tiny", tree) == str(in_tree)
    assert resolve_name.resolve("small", tree, "models/") == str(in_models)
    assert resolve_name.resolve("owner/small", tree, "models/") == str(in_models)


def test_a_gguf_file(tmp_path: Path) -> None:
    gguf = folder(tmp_path / "models", "a.Q4_0.gguf") / "a.Q4_0.gguf"
    assert resolve_name.resolve("models/a.Q4_0.gguf", tmp_path) == str(gguf)
    assert resolve_name.is_on_this_machine(str(gguf))


def test_names(tmp_path: Path) -> None:
    assert resolve_name.resolve("someone/Some-Model.v1_2", tmp_path) == "someone/Some-Model.v1_2"
    assert resolve_name.resolve("TinyLlama 1.1B Chat", tmp_path) == catalogue.DEFAULT
    assert resolve_name.resolve("PHI-2", tmp_path) == "microsoft/phi-2"


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "  ",
        "Custom",
        "???",
        "hello world",
        "a/b c",
        "owner/--",
        "-x/y",
        "x" * 200,
        "owner/na\x00me",
        "a//b",
        "模型/一",
    ],
)
def test_nonsense_names_the_remedy(nonsense: str, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="zwaif-fallback models lists what there is") as caught:
        resolve_name.resolve(nonsense, tmp_path, "models/")
    assert "\n" not in str(caught.value)
    assert "API_FALLBACK_MODEL" not in str(caught.value), "whoever names a model elsewhere has set nothing"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of our own, with nobody's settings."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "OLLAMA_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    return tmp_path / "home"


@pytest.mark.parametrize("name", ["ollama:llama3.2:3b", "Ollama: llama3.2:3b ", "ollama:library/llama3.2:3B"])
def test_a_model_of_ollama_by_its_name(name: str, home: Path, tmp_path: Path) -> None:
    blob = put_in_ollama(home / ".ollama/models", "registry.ollama.ai/library/llama3.2/3b")
    assert resolve_name.resolve(name, tmp_path) == str(blob)
    assert resolve_name.is_on_this_machine(str(blob))
    assert resolve_name.resolve(str(blob), tmp_path) == str(blob)


def test_a_model_of_lm_studio_by_its_place_and_by_its_name(home: Path, tmp_path: Path) -> None:
    file = write_gguf(home / ".lmstudio/models/pub/Tiny-1B-GGUF/Tiny-1B-Q4_K_M.gguf")
    for name in ("pub/Tiny-1B-GGUF/Tiny-1B-Q4_K_M.gguf", "tiny-1b", "tiny-1b@q4_k_m"):
        assert resolve_name.resolve(f"lmstudio:{name}", tmp_path) == str(file)


@pytest.mark.parametrize("file", ["sub/Tiny-Q4_K_M.gguf", "*q4_k_m*", "Q4_K_M"])
def test_a_file_out_of_a_repository(file: str, home: Path, tmp_path: Path) -> None:
    link = put_in_hub(home / ".cache/huggingface/hub", "someone/Tiny-GGUF", "sub/Tiny-Q4_K_M.gguf")
    found = resolve_name.resolve(f"someone/Tiny-GGUF:{file}", tmp_path)
    assert found == str(link) and found.endswith(".gguf")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("ollama:gone:1b", "ollama pull gone:1b"),
        ("lmstudio:a/b/c.gguf", "Download it in LM Studio"),
    ],
)
def test_a_named_model_that_is_not_here_names_the_remedy(name: str, remedy: str, home: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=remedy):
        resolve_name.resolve(name, tmp_path)


def test_a_file_that_is_to_be_downloaded_keeps_its_name(home: Path, tmp_path: Path) -> None:
    (offer,) = (one for one in catalogue.OFFERS if one.title == "Llama 3.2 3B Instruct")
    assert resolve_name.resolve("llama 3.2 3b instruct", tmp_path) == offer.name
    assert not resolve_name.is_on_this_machine(offer.name)
    assert f"zwaif-fallback download {offer.short}" in str(resolve_name.not_here(offer.name))
    put_in_hub(home / ".cache/huggingface/hub", *offer.name.split(":"))
    assert resolve_name.resolve(offer.title, tmp_path).endswith("Llama-3.2-3B-Instruct-Q4_K_M.gguf")
    assert resolve_name.is_on_this_machine(offer.name)


def test_several_model_folders(tmp_path: Path) -> None:
    there = folder(tmp_path / "two" / "small", "config.json")
    assert resolve_name.resolve("small", tmp_path, os.pathsep.join(["one", str(tmp_path / "two")])) == str(there)


@pytest.mark.parametrize("name", ["???", "hello world"])
def test_what_is_no_name_at_all_is_told_so(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"There is no model called .* on this computer or in the list\."):
        resolve_name.resolve(name, tmp_path)


@pytest.mark.parametrize(
    "path", ["models/gone.gguf", "C:\\ai\\gone", "./gone", "/gone", "~/gone", "gone.GGUF", "a/b/c", "models\\gone"]
)
def test_a_place_that_is_not_there_is_told_so(path: str, tmp_path: Path) -> None:
    assert looks_like_path(path)
    with pytest.raises(ModelNotFound, match="There is no model at "):
        resolve_name.resolve(path, tmp_path, "models/")


def test_weights_must_be_complete(tmp_path: Path) -> None:
    place = folder(tmp_path / "m", "config.json")
    assert not resolve_name.is_on_this_machine(str(place))
    (place / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}), encoding="utf-8"
    )
    folder(place, "1.safetensors")
    assert not resolve_name.is_on_this_machine(str(place))
    folder(place, "2.safetensors")
    assert resolve_name.is_on_this_machine(str(place))


def test_the_hugging_face_cache(tmp_path: Path) -> None:
    repository = tmp_path / "models--someone--tiny"
    folder(repository / "refs")
    (repository / "refs" / "main").write_text("abc", encoding="utf-8")
    snapshot = folder(repository / "snapshots" / "abc", "config.json")
    assert not resolve_name.is_on_this_machine("someone/tiny", str(tmp_path))
    folder(snapshot, "model.safetensors")
    assert resolve_name.is_on_this_machine("someone/tiny", str(tmp_path))
    assert resolve_name.cached_snapshot("someone/tiny", str(tmp_path)) == snapshot
    assert not resolve_name.is_on_this_machine("someone/other", str(tmp_path))


def test_a_model_not_here_says_how_to_get_it() -> None:
    text = str(resolve_name.not_here(catalogue.DEFAULT))
    assert "about 2.2 GB" in text and "zwaif-fallback download tinyllama" in text


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path[:0] = ['.', 'hooks']; from zwaif_fallback.choosing import resolve_name;"
        f"resolve_name.is_on_this_machine('someone/tiny', {str(tmp_path)!r});"
        "assert not {'torch', 'transformers', 'gradio'} & set(sys.modules)"
    )
    root = Path(resolve_name.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=root)
