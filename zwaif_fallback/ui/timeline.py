"""The picture of the last hour: replies per minute, and the times when the server was down."""

from __future__ import annotations

import time
from collections.abc import Iterable
from html import escape

from zwaif_fallback.answering.last_words import LAST_WORDS
from zwaif_fallback.answering.outages import Outage
from zwaif_fallback.downloads.transfer import duration
from zwaif_fallback.ui.components import as_html
from zwaif_hooks.turn_log import BY_PRIMARY, TurnRecord

MINUTES = 60
GREEN, ORANGE, RED, GREY = "#22c55e", "#f59e0b", "#ef4444", "#9ca3af"
_WIDTH, _TALL, _FLOOR = 960, 40, 46
_COLUMN = _WIDTH / MINUTES
_FULL = 4
"""Replies per minute that fill a column, unless a minute has more."""


def picture(records: Iterable[TurnRecord], outages: Iterable[Outage], now: float) -> str:
    """Return the picture as SVG and the times below it. ``now`` is in seconds since 1970."""
    columns = _columns(records, now)
    away = [one for one in outages if one.ended is None or one.ended > now - 3600]
    most = max([_FULL, *(sum(column) for column in columns)])
    parts = [_floor()]
    parts += [_bars(minute, column, most, now) for minute, column in enumerate(columns)]
    parts += [_band(one, now) for one in away]
    told = escape(summary(columns, away, now), quote=True)
    # The SVG is stretched to any width; the times are outside it, as they must not be stretched.
    svg = (
        f'<svg viewBox="0 0 {_WIDTH} {_FLOOR}" preserveAspectRatio="none" role="img" aria-label="{told}" '
        f'style="width:100%;height:{_FLOOR}px;display:block" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
    return svg + _times(now)


def legend() -> str:
    """Return the key to the colours."""
    words = ((GREEN, "your LLM server"), (ORANGE, "the fallback"), (GREY, "no answer"), (RED, "server down"))
    marks = "".join(f'<span><span style="color:{colour}">&#9632;</span> {word}</span>' for colour, word in words)
    return f'<div style="font-size:85%;display:flex;flex-wrap:wrap;gap:0 1em">{marks}</div>'


def summary(columns: list[list[int]], outages: list[Outage], now: float) -> str:
    """Describe the picture in one sentence."""
    by_primary, by_fallback, by_nobody = (sum(column[kind] for column in columns) for kind in range(3))
    total = by_primary + by_fallback + by_nobody
    seconds = sum(min(one.seconds(now), 3600.0) for one in outages)
    replies = f"{total} {'reply' if total == 1 else 'replies'} in the last hour, {by_fallback} by the fallback"
    lost = f", {by_nobody} without an answer" if by_nobody else ""
    away = f"{len(outages)} {'outage' if len(outages) == 1 else 'outages'}"
    return f"{replies}{lost}; {away}{f', {duration(seconds)} in total' if outages else ''}."


def last_hour(records: Iterable[TurnRecord], outages: Iterable[Outage], now: float) -> str:
    """Return that sentence for the records of the last hour."""
    return summary(_columns(records, now), [one for one in outages if one.ended is None or one.ended > now - 3600], now)


def _columns(records: Iterable[TurnRecord], now: float) -> list[list[int]]:
    """Count the replies of each minute, oldest first: by the LLM server, by the fallback, unanswered."""
    columns = [[0, 0, 0] for _ in range(MINUTES)]
    for record in records:
        age = now - record.at
        if 0 <= age < 3600:
            kind = 0 if record.answered_by == BY_PRIMARY else 2 if record.answered_by in ("", LAST_WORDS) else 1
            columns[MINUTES - 1 - int(age // 60)][kind] += 1
    return columns


def _bars(minute: int, column: list[int], most: int, now: float) -> str:
    total = sum(column)
    if not total:
        return ""
    parts, top = [], float(_FLOOR)
    for count, colour in zip(column, (GREEN, ORANGE, GREY), strict=True):
        height = count / most * _TALL
        top -= height
        if count:
            parts.append(
                f'<rect x="{minute * _COLUMN + 2:.1f}" y="{top:.1f}" width="{_COLUMN - 4:.1f}" '
                f'height="{height:.1f}" fill="{colour}"/>'
            )
    when = time.strftime("%H:%M", time.localtime(now - (MINUTES - minute - 0.5) * 60))
    title = f"{when}: {column[0]} by the LLM server, {column[1]} by the fallback, {column[2]} without an answer"
    return f"<g><title>{title}</title>{''.join(parts)}</g>"


def _band(one: Outage, now: float) -> str:
    left = _WIDTH * max(0.0, 1 - (now - one.began) / 3600)
    right = _WIDTH * (1.0 if one.ended is None else min(1.0, 1 - (now - one.ended) / 3600))
    when = time.strftime("%H:%M:%S", time.localtime(one.began))
    title = f"{one.primary} was down from {when} for {duration(one.seconds(now))}: {one.cause}"
    return (
        f'<rect x="{left:.1f}" y="2" width="{max(5.0, right - left):.1f}" height="{_FLOOR - 2}" fill="{RED}" '
        f'fill-opacity="0.3"><title>{as_html(title)}</title></rect>'
    )


def _floor() -> str:
    return f'<line x1="0" y1="{_FLOOR}" x2="{_WIDTH}" y2="{_FLOOR}" stroke="currentColor" stroke-opacity="0.4"/>'


def _times(now: float) -> str:
    """Return the times below the picture, one per quarter of an hour."""
    times = [time.strftime("%H:%M", time.localtime(now - quarter * 900)) for quarter in (4, 3, 2, 1, 0)]
    spans = "".join(f"<span>{when}</span>" for when in times)
    return f'<div style="display:flex;justify-content:space-between;font-size:85%;opacity:0.7">{spans}</div>'
