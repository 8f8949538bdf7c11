"""Addresses of LLM servers: whether two mean the same server, how far away one is, and whether the user set it.

Numbers are read as a socket reads them: 2852039166, 0xA9FEA9FE, 169.254.43518 and ::ffff:169.254.169.254 are the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from zwaif_hooks.network.addresses import Place, literal, place

HOST = "API_FALLBACK_HOST"
TRUSTED = "API_FALLBACK_TRUSTED_HOST"
NOBODY = "none"
"""Value of ``API_FALLBACK_TRUSTED_HOST`` if no host is trusted."""

NAME = re.compile(r"[\w.-]+|[0-9a-fA-F:.]+")
"""A host's name or number without brackets; nothing with a meaning to a shell, as commands we suggest contain it."""

_PATH = re.compile(r"(/[\w.-]{1,40}){0,4}/?", re.ASCII)


@lru_cache
def no_farther_than(limit: Place) -> Callable[[str], str]:
    """Return a function that says why a connection to an address must not be used; empty if it may be."""

    def why_not(address: str) -> str:
        where = place(address)
        where = Place.ELSEWHERE if where is None else where  # the far end of a proxy, by name
        return "" if where <= limit else refusal(where, limit)

    return why_not


def refusal(where: Place, limit: Place) -> str:
    """Return why a host at ``where`` is not used if ``limit`` is the farthest allowed; the end of a sentence."""
    if where is Place.NOWHERE:
        return "its address is one that no LLM server has (link-local or multicast)"
    if limit is Place.THIS_MACHINE:
        return "its name leads to another computer, and a key is not sent there over plain http"
    return (
        "it is outside your private network, and nobody named it by hand. "
        "To have it asked, name it with zwaif-fallback settings set API_FALLBACK_HOST"
    )


def trusts(setting: Callable[[str], object], host: str) -> bool:
    """Return whether the user set ``host`` in ``.env`` or on the command line; such a host may be anywhere and gets the
    key.

    ``API_FALLBACK_TRUSTED_HOST`` names it; if that is empty, it is the one in ``API_FALLBACK_HOST``. The Settings tab
    stores the former host there before it changes it.
    """
    named = str(setting(HOST))  # read first: the Settings tab writes the other one first
    trusted = str(setting(TRUSTED)).strip() or named
    return trusted != NOBODY and bool(host.strip()) and _origin(host) == _origin(trusted)


def same_server(one: str, other: str) -> bool:
    """Return whether two addresses (``host:port`` or URLs) mean one server; all names of this machine are equal."""
    return bool(one.strip() and other.strip()) and _origin(one)[1:] == _origin(other)[1:]


def is_this_machine(address: str) -> bool:
    """Return whether the address means a server on this machine."""
    return _origin(address)[1] == Place.THIS_MACHINE


def host_problem(text: str, main: Iterable[str] = ()) -> str:
    """Return why ``text`` is not an address of a second server; empty if it is one, or is empty itself.

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
        good = good and bool(NAME.fullmatch(parts.hostname or "")) and place(parts.hostname or "") is not Place.NOWHERE
    except ValueError:
        good = False
    if not good:
        return f"Fallback Host is {text!r}, but it must look like 127.0.0.1:8080 or http://127.0.0.1:8080."
    if any(same_server(text, one) for one in main):
        return f"{text} is your main server. The second server must be a different one, used when that is down."
    return ""


def _origin(text: str) -> tuple[str, Place | str, int | str]:
    """Return scheme, host and port."""
    try:
        parts = urlsplit(text.strip() if "://" in text else f"http://{text.strip()}")
        host = (parts.hostname or "").rstrip(".")
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:  # not an address: equal only to itself
        return "", text, ""
    if place(host) is Place.THIS_MACHINE:
        return parts.scheme, Place.THIS_MACHINE, port
    return parts.scheme, str(literal(host) or host), port
