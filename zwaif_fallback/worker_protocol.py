"""The lines that parent and worker exchange over the worker's stdin and stdout: one JSON object each, ASCII only.

Parent to worker: ``op`` is ``load``, ``count``, ``generate``, ``ack``, ``cancel``, ``unload`` or ``ping``.
Worker to parent: ``event`` is ``progress``, ``loaded``, ``counts``, ``started``, ``piece``, ``beat``, ``done``,
``unloaded``, ``pong`` or ``error``. Every line carries the ``id`` of the request it belongs to. A ``generate``
with ``idle`` set runs at the lowest priority. The worker ends when its stdin does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from zwaif_fallback import errors
from zwaif_fallback.engines.base import Generation, LoadedModel, LoadOptions
from zwaif_hooks.messages import ModelInfo, Sampling

FINAL_EVENTS = frozenset({"loaded", "counts", "done", "unloaded", "pong", "error"})
"""The last line that belongs to a request."""


def encode(message: Mapping[str, Any]) -> bytes:
    """One line. Escaped to ASCII, so that no console code page and no lone surrogate can damage it."""
    return json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Raises ValueError for a line that is not one of ours."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("not an object")
    return message


def unpack_options(fields: Mapping[str, Any]) -> LoadOptions:
    return LoadOptions(**fields)


def unpack_generation(fields: Mapping[str, Any]) -> Generation:
    sampling = Sampling(**fields["sampling"])
    return Generation(**{**fields, "stop": tuple(fields["stop"]), "sampling": sampling})


def unpack_loaded(fields: Mapping[str, Any]) -> LoadedModel:
    return LoadedModel(**{**fields, "info": ModelInfo(**fields["info"]), "notes": tuple(fields["notes"])})


def pack_error(error: BaseException) -> dict[str, Any]:
    """Ours keep their class; any other exception becomes an EngineError with its type in the text."""
    if isinstance(error, errors.FallbackError):
        return {"kind": type(error).__name__, "message": str(error)}
    return {"kind": "EngineError", "message": f"The local model failed ({type(error).__name__}: {error})."}


def unpack_error(fields: Mapping[str, Any]) -> errors.FallbackError:
    kind = getattr(errors, str(fields["kind"]), errors.EngineError)
    is_ours = isinstance(kind, type) and issubclass(kind, errors.FallbackError)
    return (kind if is_ours else errors.EngineError)(str(fields["message"]))


pack = asdict
"""A request's or event's dataclass as JSON can carry it."""
