"""Who answers: the second server, then the local model, then last words. Each continues where the one before stopped.

A tier is asked only when its turn comes, in the thread that reads the answer, so a reply starts as soon as it is read.
Any number of answers may be under way at once. Nothing is locked across a ``yield``, because Z-Waif abandons iterators
without closing them.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial

from zwaif_fallback.answering.contracts import Say, Tier
from zwaif_fallback.answering.local_tier import LocalTier
from zwaif_fallback.answering.pieces import from_first_word
from zwaif_fallback.errors import FallbackError
from zwaif_fallback.reply_stream import ReplyStream
from zwaif_hooks import log
from zwaif_hooks.messages import Answer, ChatRequest, PrimaryFailure
from zwaif_hooks.stream import CancelScope


class Chain:
    """Asks the tiers in order. ``answer`` may be called by several threads at once."""

    def __init__(self, tiers: Callable[[ChatRequest], Iterable[Tier]], say: Say) -> None:
        self._tiers = tiers
        self._say = say
        self._told: set[str] = set()
        self._telling = threading.Lock()

    def outage_over(self) -> None:
        """Report known problems again in the next outage."""
        self._told.clear()

    def answer(self, request: ChatRequest, failure: PrimaryFailure) -> Answer:
        """Return an answer that is generated while its ``pieces`` are read."""
        answer = Answer((), exact=True, keeps_time=True)
        answer.pieces = ReplyStream(partial(self._pieces, request, failure.delivered, answer))
        return answer

    def _pieces(
        self, request: ChatRequest, delivered: str, answer: Answer, scope: CancelScope
    ) -> Generator[str, None, None]:
        begun, speakers, counts = delivered, list[str](), list[int | None]()
        for tier in self._tiers(request):
            said = problem = ""
            pieces: Iterator[str] = iter(())
            try:
                name, pieces = tier.speak(request, begun, scope)
                scope.on_cancel(getattr(pieces, "close", bool))
                with contextlib.closing(from_first_word(pieces, bool(begun))) as source:
                    for piece in source:
                        if not said:
                            speakers.append(name)
                            answer.answered_by = ", then ".join(speakers)
                        said += piece
                        yield piece
                if said or _had_nothing_to_add(tier, begun):
                    return
                problem = f"{name} gave an empty reply; trying the next."
            except FallbackError as error:
                problem = str(error)
            except Exception as error:  # whatever goes wrong in one tier, the next must get its chance
                problem = f"The fallback failed in an unexpected way and the next is tried.{details(error)}"
            finally:
                if said:
                    counts.append(getattr(pieces, "tokens", None))
                    known = [count for count in counts if count is not None]
                    answer.tokens = sum(known) if len(known) == len(counts) else None
            if scope.cancelled:  # the tier failed because nobody wants the answer any more
                return
            self.tell(problem)
            begun += said

    def tell(self, problem: str, line: str = "") -> None:
        """Report a problem once an outage, not with every message: with ``line``, or as it is. From any thread."""
        with self._telling:
            is_new = problem not in self._told
            self._told.add(problem)
        if is_new:
            self._say(line or problem)


def details(error: BaseException) -> str:
    """Log the error; return where, as the end of a line for the user. Empty if there is no log file."""
    place = log.note("The fallback failed", error)
    return f" (Details: {place})" if place is not None else ""


def _had_nothing_to_add(tier: Tier, begun: str) -> bool:
    """Whether the local model was asked to continue a reply that was already complete."""
    return isinstance(tier, LocalTier) and begun.rstrip().endswith((".", "!", "?", "…", '"', "*", "~", "。"))
