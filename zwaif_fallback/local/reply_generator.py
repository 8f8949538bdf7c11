"""Generates replies: waits for its place in the queue, and continues a reply whose reader was away too long."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any

from zwaif_fallback.engine_types import Generation, GenerationStats
from zwaif_fallback.errors import WorkerDied
from zwaif_fallback.local.fair_queue import FairQueue, Ticket
from zwaif_fallback.local.worker_restart import WorkerRestart
from zwaif_fallback.workers.protocol import AHEAD, pack
from zwaif_fallback.workers.worker_process import PendingRequest, WorkerProcess
from zwaif_hooks.stream import CancelScope

ACK_EVERY = 8
"""Pieces read between two acknowledgements; must stay below ``AHEAD``."""


class ReplyGenerator:
    """Makes the text pieces of each reply, one reply at a time.

    Args:
        completed: called after each reply that the worker finished.
    """

    def __init__(self, queue: FairQueue, restart: WorkerRestart, completed: Callable[[], None]) -> None:
        self._queue = queue
        self._restart = restart
        self._completed = completed

    def pieces(self, generation: Generation, total: GenerationStats, scope: CancelScope) -> Generator[str, None, None]:
        """Yield the reply's text as it is made, until its end or until ``scope`` is cancelled."""
        rest, text = generation, ""
        while not scope.cancelled:
            part = GenerationStats()
            try:
                for piece in self._until_evicted(rest, part, scope):
                    text += piece
                    yield piece
            finally:
                _add(total, part)
            if part.finish_reason != "cancelled" or rest.max_tokens <= part.generated_tokens:
                return
            left = generation.max_tokens - total.generated_tokens
            rest = replace(
                generation, prompt=generation.prompt + text, max_tokens=left, heal=generation.heal + len(text)
            )

    def _until_evicted(self, generation: Generation, stats: GenerationStats, scope: CancelScope) -> Iterator[str]:
        """Yield pieces until the end, or until the place was lost (``finish_reason`` is ``cancelled`` then)."""
        ticket = self._queue.take(scope)
        worker: WorkerProcess | None = None
        request: PendingRequest | None = None
        try:
            if scope.cancelled:
                return
            worker, request = self._restart.twice(lambda worker: self._begin(worker, generation, scope), scope)
            yield from self._read(worker, request, ticket, stats)
        except WorkerDied:
            if not ticket.evicted:
                raise
            # The model was switched and this worker ended while nobody read the reply: the new one continues it.
            stats.finish_reason = "cancelled"
        finally:
            if worker is not None and request is not None and not stats.finish_reason:
                worker.tell("cancel", request.id)
            ticket.give_back()

    def _begin(
        self, worker: WorkerProcess, generation: Generation, scope: CancelScope
    ) -> tuple[WorkerProcess, PendingRequest]:
        request = worker.ask("generate", generation=pack(generation), ahead=AHEAD)
        scope.on_cancel(request.cancel)
        if (event := self._restart.next_event(worker, request))["event"] == "done":
            request.deliver(event)  # cancelled before it began
        return worker, request

    def _read(
        self, worker: WorkerProcess, request: PendingRequest, ticket: Ticket, stats: GenerationStats
    ) -> Iterator[str]:
        read = 0
        for event in self._restart.events(worker, request):
            if event["event"] == "done":
                self._completed()
                fill(stats, event["stats"])
            elif event["event"] == "piece":
                stats.generated_tokens += 1  # a lower bound; ``done`` has the exact number
                ticket.pause(lambda: worker.tell("cancel", request.id))
                yield event["text"]
                ticket.resume()
                read += 1
                if read % ACK_EVERY == 0:
                    worker.tell("ack", request.id, pieces=ACK_EVERY)


def fill(stats: GenerationStats, fields: dict[str, Any]) -> None:
    """Copy the numbers that the worker sent into ``stats``."""
    for name, value in fields.items():
        setattr(stats, name, value)


def _add(total: GenerationStats, part: GenerationStats) -> None:
    """Add the tokens of one part of an interrupted reply; the prompt is that of the first part."""
    if not total.generated_tokens:
        total.prompt_tokens, total.reused_tokens = part.prompt_tokens, part.reused_tokens
        total.prefilled_tokens = part.prefilled_tokens
    total.generated_tokens += part.generated_tokens
    total.finish_reason = part.finish_reason
