"""Describes a picture in one sentence with a captioning model of transformers (BLIP, GIT, encoder-decoder).

These models need only the picture and no prompt, so the same few lines run all of them. Heavy libraries are imported
when needed, in the worker process.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from zwaif_fallback.engines.error_messages import first_line
from zwaif_fallback.errors import EngineError, ModelError
from zwaif_fallback.install_hints import remedy_for
from zwaif_hooks.storage import bounded

MOST_PIXELS = 50_000_000
"""Limit for a picture, by its header, as a small file can unpack to any size. A large camera has 24 million."""
LONGEST_SIDE = 1024
"""Pixels; larger pictures are scaled down. The models use 224 to 480."""
MOST_TOKENS = 40
"""Enough for one sentence."""
CAPTIONERS = ("blip", "git", "vision-encoder-decoder")
"""Model types that describe a picture without a question. Others need one, and some invent things without it."""
KINDS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


class VisionEngine:
    """One captioning model. Always on the processor: the card belongs to the server or the local model."""

    def __init__(self) -> None:
        self._name = ""
        self._model: Any = None
        self._processor: Any = None
        self._tokenizer: Any = None

    def load(self, folder: str, name: str) -> None:
        """Load the model in ``folder``; ``name`` is how the user wrote it.

        Raises:
            ModelError: transformers cannot run it as a captioning model.
        """
        check_pillow()
        check_kind(Path(folder), name)
        local = {"local_files_only": True, "trust_remote_code": False}
        try:
            import torch
            from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

            self._processor = AutoImageProcessor.from_pretrained(folder, use_fast=False, **local)
            self._tokenizer = AutoTokenizer.from_pretrained(folder, **local)
            model = AutoModelForImageTextToText.from_pretrained(
                folder, use_safetensors=True, torch_dtype=torch.float32, **local
            )
        except Exception as error:  # each library raises its own errors
            raise _unfit(name, _described(error)) from error
        self._model, self._name = model.eval(), name

    def describe(self, data: bytes) -> str:
        """Return one sentence about the picture in ``data``, the bytes of its file.

        Raises:
            EngineError: no model is loaded, or the picture cannot be read.
            ModelError: the model cannot describe pictures.
        """
        if self._model is None:
            raise EngineError("No model is loaded.")
        picture = opened(data)
        try:
            import torch

            with torch.inference_mode():
                pixels = self._processor(images=picture, return_tensors="pt")["pixel_values"]
                tokens = self._model.generate(pixel_values=pixels, max_new_tokens=MOST_TOKENS, do_sample=False)
            return str(self._tokenizer.decode(tokens[0], skip_special_tokens=True)).strip()
        except Exception as error:  # a model of another type fails in its own way
            raise _unfit(self._name, _described(error)) from error


def check_pillow() -> None:
    """Raise EngineError if Pillow, which is installed with Gradio, is missing."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        cause = first_line(error)
        remedy = remedy_for(cause, "Run: pip install pillow")
        raise EngineError(f"Pictures need Pillow ({cause}). {remedy}") from error


def opened(data: bytes) -> Any:
    """Return the picture as RGB, scaled down and upright.

    Raises:
        EngineError: it is not a picture, or too large.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=KINDS) as picture:
            width, height = picture.size
            if width * height <= MOST_PIXELS:
                picture.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
                upright = (ImageOps.exif_transpose(picture) or picture).convert("RGB")
                upright.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
                return upright
    except Image.DecompressionBombError as error:
        raise EngineError(f"The picture is too large to unpack ({first_line(error)}).") from error
    except UnidentifiedImageError as error:
        raise EngineError(f"The picture cannot be read (it is none of {', '.join(KINDS)}).") from error
    except Exception as error:  # Pillow's decoders raise errors of every kind
        raise EngineError(f"The picture cannot be read ({first_line(error)}).") from error
    raise EngineError(f"The picture is too large to unpack ({width} by {height}).")


def check_kind(folder: Path, name: str) -> None:
    """Raise ModelError unless the model in ``folder`` is a captioning model; reads only its config."""
    try:
        kind = bounded.read_json(folder / "config.json")["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unfit(name, _described(error)) from error
    if kind not in CAPTIONERS:
        raise _unfit(name, f"it is of the kind {kind}, and can be {', '.join(CAPTIONERS)}")


def _described(error: BaseException) -> str:
    """Return the error as one line: transformers names a missing Windows library only in a later line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _unfit(name: str, cause: str) -> ModelError:
    remedy = remedy_for(
        cause,
        "Choose a captioning model, for example API_FALLBACK_VISION_MODEL = Salesforce/blip-image-captioning-large",
    )
    return ModelError(f"{name} cannot describe pictures here ({cause}). {remedy}")
