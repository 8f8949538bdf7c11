"""The lines that parent and worker exchange over two pipes: one JSON object each, ASCII only.

Parent to worker: ``op`` is one of ``OPS``. Worker to parent: ``event`` is one of ``EVENTS``; the first is ``hello``
with the worker's own ``pid``. Every line carries the ``id`` of its request (0 for ``hello``). A ``generate`` or
``prepare`` with ``idle`` set runs at the lowest priority. A ``load`` or ``prepare`` with ``by_plugin`` is for a
plugin's engine. Any other line is skipped and noted in the log. The worker ends when its pipe is closed.

The pipes start as the worker's stdin and stdout, and the worker moves them away first (``pipe_server.take_pipes``).
While a thread reads from stdin, Windows blocks every call that asks what kind of handle it is, and the C runtime of
each library asks that when the library is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from zwaif_fallback import errors
from zwaif_fallback.engine_types import Generation, LoadedModel, LoadOptions
from zwaif_fallback.install_hints import remedy_for
from zwaif_hooks import log
from zwaif_hooks.messages import ModelInfo, Sampling

_Fields = Mapping[str, type]

AHEAD = 64
"""Pieces that a worker may send before they are acknowledged: a reader that stops stops the model too."""

OPS: Mapping[str, _Fields] = {
    "prepare": {"options": dict},
    "load": {"options": dict},
    "count": {"texts": list},
    "generate": {"generation": dict, "ahead": int},
    "ack": {"pieces": int},
    "cancel": {},
    # Of the worker that describes pictures:
    "open": {"folder": str, "model": str},
    "describe": {"picture": str},
    # Of the worker that renders chat templates:
    "render": {"template": str, "variables": dict},
}
"""The parent's operations, with their required fields."""
EVENTS: Mapping[str, _Fields] = {
    "hello": {"pid": int},
    "progress": {"line": str},
    "prepared": {},
    "loaded": {"loaded": dict},
    "counts": {"counts": list},
    "started": {},
    "piece": {"text": str},
    "beat": {"prefilled": int, "generated": int},
    "done": {"stats": dict},
    "error": {"kind": str, "message": str},
    "opened": {},
    "described": {"text": str},
    "rendered": {"text": str},
}
"""The worker's events, with their required fields."""
FINAL_EVENTS = frozenset({"hello", "prepared", "loaded", "counts", "done", "error", "opened", "described", "rendered"})
"""Events that end a request."""


def encode(message: Mapping[str, Any]) -> bytes:
    """Return the message as one line; escaped to ASCII, which no code page and no lone surrogate can damage."""
    return json.dumps(message, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"


def decode_request(line: bytes) -> dict[str, Any]:
    """Raise ValueError for an invalid line."""
    return _decode(line, "op", OPS)


def decode_event(line: bytes) -> dict[str, Any]:
    """Raise ValueError for an invalid line."""
    return _decode(line, "event", EVENTS)


def _decode(line: bytes, kind: str, known: Mapping[str, _Fields]) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(message, dict):
        raise ValueError("not an object")
    name = message.get(kind)
    fields = known.get(name) if isinstance(name, str) else None
    if fields is None:
        raise ValueError(f"unknown {kind}")
    wrong = [key for key, wanted in {"id": int, **fields}.items() if not isinstance(message.get(key), wanted)]
    if wrong:
        raise ValueError(f"missing or of another type: {', '.join(wrong)}")
    return message


def unpack_options(fields: Mapping[str, Any]) -> LoadOptions:
    return LoadOptions(**fields)


def unpack_generation(fields: Mapping[str, Any]) -> Generation:
    sampling = Sampling(**fields["sampling"])
    texts = {name: tuple(fields[name]) for name in ("stop", "favoured")}
    return Generation(**{**fields, **texts, "sampling": sampling})


def unpack_loaded(fields: Mapping[str, Any]) -> LoadedModel:
    info = ModelInfo(**{**fields["info"], "control_tokens": tuple(fields["info"]["control_tokens"])})
    advice = Sampling(**fields["advice"])
    return LoadedModel(**{**fields, "info": info, "advice": advice, "notes": tuple(fields["notes"])})


def pack_error(error: BaseException) -> dict[str, Any]:
    """Keep the class of a FallbackError; turn any other exception into EngineError and log its traceback."""
    if isinstance(error, errors.FallbackError):
        return {"kind": type(error).__name__, "message": str(error)}
    remedy = remedy_for(str(error), "If it happens again, choose another model.")
    place = log.note("The local model failed", error)
    details = f" (Details: {place})" if place is not None else ""
    return {"kind": "EngineError", "message": f"The local model failed in an unexpected way. {remedy}{details}"}


def unpack_error(fields: Mapping[str, Any]) -> errors.FallbackError:
    kind = getattr(errors, str(fields["kind"]), errors.EngineError)
    is_ours = isinstance(kind, type) and issubclass(kind, errors.FallbackError)
    return (kind if is_ours else errors.EngineError)(str(fields["message"]))


pack = asdict
"""Turn a dataclass into fields that JSON can carry."""
