"""The live state: how the LLM server is, what answered last, what is under way, and the last hour as a picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import cache
from html import escape

from zwaif_fallback.outages import Outages
from zwaif_fallback.ui import timeline
from zwaif_fallback.ui.fetching import Fetching
from zwaif_fallback.ui.status import Service
from zwaif_hooks.primary import PrimaryBook, PrimaryStatus
from zwaif_hooks.records import BY_PRIMARY, TurnLog, TurnRecord

LIVE_ID = "zwaif-fallback-live"
_STEADY = f"<style>#{LIVE_ID} .pending, #{LIVE_ID}.pending {{opacity: 1 !important}}</style>"
"""Gradio pales HTML while it asks for new; once a second, that would be a flicker."""
_DOTS = {"healthy": timeline.GREEN, "failing": timeline.ORANGE, "open": timeline.RED}


class Live:
    """Makes the HTML, from memory, in about a millisecond: it is asked for once a second by every open window."""

    def __init__(
        self,
        primaries: PrimaryBook,
        records: TurnLog,
        outages: Outages,
        service: Service,
        fetching: Fetching,
        is_enabled: Callable[[], bool],
        earlier: Callable[[], Iterable[TurnRecord]] = tuple,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``earlier`` gives the replies from before this start of Z-Waif, asked when they are shown first."""
        self._primaries, self._records, self._outages = primaries, records, outages
        self._service, self._fetching, self._is_enabled = service, fetching, is_enabled
        self._earlier = cache(lambda: tuple(earlier()))
        self._now = now

    def html(self) -> str:
        now = self._now()
        records = [*self._earlier(), *self._records.recent()]
        outages = self._outages.since(now - 3600)
        rows = [*self._servers(), self._last(records), *self._under_way()]
        body = "".join(f"<div>{row}</div>" for row in rows if row)
        hour = escape(timeline.last_hour(records, outages, now))
        picture = timeline.picture(records, outages, now)
        return (
            f'{_STEADY}<div class="zwaif-fallback-live" style="line-height:1.6">{body}<div>{hour}</div>{picture}'
            f'<div style="font-size:85%">{timeline.legend()}</div></div>'
        )

    def _servers(self) -> list[str]:
        if not self._is_enabled():
            return [_dot(timeline.GREY) + "API Fallback is off: only the LLM server answers."]
        statuses = self._primaries.statuses()
        if not statuses:
            return [_dot(timeline.GREY) + "The LLM server was not asked for a reply yet."]
        return [_dot(_DOTS.get(one.state, timeline.GREY)) + escape(_state(one)) for one in statuses]

    def _last(self, records: list[TurnRecord]) -> str:
        if not records:
            return ""
        last = records[-1]
        when = time.strftime("%H:%M:%S", time.localtime(last.at))
        who = f"the LLM server {last.primary}" if last.answered_by == BY_PRIMARY else last.answered_by or "nobody"
        why = f" Why: {last.detail or last.cause}." if last.cause else ""
        return escape(f"Last reply at {when} by {who}, in {last.seconds:.1f} s.{why}")

    def _under_way(self) -> list[str]:
        rows = []
        if self._fetching.active:
            progress = self._fetching.progress
            share = progress.share * 100 if progress else 0.0
            rows.append(
                f'{escape(self._fetching.line)}<div style="background:{timeline.GREY}55;height:6px;max-width:60rem">'
                f'<div style="background:{timeline.GREEN};height:6px;width:{share:.1f}%"></div></div>'
            )
        if self._service.is_loading():
            rows.append("A local model is being loaded; until it is there, the old one answers if there is one.")
        return rows


def _state(one: PrimaryStatus) -> str:
    since = timeline.duration(one.since)
    why = f" Last failure: {one.last_failure.cause}." if one.last_failure and one.state != "healthy" else ""
    if one.state == "open":
        return (
            f"{one.name} is open (not asked) for {since}, until it answers again: a probe looks for it about once a "
            f"second, and the fallback answers meanwhile.{why}"
        )
    if one.state == "failing":
        return f"{one.name} is failing: it is still asked, and the fallback goes on where it stops.{why}"
    return f"{one.name} is healthy, for {since}."


def _dot(colour: str) -> str:
    return f'<span style="color:{colour}">&#9679;</span> '
