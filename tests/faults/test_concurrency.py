"""Gradio, the microphone, Discord and Minecraft ask at once: Z-Waif has no lock there."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
import sseclient

from tests.faults.conftest import Guarded
from tests.helpers import HELPERS
from tests.helpers import fault_server as rows
from tests.helpers.clients import (
    LOCAL,
    NO_IDLE_CONNECTIONS,
    Ask,
    ask,
    ask_http,
    ask_ollama,
    free_address,
    send_http,
)
from tests.helpers.fault_server import FaultServer, Talk
from tests.helpers.speaking_worker import reply_to
from tests.helpers.waiting import wait_until
from zwaif_fallback.answering.chain import Chain
from zwaif_fallback.answering.local_tier import LocalTier
from zwaif_fallback.engine_types import LoadedModel, LoadOptions
from zwaif_fallback.local.model import LocalModel
from zwaif_fallback.prompt.writer import PromptWriter
from zwaif_hooks.messages import Answer, ChatRequest, ModelInfo, PrimaryFailure, PromptFormat
from zwaif_hooks.specs import hookimpl

__all__ = ["ask", "ask_http", "ask_ollama"]

ollama = pytest.importorskip("ollama")

COMMAND = (sys.executable, str(HELPERS / "speaking_worker.py"))
WAIT = 30.0
CALLERS = ("gradio", "microphone", "discord", "minecraft")
TURNS = 5
ABANDONED_AFTER = 0.3
CROWD = 50


class LocalPlugin:
    """The fallback's own chain, with a model in a real worker process."""

    def __init__(self, model: LocalModel, say: Callable[[str], None]) -> None:
        self.model = model
        tier = LocalTier(model, self._ready, PromptWriter(model, _prompt), say)
        self._chain = Chain(lambda _: [tier], say)

    @hookimpl
    def on_primary_failure(self, request: ChatRequest, failure: PrimaryFailure) -> Answer:
        return self._chain.answer(request, failure)

    def _ready(self) -> LoadedModel:
        return self.model.load(LoadOptions("speaking"))


def _prompt(model: ModelInfo) -> list[PromptFormat]:
    return [PromptFormat(lambda messages, partial: f"{messages[-1].content}|{partial}")]


@pytest.fixture
def local(guarded: Guarded) -> Iterator[LocalModel]:
    """Answers every failure; what it has to say goes to ``guarded.lines``."""
    model = LocalModel(command=COMMAND, abandoned_after=ABANDONED_AFTER, say=guarded.lines.append)
    guarded.runtime.plugins.unregister("scripted")
    guarded.runtime.plugins.register(LocalPlugin(model, guarded.lines.append), "local")
    yield model
    model.close()


def body_of(caller: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"say {caller}"}], "stream": True}


def events_of(address: str, caller: str) -> Iterator[Any]:
    response = requests.post(f"http://{address}/v1/chat/completions", json=body_of(caller), stream=True)
    return iter(sseclient.SSEClient(response).events())


def text_of(events: Iterator[Any]) -> str:
    return "".join(json.loads(event.data)["choices"][0]["delta"]["content"] for event in events)


def by_requests(address: str, caller: str, stream: bool) -> str:
    if stream:
        return text_of(events_of(address, caller))
    reply = requests.post(f"http://{address}/v1/chat/completions", json={**body_of(caller), "stream": False})
    return str(reply.json()["choices"][0]["message"]["content"])


def by_ollama(address: str, caller: str, stream: bool) -> str:
    answer = ollama.Client(host=f"http://{address}", limits=NO_IDLE_CONNECTIONS).chat(
        model="m", messages=body_of(caller)["messages"], stream=stream
    )
    return "".join(part.message.content for part in (answer if stream else [answer]))


def at_once(works: list[Callable[[], Any]]) -> list[Any]:
    """Results of ``works``, all begun at the same moment, in threads of their own."""
    barrier = threading.Barrier(len(works))

    def begin(work: Callable[[], Any]) -> Any:
        barrier.wait(WAIT)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(WAIT) for future in [pool.submit(begin, work) for work in works]]


# One local model for everybody


@pytest.mark.parametrize("row", ["refused", "polite_end_in_the_middle"])
def test_four_callers_at_once_each_get_their_own_whole_reply(
    local: LocalModel, server: FaultServer, ask_http: Ask, ask_ollama: Ask, row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rows.ROWS, "polite_end_in_the_middle", begins_the_right_reply)
    server.fault = "polite_end_in_the_middle"
    address = free_address() if row == "refused" else server.address

    def talk(number: int) -> list[str]:
        by = (by_requests, by_ollama)[number % 2]
        return [by(address, CALLERS[number], stream=bool((number // 2 + turn) % 2)) for turn in range(TURNS)]

    texts = at_once([lambda number=number: talk(number) for number in range(4)])  # type: ignore[misc]
    assert texts == [[reply_to(f"say {caller}")] * TURNS for caller in CALLERS]


def begins_the_right_reply(talk: Talk) -> None:
    talk.open_stream()
    question = talk.request_body["messages"][-1]["content"]
    if question.startswith("say "):
        talk.text(reply_to(question)[:17])
    talk.end()


def test_callers_are_served_in_the_order_they_came_and_told_how_long_they_waited(
    guarded: Guarded, local: LocalModel, ask_http: Ask
) -> None:
    address, served = free_address(), list[str]()
    now = [0.0]
    local._queue.clock = lambda: now[0]
    first = events_of(address, CALLERS[0])
    text = text_of(iter([next(first)]))

    def talk(caller: str) -> None:
        events = events_of(address, caller)
        start = text_of(iter([next(events)]))
        served.append(caller)
        assert start + text_of(events) == reply_to(f"say {caller}")

    with ThreadPoolExecutor(3) as pool:
        waiting = []
        for caller in CALLERS[1:]:
            waiting.append(pool.submit(talk, caller))
            assert wait_until(lambda: len(local._queue._tickets) == 1 + len(waiting))
            now[0] += ABANDONED_AFTER / 10
        now[0] += 7.0
        local._queue._tickets[0].resume()
        assert text + text_of(first) == reply_to(f"say {CALLERS[0]}")
        for future in waiting:
            future.result(WAIT)
    assert tuple(served) == CALLERS[1:]
    told = [line for line in guarded.lines if line.startswith("Waited 7.")]
    assert len(told) == 3


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "dropped"])
def test_an_abandoned_iterator_blocks_nobody(local: LocalModel, ask_http: Ask, kept: bool) -> None:
    address = free_address()
    left = [events_of(address, "gradio")]
    next(left[0])
    if not kept:
        left.clear()
    texts = at_once([lambda caller=caller: by_requests(address, caller, True) for caller in CALLERS[1:]])  # type: ignore[misc]
    assert texts == [reply_to(f"say {caller}") for caller in CALLERS[1:]]
    assert by_requests(address, "gradio", True) == reply_to("say gradio"), "a Reroll in the thread that left it behind"


# Fifty at once, and one server that is down


@pytest.fixture
def server() -> Iterator[FaultServer]:
    class Roomy(FaultServer):
        request_queue_size = 2 * CROWD

    with Roomy() as running:
        yield running


def in_a_crowd(address: str) -> list[str]:
    return at_once([lambda: send_http(address, True)] * CROWD)


def of_users(server: FaultServer) -> list[dict[str, Any]]:
    """What reached the server, our probes left out."""
    return [body for body in server.asked if body.get("max_tokens") != 1]


def test_fifty_at_the_beginning_of_an_outage_and_none_while_it_lasts(
    guarded: Guarded, server: FaultServer, ask_http: Ask
) -> None:
    server.fault = "http_500"
    assert in_a_crowd(server.address) == [LOCAL] * CROWD
    assert len(guarded.plugin.outages) == 1, "one outage is one notice"
    assert 2 <= len(of_users(server)) <= CROWD
    server.asked.clear()
    assert in_a_crowd(server.address) == [LOCAL] * CROWD
    assert of_users(server) == []
    assert len(guarded.plugin.outages) == 1


def test_one_probe_at_a_time_however_many_ask(guarded: Guarded, server: FaultServer, ask_http: Ask) -> None:
    server.fault = "http_500"
    for _ in range(2):
        send_http(server.address, True)
    server.asked.clear()
    assert in_a_crowd(server.address) == [LOCAL] * CROWD
    assert wait_until(lambda: len(server.asked) >= 3), "it goes on probing"
    assert [thread.name for thread in threading.enumerate()].count("zwaif-probe") == 1
    assert of_users(server) == []
    server.fault = "healthy"
    assert guarded.plugin.recovered.wait(WAIT)
    assert in_a_crowd(server.address) == [rows.REPLY] * CROWD
