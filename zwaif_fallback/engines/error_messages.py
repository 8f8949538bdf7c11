"""What a library's error means for the user and what to do next, for errors of transformers and torch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.errors import FallbackError, ModelError, ModelTooBig
from zwaif_fallback.install_hints import NO_VC_RUNTIME, VC_RUNTIME
from zwaif_fallback.models.error_hints import CHECK_SETTING, SMALLER

_TOO_BIG = "{model} does not fit into the free memory ({cause}). " + SMALLER


@dataclass(frozen=True)
class _Meaning:
    """What to say if ``pattern`` is found in ``TypeName: message``."""

    pattern: str
    kind: type[ModelError]
    text: str


# The first match wins.
_MEANINGS = (
    _Meaning(
        r"out of memory|OutOfMemoryError|not enough memory|can't allocate memory|MemoryError|STATUS_ALLOC_FAILED",
        ModelTooBig,
        _TOO_BIG,
    ),
    _Meaning(NO_VC_RUNTIME, ModelError, "{model} cannot be loaded ({cause}). " + VC_RUNTIME),
    _Meaning(
        r"ModuleNotFoundError",
        ModelError,
        "{model} cannot be loaded ({cause}). To see what is missing, run: zwaif-fallback doctor",
    ),
    _Meaning(
        r"trust_remote_code|custom code",
        ModelError,
        "{model} needs its own code to run, and code from a model is never run. Choose another model.",
    ),
    _Meaning(
        r"does not recognize this architecture|Unrecognized model|Unrecognized configuration class",
        ModelError,
        "{model} is of a kind this version of transformers cannot run as a chat model ({cause}). Choose another model.",
    ),
    _Meaning(
        r"GPTQ|gptqmodel|auto-gptq",
        ModelError,
        "{model} is published as GPTQ. That needs an NVIDIA card and two more packages, which may not work with Z-Waif"
        ": optimum and gptqmodel ({cause}). Easier: choose the same model as a GGUF file or in its original form.",
    ),
    _Meaning(
        r"AWQ|auto-?awq",
        ModelError,
        "{model} is published as AWQ. That needs an NVIDIA card and one more package, which may not work with Z-Waif: "
        "autoawq ({cause}). Easier: choose the same model as a GGUF file or in its original form.",
    ),
    _Meaning(
        r"[Aa]ccelerate",
        ModelError,
        '{model} needs a newer accelerate. Run: pip install "accelerate>=0.26.0"',
    ),
    _Meaning(
        r"bitsandbytes",
        ModelError,
        "{model} is published in a form that needs bitsandbytes. Run: pip install bitsandbytes",
    ),
    _Meaning(
        r"FP8|[Qq]uantiz",
        ModelError,
        "{model} is published quantized in a way that does not run here ({cause}). Choose the same model as a GGUF "
        "file or in its original form.",
    ),
    _Meaning(
        r"No space left|Errno 28",
        ModelError,
        "The disk is full: {model} could not be stored. Free some space and try again.",
    ),
    _Meaning(
        r"BadSafetensors|SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer|not a safetensors file",
        ModelError,
        "The weights of {model} are damaged ({cause}). Download the model again.",
    ),
    _Meaning(
        r"JSONDecodeError|not a valid JSON",
        ModelError,
        "A file of {model} is damaged ({cause}). Download the model again.",
    ),
    _Meaning(
        r"[Tt]okenizer",
        ModelError,
        "The tokenizer of {model} cannot be loaded ({cause}). Download the model again, with all its files.",
    ),
)


def explain(error: BaseException, options: LoadOptions) -> FallbackError:
    """Return the error as one of this package's, with the next step in its text."""
    if isinstance(error, FallbackError):
        return error
    described = f"{type(error).__name__}: {error}"
    for meaning in _MEANINGS:
        if re.search(meaning.pattern, described):
            return meaning.kind(meaning.text.format(model=options.model, cause=first_line(error)))
    cause = f"{type(error).__name__}: {first_line(error)}"
    return ModelError(f"{options.model} cannot be loaded ({cause}). {CHECK_SETTING}")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether this is torch's, Python's or CUDA's way of saying that memory ran out."""
    return bool(re.search(_MEANINGS[0].pattern, f"{type(error).__name__}: {error}"))


def first_line(error: BaseException, limit: int = 160) -> str:
    """Return the first line of an error's text, cut at ``limit`` characters."""
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return line if len(line) <= limit else line[: limit - 1] + "…"
