"""The live status at the top: the state of the LLM server, who answers now, and the last hour.

Made from memory in about a millisecond: every open window asks for it once a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from html import escape

from zwaif_fallback.answering import who_speaks
from zwaif_fallback.answering.last_words import LAST_WORDS
from zwaif_fallback.answering.outages import Outages
from zwaif_fallback.downloads.transfer import duration
from zwaif_fallback.ui import timeline
from zwaif_fallback.ui.components import as_html
from zwaif_fallback.ui.model_list import ModelList
from zwaif_fallback.ui.service_protocol import Service
from zwaif_hooks.failover.breaker import PrimaryStatus
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.turn_log import BY_PRIMARY, TurnLog, TurnRecord

LIVE_ID = "zwaif-fallback-live"
_DOTS = {"healthy": timeline.GREEN, "failing": timeline.ORANGE, "open": timeline.RED}


class LiveStatus:
    """The live status, as HTML."""

    def __init__(
        self,
        primaries: PrimaryRegistry,
        records: TurnLog,
        outages: Outages,
        service: Service,
        model_list: ModelList,
        setting: Callable[[str], object],
        environ: Callable[[], Mapping[str, str]],
        earlier: Callable[[], Iterable[TurnRecord]] = tuple,
        now: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            setting: Returns the value of a setting.
            environ: Returns Z-Waif's ``.env``, for the name of its server.
            earlier: Returns the replies from before Z-Waif's last start; called once, on first use.
        """
        self._primaries, self._records, self._outages = primaries, records, outages
        self._service, self._model_list, self._setting, self._environ = service, model_list, setting, environ
        self._earlier = cache(lambda: tuple(earlier()))
        self._now = now
        self.restarting: Callable[[], str] = str
        """Returns in one line how the LLM server is being restarted; empty if it is not."""

    def html(self) -> str:
        now = self._now()
        records = [*self._earlier(), *self._records.recent()]
        outages = self._outages.since(now - 3600)
        restarting = as_html(self.restarting()) if self._is_on() else ""
        servers = [*self._servers(), restarting]
        rows = [*servers, self._answers(), self._last(records), timeline.last_hour(records, outages, now)]
        body = "".join(f"<p>{row}</p>" for row in rows if row)
        picture = timeline.picture(records, outages, now)
        return f'<div class="zwaif-fallback-live">{body}{picture}{timeline.legend()}</div>'

    def chat_line(self) -> str:
        """Return the line of the Chat tab as plain text; empty while the server itself answers."""
        recent = self._records.recent()
        by = recent[-1].answered_by if recent else ""
        if not self._is_on() or by in ("", BY_PRIMARY) or all(one.state == "healthy" for one in self._statuses()):
            return ""
        return who_speaks.while_down(by, self._program(), self._host(), self._model_list.display_name)

    def _servers(self) -> list[str]:
        statuses = self._statuses()
        if not self._is_on():
            gone = [_row(one, self._program(), "") for one in statuses if one.state == "open"]
            return [_dot(timeline.GREY) + "API Fallback is off: only your LLM server answers.", *gone]
        if not statuses:
            program = escape(self._program())
            return [_dot(timeline.GREY) + f"{program} has not been asked for a reply since Z-Waif started."]
        return [_row(one, self._program()) for one in statuses]

    def _answers(self) -> str:
        if not self._is_on():
            return ""
        down, who = any(one.state == "open" for one in self._statuses()), escape(self._substitute())
        if not who:
            nobody = "Nothing can answer now" if down else "If it goes down, nothing can answer"
            return f"{nobody}: there is no model on this computer yet. Press Load Model to download one."
        if down:
            return f"Answering now: <b>{who}</b>."
        size = self._service.standing_by()
        stands = f" A standby process is ready ({size / 1e6:.0f} MB)." if size else ""
        return f"If it goes down, <b>{who}</b> answers.{stands}"

    def _substitute(self) -> str:
        """Return who answers if the server does not; in an outage, who answered last. Empty if nobody can."""
        recent = self._records.recent()
        by = recent[-1].answered_by if recent else ""
        if by not in ("", BY_PRIMARY, LAST_WORDS) and any(one.state == "open" for one in self._statuses()):
            return who_speaks.stand_in(by, self._host(), self._model_list.display_name)
        if self._host():
            return f"the second server {self._host()}"
        name = self._model_list.answering_model(self._service)
        return f"{self._model_list.display_name(name)} on this computer" if name else ""

    def _last(self, records: list[TurnRecord]) -> str:
        if not records:
            return ""
        last = records[-1]
        when = time.strftime("%H:%M:%S", time.localtime(last.at))
        who = self._program() if last.answered_by == BY_PRIMARY else "nobody"
        if last.answered_by not in (BY_PRIMARY, ""):
            who = who_speaks.stand_in(last.answered_by, self._host(), self._model_list.display_name)
        told = any(one.state == "open" for one in self._statuses())
        why = f" Reason: {last.detail or last.cause}." if last.cause and not told else ""
        return as_html(f"Last reply at {when}, after {last.seconds:.1f} s, by {who}.{why}")

    def _is_on(self) -> bool:
        return bool(self._setting("API_FALLBACK_ENABLED"))

    def _host(self) -> str:
        return str(self._setting("API_FALLBACK_HOST")).strip()

    def _program(self) -> str:
        return who_speaks.server_program(self._environ())

    def _statuses(self) -> list[PrimaryStatus]:
        return self._primaries.statuses()


def _row(one: PrimaryStatus, program: str, then: str = " It is used again as soon as it answers.") -> str:
    return _dot(_DOTS.get(one.state, timeline.GREY)) + as_html(_state(one, f"{program} ({one.name})", then))


def _state(one: PrimaryStatus, who: str, then: str) -> str:
    why = f" Reason: {one.last_failure.cause}." if one.last_failure and one.state != "healthy" else ""
    if one.state == "open":
        return f"{who} has been down for {duration(one.since)}.{then}{why}"
    if one.state == "failing":
        return f"{who} failed on the last message. The next message goes to it again.{why}"
    return f"{who} answers."


def _dot(colour: str) -> str:
    return f'<span style="color:{colour}">&#9679;</span> '
