"""Three ways from a request to a reply, each in a process of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from zwaif_fallback.answering.service import Collaborators, FallbackService
from zwaif_fallback.local.model import LocalModel
from zwaif_fallback.settings import SETTINGS
from zwaif_hooks.messages import ChatRequest, FailureKind, PrimaryFailure

Ask = Callable[[ChatRequest], Iterator[str]]
WINDOW = 4096
"""What v1.15 tells its server to keep to (``TOKEN_LIMIT``)."""
LENGTH_AND_ROLE = "Write only your own next reply, in character."


@contextmanager
def ours(model: Path, threads: int) -> Iterator[Ask]:
    """Through the service, its tiers and the worker, with the settings as they are by default."""
    values = {setting.name: setting.default for setting in SETTINGS}
    values |= {"API_FALLBACK_MODEL": str(model), "API_FALLBACK_THREADS": threads}
    local = LocalModel()
    service = FallbackService(Collaborators(_Fixed(values), local, _no_remote, _loudly, was_model_chosen=lambda: True))
    failure = PrimaryFailure(FailureKind.REFUSED, "nothing listens")
    try:
        yield lambda request: _spoken_by_the_model(service, request, failure)
    finally:
        service.close()


@contextmanager
def as_asked(model: Path, threads: int) -> Iterator[Ask]:
    """The model's own template and Z-Waif's numbers, as the first versions of this package did it."""
    with _served(model, threads) as post:
        yield lambda request: post(request, _numbers(request))


@contextmanager
def plain_server(model: Path, threads: int) -> Iterator[Ask]:
    """The same messages to llama.cpp's server, which picks words by its own defaults."""
    with _served(model, threads) as post:
        yield lambda request: post(request, {"seed": request.sampling.seed})


WAYS = {"as asked": as_asked, "ours": ours, "server": plain_server}


class _Fixed:
    """Settings that nobody changes."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def get(self, name: str) -> Any:
        return self._values[name]


def _no_remote(host: str, model: str) -> Any:
    raise AssertionError("no fallback host is set")


def _loudly(line: str) -> None:
    print(line, flush=True)


def _spoken_by_the_model(service: FallbackService, request: ChatRequest, failure: PrimaryFailure) -> Iterator[str]:
    answer = service.answer(request, failure)
    yield from answer.pieces
    if "last words" in answer.answered_by:
        raise RuntimeError(f"The local model did not answer: {answer.answered_by}")


@contextmanager
def _served(model: Path, threads: int) -> Iterator[Callable[[ChatRequest, dict[str, Any]], Iterator[str]]]:
    """llama.cpp's own server, asked over HTTP as any program would."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_gpu_layers, params.n_parallel = str(model), WINDOW, 0, 1
    params.fit_params, params.warmup, params.verbosity, params.port = False, False, 0, 0
    if threads:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    if hasattr(params, "hostnames"):
        params.hostnames = ["127.0.0.1"]
    server = xllamacpp.Server(params)
    yield lambda request, numbers: _posted(f"{server.listening_address}/v1/chat/completions", request, numbers)


def _posted(url: str, request: ChatRequest, numbers: dict[str, Any]) -> Iterator[str]:
    body = {
        "messages": _messages(request),
        "max_tokens": request.max_tokens,
        "stop": list(request.stop),
        "stream": True,
    }
    with requests.post(url, json={**body, **numbers}, stream=True, timeout=300) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith(b"data: ") and line != b"data: [DONE]":
                text = json.loads(line[6:])["choices"][0]["delta"].get("content")
                if text:
                    yield text


def _messages(request: ChatRequest) -> list[dict[str, str]]:
    """As sent; in place of a server that knows the character itself, its card and who talks with whom."""
    sent = [{"role": message.role, "content": message.content} for message in request.messages]
    if request.persona_in_messages:
        return sent
    persona = request.persona
    card = persona.character_card.replace("{{char}}", persona.char_name).replace("{{user}}", persona.user_name)
    who = f"You are {persona.char_name}. You are talking with {persona.user_name}. {LENGTH_AND_ROLE}"
    return [{"role": "system", "content": f"{card}\n\n{who}"}, *sent]


def _numbers(request: ChatRequest) -> dict[str, Any]:
    wish = request.sampling
    return {
        "samplers": ["penalties", "temperature", "top_k", "top_p", "min_p"],
        "temperature": wish.temperature,
        "top_k": wish.top_k,
        "top_p": wish.top_p or 0.95,
        "min_p": wish.min_p,
        "repeat_penalty": wish.repetition_penalty,
        "repeat_last_n": wish.repetition_range,
        "frequency_penalty": wish.frequency_penalty or 0.0,
        "presence_penalty": wish.presence_penalty or 0.0,
        "seed": wish.seed,
    }


def timed(pieces: Iterator[str]) -> tuple[str, float, float]:
    """The reply, seconds to the end of its first sentence and to its own."""
    begun, text, first = time.perf_counter(), "", 0.0
    for piece in pieces:
        text += piece
        if not first and _holds_a_sentence(text):
            first = time.perf_counter() - begun
    whole = time.perf_counter() - begun
    return text, first or whole, whole


def _holds_a_sentence(text: str) -> bool:
    """One that is over: something follows it."""
    return any(mark in text.strip()[:-1] for mark in (". ", "! ", "? ", ".\n", "!\n", "?\n", "… "))
