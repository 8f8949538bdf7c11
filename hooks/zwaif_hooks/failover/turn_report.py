"""The record of one turn for the turn log."""

from __future__ import annotations

import time

from zwaif_hooks.failover.call import Call
from zwaif_hooks.failover.primary_reply import PrimaryReply
from zwaif_hooks.messages import AnswerRecord, PrimaryFailure
from zwaif_hooks.turn_log import BY_PRIMARY, USUAL_CHARS_PER_TOKEN, TurnRecord


def turn_record(
    call: Call,
    reply: PrimaryReply,
    failure: PrimaryFailure | None,
    answer: AnswerRecord | None,
    *,
    answered: bool,
    chars: int,
    note: str,
) -> TurnRecord:
    """Say who answered and why.

    Args:
        failure: why the primary was not heard to its end; None if it was.
        answer: the plugin's part, once it is complete.
        answered: somebody's reply reached Z-Waif whole.
        chars: length of the whole reply.
    """
    counted = reply.usage.reply_tokens if reply.usage is not None else None
    made = answer.tokens if answer is not None else None
    by = BY_PRIMARY if failure is None else answer.answered_by if answer is not None else ""
    return TurnRecord(
        at=time.time(),
        primary=call.primary,
        backend=call.backend,
        answered_by=by if answered or answer is not None else "",
        cause=failure.kind.value if failure is not None else "",
        detail=failure.cause if failure is not None else "",
        detected_after=failure.elapsed if failure is not None else 0.0,
        taken_over_after=answer.first_text_after if answer is not None else 0.0,
        seconds=reply.seconds(),
        primary_chars=len(reply.delivered),
        chars=chars,
        primary_tokens=counted if counted is not None else reply.pieces,
        primary_tokens_estimated=counted is None and reply.pieces > 0,
        fallback_tokens=made if made is not None else len(answer.text) // USUAL_CHARS_PER_TOKEN if answer else 0,
        fallback_tokens_estimated=made is None and answer is not None,
        note=note,
    )
