"""Fallback Host: the address of a second server, and a check whether it answers.

Anybody who reaches the page can call these functions, so they must not be a way to explore other servers: the check
asks only the saved address, with one fixed request, and reports the result in our own words. A host set here is used
only on this machine and in the private network, and gets no key.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests

from zwaif_fallback.addresses import HOST, host_problem, trusts
from zwaif_fallback.answering.second_server import WANTS_KEY, Deadlines, base_url, second_server
from zwaif_fallback.errors import EngineError
from zwaif_fallback.ui.components import Components, paragraph, problem, text_of
from zwaif_fallback.ui.setting_edits import Seen, SettingEdits
from zwaif_hooks.messages import FailureKind
from zwaif_hooks.network.addresses import Place, place
from zwaif_hooks.stream import PrimaryError

CONNECT_SECONDS, WHOLE_SECONDS = 3.0, 6.0
BY_HAND = "zwaif-fallback settings set API_FALLBACK_HOST"
SHOWN_MODELS = 8
_STATUS = {
    404: "There is a server, but no OpenAI API at this address. Check the port and the path",
    429: "It gets too many requests. Try again later",
}


class FallbackHost:
    """What Change Host and Check Host do."""

    def __init__(
        self,
        edits: SettingEdits,
        main: Callable[[], list[str]] = list,
    ) -> None:
        """``main`` returns the addresses of Z-Waif's own server."""
        self._edits, self._main = edits, main

    def change(self, text: object, seen: Seen = "") -> tuple[str, str, Seen]:
        """Save a host. Return the host in effect, the outcome, and what the window has seen."""
        address = text_of(text)
        wrong = host_problem(address, self._main()) or self._too_far(address) or self._edits.set(HOST, address)
        said = problem(wrong) or paragraph(f"{self._edits.saved_line(HOST)}{self._terms(address)}")
        return self._edits.get(HOST), said, self._edits.seen_with(seen, HOST)

    def _too_far(self, address: str) -> str:
        """Refuse an address on the internet: no caller of the page may send the chat there."""
        if not address or trusts(self._edits.get, address) or place(_name(address)) is not Place.ELSEWHERE:
            return ""
        return f"{address} is outside your private network. Set it by hand: {BY_HAND} {address}"

    def _terms(self, address: str) -> str:
        """Say that a host set here gets no key and stays in the private network."""
        if not address or trusts(self._edits.get, address) or place(_name(address)) is Place.THIS_MACHINE:
            return ""
        return f" A host set here gets no key and is used only in your own network. To trust it: {BY_HAND} {address}"

    def check(self, text: object) -> str:
        """Check whether the saved address answers, how fast, and with which models."""
        saved = str(self._edits.get(HOST))
        if text_of(text) != saved:
            return problem("The address in the box is not saved yet: press Change Host, then Check Host.")
        if not saved:
            return problem("There is no second server to check. Only the local model answers.")
        wrong = host_problem(saved, self._main())
        return problem(wrong) or self._checked(saved)

    def _checked(self, saved: str) -> str:
        shown, started = urlsplit(base_url(saved)).netloc, time.monotonic()
        try:
            chat = second_server(self._edits.get, saved, "", Deadlines(CONNECT_SECONDS, WHOLE_SECONDS))
            names = chat.models(WHOLE_SECONDS)
        except EngineError as error:
            asked = error.__cause__
            if not isinstance(asked, PrimaryError):
                return problem(str(error))
            said = f"It wants a different key: {chat.key_remedy()}" if asked.status in WANTS_KEY else _told(asked)
            return problem(f"{shown}: {said}.")
        seconds = time.monotonic() - started
        if not names:
            return problem(f"{shown} answered in {seconds:.2f} s, but has no model loaded. Load one there.")
        rest = f" and {len(names) - SHOWN_MODELS} more" if len(names) > SHOWN_MODELS else ""
        listed = ", ".join(_harmless(name) for name in names[:SHOWN_MODELS])
        return paragraph(f"{shown} answered in {seconds:.2f} s. Models: {listed}{rest}.")


class FallbackHostControls:
    """The address, Change Host and Check Host."""

    def __init__(self, make: Components, address: FallbackHost, label: str, value: str, help: str) -> None:
        self._address = address
        with make.row():
            self.box = make.text(label, value, placeholder="127.0.0.1:8080", info=help, scale=2)
            self.save = make.button("Change Host")
            self.look = make.button("Check Host")
        self.said = make.words()

    def wire(self, make: Components, seen: Any) -> None:
        for event in (self.save.click, self.box.submit):
            make.on(event, self._address.change, [self.box, seen], [self.box, self.said, seen])
        make.on(self.box.input, str, None, self.said, queue=False)  # an old result is about another address
        make.on(self.look.click, self._address.check, self.box, self.said, shared_limit="zwaif_fallback_check")


def _told(error: PrimaryError) -> str:
    """Describe a failed check. Nothing the server said is repeated, nor where a name leads."""
    if error.status is not None:
        return _STATUS.get(error.status, f"It refused, with HTTP {error.status}")
    original = error.original
    if isinstance(original, requests.exceptions.SSLError):
        return "The secure connection failed. Check whether it should be http:// or https://"
    if isinstance(original, requests.exceptions.ConnectTimeout):
        return f"Nothing answered within {CONNECT_SECONDS:g} s. Check the address and the firewall"
    if isinstance(original, (requests.exceptions.Timeout, TimeoutError)):
        return f"It did not finish its answer within {WHOLE_SECONDS:g} s. It may be busy, or not an LLM server"
    if error.kind is FailureKind.UNREADABLE:
        return "It answers, but not with a list of models. It may not be an LLM server"
    if original is not None:
        return "Nothing answers there. Start the server, or correct the address"
    return f"It is not asked: {error.cause}"


def _name(address: str) -> str:
    return urlsplit(base_url(address)).hostname or ""


def _harmless(name: str) -> str:
    """Return a name that a server sent, fit to be shown inside our text."""
    return "".join(char if char.isprintable() else "?" for char in name)[:60]
