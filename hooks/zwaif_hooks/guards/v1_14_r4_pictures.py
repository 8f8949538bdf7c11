"""Answers v1.14-R4's picture requests, which fail with every server.

R4 calls ``api_standard_image`` on the wrong module, so it sends no request that another guard could see. It then calls
its own fallback, which never answers, with the conversation reduced to one line. That call is answered like a request
whose primary failed.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from zwaif_hooks.failover.takeover import Takeover
from zwaif_hooks.guards.request import plain_messages, stop_sequences, with_context
from zwaif_hooks.guards.swap import swap
from zwaif_hooks.messages import (
    DEFAULT_MAX_TOKENS,
    ChatRequest,
    FailureKind,
    Picture,
    PrimaryFailure,
    Purpose,
    Sampling,
)
from zwaif_hooks.runtime import Runtime

FUNCTION = "generate_image_response"


def install(module: ModuleType, runtime: Runtime) -> None:
    """Replace ``generate_image_response``; ``module`` is R4's ``API.fallback_api``."""

    def make(original: Callable[..., str]) -> Callable[..., str]:
        def generate(messages: Any, image_path: str, **kwargs: Any) -> str:
            answered = _answer(messages, image_path, kwargs, runtime) if runtime.enabled else ""
            return answered or original(messages, image_path, **kwargs)

        return generate

    if hasattr(module, FUNCTION):
        swap(module, FUNCTION, make, {"messages", "image_path"})


def _answer(messages: Any, image_path: str, kwargs: dict[str, Any], runtime: Runtime) -> str:
    request = _described(messages, image_path, kwargs, runtime)
    rescue = Takeover(runtime, request, PrimaryFailure(FailureKind.UNKNOWN, "Z-Waif could not send the picture"))
    text = "".join(rescue.texts())
    if rescue.record is not None:
        runtime.plugins.hook.fallback_answered(record=rescue.record)
    return text


def _described(messages: Any, image_path: str, kwargs: dict[str, Any], runtime: Runtime) -> ChatRequest:
    plain, _ = plain_messages(message for message in messages if message.get("role") != "system")
    request = ChatRequest(
        backend="oobabooga",
        messages=plain,
        max_tokens=int(kwargs.get("max_tokens") or DEFAULT_MAX_TOKENS),
        stop=stop_sequences(kwargs.get("stop_sequences")),
        sampling=Sampling(temperature=kwargs.get("temperature")),
        has_image=True,
        picture=Picture(path=str(image_path)) if image_path else None,
    )
    return with_context(request, runtime, Purpose.IMAGE)
