"""Checks of the libraries: each must be installed, new enough, and importable."""

from __future__ import annotations

import platform
from typing import NamedTuple

from zwaif_fallback.doctor.findings import Finding, ok, skipped
from zwaif_fallback.doctor.situation import Situation
from zwaif_fallback.install_hints import GGUF_ENGINE, GGUF_ON_CARD, Z_WAIF_AGAIN, remedy_for
from zwaif_fallback.llama_servers import OFF


class Bounds(NamedTuple):
    """The versions this package requires."""

    low: tuple[int, ...]
    below: tuple[int, ...]

    def hold(self, version: str) -> bool:
        return self.low <= numbers(version) < self.below

    def requirement(self, name: str) -> str:
        """Return the requirement as pip takes it."""
        low, below = (".".join(map(str, part)) for part in self)
        return f'"{name}>={low},<{below}"' if self.low else f'"{name}<{below}"'


BOUNDS = {
    "transformers": Bounds((4, 47), (4, 51)),
    "huggingface_hub": Bounds((), (0, 30)),
    "accelerate": Bounds((0, 26), (2,)),
    "bitsandbytes": Bounds((0, 43), (1,)),
}
"""The same as in ``setup.cfg``."""
_NOT_LOADED = "The chosen model cannot be loaded."
_SLOW = "The local model runs on the processor, many times slower than on the card."


def check_torch(here: Situation) -> Finding:
    version = here.version_of("torch")
    if version is None:
        return Finding(
            "problem",
            "PyTorch is not installed",
            "No local model can be loaded from safetensors.",
            f"{Z_WAIF_AGAIN[0].upper()}{Z_WAIF_AGAIN[1:]}.",
        )
    torch = here.imported("torch")
    if torch.error:
        return Finding(
            "problem",
            f"PyTorch {version} cannot be imported: {torch.error}",
            "No local model can be loaded from safetensors.",
            remedy_for(torch.error, f"pip uninstall -y torch. Then {Z_WAIF_AGAIN}."),
        )
    if here.cards and not torch.facts.get("cuda") and not torch.facts.get("hip"):
        return Finding(
            "warning",
            f"PyTorch {version} is built without CUDA, but there is an NVIDIA card ({here.cards[0].name})",
            _SLOW,
            f"pip uninstall -y torch. Then {Z_WAIF_AGAIN}: it installs the build with CUDA.",
        )
    if here.cards and not torch.facts.get("available"):
        return Finding(
            "warning",
            f"PyTorch {version} does not see the NVIDIA card ({here.cards[0].name})",
            _SLOW,
            "Update the NVIDIA driver and restart the computer; CUDA_VISIBLE_DEVICES must not hide the card.",
        )
    return ok(f"PyTorch {version}" + (", sees the NVIDIA card" if torch.facts.get("available") else ""))


def check_transformers(here: Situation) -> Finding:
    version, bounds = here.version_of("transformers"), BOUNDS["transformers"]
    install = f"pip install {bounds.requirement('transformers')}"
    without = "No local model can be loaded from safetensors."
    if version is None:
        return Finding("problem", "transformers is not installed", without, install)
    if error := here.imported("transformers").error:
        remedy = remedy_for(error, f"pip uninstall -y transformers. Then: {install}")
        return Finding("problem", f"transformers {version} cannot be imported: {error}", without, remedy)
    if not bounds.hold(version):
        return Finding(
            "warning",
            f"transformers {version} is outside the tested range",
            "Models may not load; a newer one also needs a newer huggingface_hub, which breaks Z-Waif's page.",
            install,
        )
    return ok(f"transformers {version}")


def check_accelerate(here: Situation) -> Finding:
    version, bounds = here.version_of("accelerate"), BOUNDS["accelerate"]
    install = f"pip install {bounds.requirement('accelerate')}"
    meaning = "Models load without 4-bit and take more memory while they do."
    if version is None:
        return Finding("warning", "accelerate is not installed", meaning, install)
    if numbers(version) < bounds.low:
        return Finding("warning", f"accelerate {version} is too old", meaning, install)
    return ok(f"accelerate {version}")


def check_bitsandbytes(here: Situation) -> Finding:
    version, bounds = here.version_of("bitsandbytes"), BOUNDS["bitsandbytes"]
    if not here.cards:
        return ok(f"bitsandbytes {version or 'is not installed'}; not needed without an NVIDIA card")
    install = f"pip install {bounds.requirement('bitsandbytes')}"
    meaning = "Models are loaded without 4-bit and take about four times the graphics memory."
    if version is None:
        return Finding("warning", "bitsandbytes is not installed", meaning, install)
    if numbers(version) < bounds.low:
        return Finding("warning", f"bitsandbytes {version} is too old", meaning, install)
    if error := here.imported("bitsandbytes").error:
        return Finding(
            "warning",
            f"bitsandbytes {version} does not work with this card: {error}",
            meaning,
            remedy_for(error, f"pip uninstall -y bitsandbytes. Then: {install}"),
        )
    return ok(f"bitsandbytes {version}, works with the card")


def check_llama(here: Situation) -> Finding:
    """Check llama.cpp, which only GGUF models need."""
    if here.gguf is None:
        return skipped("not needed: only GGUF models use it")
    version = here.version_of("xllamacpp")
    if version is None:
        return Finding("problem", "xllamacpp, which runs GGUF models, is not installed", _NOT_LOADED, GGUF_ENGINE)
    if error := here.imported("xllamacpp").error:
        return Finding(
            "problem",
            f"xllamacpp {version} cannot be imported: {error}",
            _NOT_LOADED,
            remedy_for(error, f"pip uninstall -y xllamacpp. Then: {GGUF_ENGINE}")
            + " If that is not enough, choose a model with safetensors weights.",
        )
    return ok(f"xllamacpp {version}")


def check_llama_server(here: Situation) -> Finding:
    """Look for the llama.cpp server that runs GGUF models on the graphics card."""
    if here.gguf is None:
        return skipped("not needed: only GGUF models use it")
    if platform.system() == "Darwin" or here.abilities().gguf_cuda:
        return skipped("not needed: xllamacpp itself uses the graphics card")
    wish = here.text("API_FALLBACK_LLAMA_SERVER")
    if wish == OFF or here.text("API_FALLBACK_DEVICE") == "cpu":
        return skipped("not wanted: your settings keep GGUF models on the processor")
    said: list[str] = []
    program = here.find_llama_server(wish, said.append)
    if program is not None:
        devices = ", ".join(f"{one.name} ({one.id})" for one in program.devices)
        return ok(f"{program.title} ({program.path}), on {devices}")
    slow = "GGUF models run on the processor, many times slower than on the card."
    if said:
        correct = "Correct the path, or choose auto: zwaif-fallback settings set API_FALLBACK_LLAMA_SERVER auto"
        return Finding("warning", said[0].rstrip("."), slow, correct)
    if here.cards:
        return Finding("warning", f"no llama-server for the graphics card ({here.cards[0].name})", slow, GGUF_ON_CARD)
    return skipped("no llama-server that sees a graphics card; GGUF models run on the processor")


def check_gradio(here: Situation) -> Finding:
    """Check Gradio, which Z-Waif's page needs; it is the first to break if another library is too new."""
    version, hub = here.version_of("gradio"), here.version_of("huggingface_hub")
    if version is None:
        if here.tree is None:
            return skipped("not installed, and there is no Z-Waif here that needs it")
        return Finding(
            "warning",
            "Gradio is not installed in this environment",
            "This is probably not the environment that Z-Waif runs in; the plugin must be installed in that one.",
            "Activate Z-Waif's own environment (venv), then run this again.",
        )
    if error := here.imported("gradio").error:
        mend = f"pip install {BOUNDS['huggingface_hub'].requirement('huggingface_hub')}"
        return Finding(
            "problem",
            f"Gradio {version} cannot be imported (huggingface_hub {hub}): {error}",
            "Z-Waif cannot open its page and exits at startup.",
            remedy_for(error, f"{mend}. If that is not enough, {Z_WAIF_AGAIN}."),
        )
    return ok(f"Gradio {version}")


def check_hub(here: Situation) -> Finding:
    version, bounds = here.version_of("huggingface_hub"), BOUNDS["huggingface_hub"]
    install = f"pip install {bounds.requirement('huggingface_hub')}"
    if version is None:
        return Finding("problem", "huggingface_hub is not installed", "Models cannot be found or downloaded.", install)
    if not bounds.hold(version):
        return Finding(
            "warning",
            f"huggingface_hub {version} is newer than Z-Waif's other libraries allow",
            "transformers and Z-Waif's Gradio may refuse to be imported.",
            install,
        )
    return ok(f"huggingface_hub {version}")


def numbers(version: str) -> tuple[int, ...]:
    """Return ``4.50.3+cpu`` as ``(4, 50, 3)``. Our own, so it works however broken the environment is."""
    parts = []
    for part in version.split("+")[0].split("."):
        digits = "".join(char for char in part if char.isdigit())
        if not digits:
            break
        parts.append(int(digits))
    return tuple(parts)
