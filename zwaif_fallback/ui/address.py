"""Fallback Host: a second server's address, and whether it answers.

The check asks the saved address only, with one request of a fixed form, and tells what came of it in words of its own:
a page that anybody may call must not be a way to look at other servers, nor to send the key to one.
"""

from __future__ import annotations

import ipaddress
import json
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import requests

from zwaif_fallback.chain import same_server
from zwaif_fallback.engines.remote import KEY_VARIABLE, PASS_HEADER, base_url
from zwaif_fallback.ui.changes import HOST, Changes, Seen
from zwaif_fallback.ui.components import Components, paragraph, problem, text_of

CONNECT_SECONDS, WHOLE_SECONDS = 3.0, 6.0
LONGEST_ANSWER = 1_000_000
"""Bytes of a list of models."""
SHOWN_MODELS = 8
_PATH = re.compile(r"(/[\w.-]{1,40}){0,4}/?", re.ASCII)
_STATUS = {
    401: f"It wants another key. Set {KEY_VARIABLE} in the environment of Z-Waif",
    403: f"It wants another key. Set {KEY_VARIABLE} in the environment of Z-Waif",
    404: "There is a server, but it does not speak the OpenAI API at this address. Check the port and the path",
    429: "It asks for a pause: too many requests. Try again later",
}


class CheckFailed(Exception):
    """``str(error)`` is our own sentence, with the remedy."""


class Address:
    """What Change Host and Check Host do."""

    def __init__(
        self,
        changes: Changes,
        main: Callable[[], list[str]] = list,
        ask: Callable[[str], list[str]] | None = None,
    ) -> None:
        """``main`` gives the addresses of Z-Waif's own server."""
        self._changes, self._main = changes, main
        self._ask = ask or list_models

    def change(self, text: object, seen: Seen = "") -> tuple[str, str, Seen]:
        """Host, outcome, and what the window has seen now; the previous host where the new one cannot be used."""
        address = text_of(text)
        wrong = host_problem(address, self._main()) or self._changes.set(HOST, address)
        said = problem(wrong) or paragraph(self._changes.saved(HOST))
        return self._changes.get(HOST), said, self._changes.noted(seen, HOST)

    def check(self, text: object) -> str:
        """Whether the saved address answers, in what time, and with which models."""
        saved = str(self._changes.get(HOST))
        if text_of(text) != saved:
            return problem("The address in the box is not saved yet: press Change Host, then Check Host.")
        if not saved:
            return problem("There is no fallback host to check: the local model answers alone.")
        wrong = host_problem(saved, self._main())
        return problem(wrong) or self._checked(saved)

    def _checked(self, saved: str) -> str:
        shown, started = urlsplit(base_url(saved)).netloc, time.monotonic()
        try:
            names = self._ask(saved)
        except CheckFailed as error:
            return problem(f"{shown}: {error}.")
        seconds = time.monotonic() - started
        if not names:
            return problem(f"{shown} answered in {seconds:.2f} s, but has no model loaded. Load one there.")
        rest = f" and {len(names) - SHOWN_MODELS} more" if len(names) > SHOWN_MODELS else ""
        listed = ", ".join(_harmless(name) for name in names[:SHOWN_MODELS])
        return paragraph(f"{shown} answered in {seconds:.2f} s. Models: {listed}{rest}.")


class AddressControls:
    """The address, Change Host and Check Host."""

    def __init__(self, make: Components, address: Address, label: str, value: str, help: str) -> None:
        self._address = address
        with make.row():
            self.box = make.text(label, value, placeholder="127.0.0.1:8080", info=help, scale=2)
            self.save = make.button("Change Host")
            self.look = make.button("Check Host")
        self.said = make.words()

    def wire(self, make: Components, seen: Any) -> None:
        for event in (self.save.click, self.box.submit):
            make.on(event, self._address.change, [self.box, seen], [self.box, self.said, seen])
        make.on(self.box.input, str, None, self.said, queue=False)  # what was said of another address
        make.on(self.look.click, self._address.check, self.box, self.said, shared_limit="zwaif_fallback_check")


def host_problem(text: str, main: Iterable[str] = ()) -> str:
    """Why ``text`` is no address of a second server, empty where it is one (or empty, which means none).

    ``main`` are the addresses of Z-Waif's own server.
    """
    if not text:
        return ""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        good = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and (parts.port or ("://" in text and parts.port is None))
            and text.isprintable()
            and not any(char.isspace() or char in "\\@?#" for char in text)
            and _PATH.fullmatch(parts.path) is not None
        )
        good = good and not _is_link_local(parts.hostname or "")
    except ValueError:
        good = False
    if not good:
        return f"Fallback Host is {text!r}, but it must look like 127.0.0.1:8080 or http://127.0.0.1:8080."
    if any(same_server(text, one) for one in main):
        return f"{text} is your main server. The fallback host must be another one, which answers when that is down."
    return ""


def list_models(address: str, seconds: float = WHOLE_SECONDS) -> list[str]:
    """Names of the models a server offers, by the OpenAI API; redirects are not followed.

    Raises:
        CheckFailed: it gave no such list in time.
    """
    told: queue.SimpleQueue[list[str] | CheckFailed] = queue.SimpleQueue()

    def ask() -> None:
        try:
            told.put(_names(_fetched(f"{base_url(address)}/models")))
        except CheckFailed as error:
            told.put(error)
        except Exception as error:  # a thread has no caller, and the page waits for an answer
            told.put(CheckFailed(f"It could not be asked ({type(error).__name__})"))

    # A socket's time limit is for each byte: only a thread that may be left behind keeps a limit for the whole.
    threading.Thread(target=ask, name="zwaif-fallback-check", daemon=True).start()
    try:
        answer = told.get(timeout=seconds)
    except queue.Empty:
        raise CheckFailed(
            f"It did not finish its answer within {seconds:g} s. It may be busy, or no LLM server"
        ) from None
    if isinstance(answer, CheckFailed):
        raise answer
    return answer


def _fetched(url: str) -> bytes:
    key = os.environ.get(KEY_VARIABLE, "")
    headers = {**PASS_HEADER, **({"Authorization": f"Bearer {key}"} if key else {})}
    try:
        with requests.Session() as session:
            session.trust_env = False  # neither a proxy nor a password file of this machine
            limits = (CONNECT_SECONDS, CONNECT_SECONDS)
            with session.get(url, headers=headers, stream=True, allow_redirects=False, timeout=limits) as answer:
                if answer.status_code != 200:
                    raise CheckFailed(_STATUS.get(answer.status_code, f"It refused, with HTTP {answer.status_code}"))
                return _read(answer)
    except requests.exceptions.ConnectTimeout as error:
        raise CheckFailed(
            f"Nothing answered within {CONNECT_SECONDS:g} s. Check the address and the firewall"
        ) from error
    except requests.exceptions.Timeout as error:
        raise CheckFailed("It accepted the connection and said nothing. It may be busy, or no LLM server") from error
    except requests.exceptions.SSLError as error:
        raise CheckFailed("No safe connection. Check http:// or https://") from error
    except (requests.RequestException, OSError) as error:
        raise CheckFailed("Nothing answers there. Start the server, or correct the address") from error


def _read(answer: requests.Response) -> bytes:
    body = bytearray()
    for piece in answer.iter_content(65536):
        body += piece
        if len(body) > LONGEST_ANSWER:
            raise CheckFailed("Its list of models does not end. It may be no LLM server")
    return bytes(body)


def _names(body: bytes) -> list[str]:
    try:
        return [str(entry["id"]) for entry in json.loads(body)["data"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckFailed("It answers, but not with a list of models. It may be no LLM server") from error


def _harmless(name: str) -> str:
    """A name that a server gave itself, as part of a sentence of ours."""
    return "".join(char if char.isprintable() else "?" for char in name)[:60]


def _is_link_local(host: str) -> bool:
    """Addresses that only a machine's own network card answers, such as a cloud's service of passwords."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_link_local or address.is_multicast
