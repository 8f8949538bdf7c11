"""What an address means: which server it is, how far away that is, and whether its owner named it by hand.

Numbers are read as a socket reads them: 2852039166, 0xA9FEA9FE, 169.254.43518 and ::ffff:169.254.169.254 are one place.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

HOST = "API_FALLBACK_HOST"
TRUSTED = "API_FALLBACK_TRUSTED_HOST"
NOBODY = "none"
"""Value of ``API_FALLBACK_TRUSTED_HOST`` where no host is trusted."""

NAME = re.compile(r"[\w.-]+|[0-9a-fA-F:.]+")
"""Name or number of a host, without brackets. Nothing that a shell would read in a command that we suggest."""

Address = IPv4Address | IPv6Address


class Place(IntEnum):
    """How far away an address is."""

    THIS_MACHINE = 0
    PRIVATE = 1
    """The private network: 10/8, 172.16/12, 192.168/16 and fc00::/7."""
    ELSEWHERE = 2
    NOWHERE = 3
    """Link-local (where a cloud's service of passwords is), multicast, or no address of a server at all."""


_PRIVATE = tuple(ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
_METADATA = (IPv6Address("fd00:ec2::254"), IPv6Address("fd20:ce::254"))
"""Amazon's and Google's services of passwords, which are not link-local."""
_NAT64 = ip_network("64:ff9b::/96")


def place_of(address: Address) -> Place:
    """Where packets to ``address`` go."""
    inner = _embedded(address)
    if inner is not None:
        return place_of(inner)
    if address.is_loopback or int(address) == 0:  # connecting to 0.0.0.0 or :: is connecting to this machine
        return Place.THIS_MACHINE
    if address.is_link_local or address.is_multicast or address in _METADATA or address in ip_network("0.0.0.0/8"):
        return Place.NOWHERE
    return Place.PRIVATE if any(address in net for net in _PRIVATE) else Place.ELSEWHERE


def _embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address inside an IPv6 one."""
    if not isinstance(address, IPv6Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def literal(host: str) -> Address | None:
    """The address that ``host`` is as a number, in any spelling that a socket takes; ``None`` for a name."""
    try:
        text = host.strip("[]").partition("%")[0].encode("idna").decode("ascii").rstrip(".")
    except UnicodeError:
        text = host.strip("[]").partition("%")[0].rstrip(".")
    try:
        return ip_address(text)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(text)) if text else None
    except (OSError, ValueError):
        return None


def place(host: str) -> Place | None:
    """How far away ``host`` is, by its letters; ``None`` where that takes a look-up."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return Place.THIS_MACHINE
    number = literal(host)
    return place_of(number) if number is not None else None


def looked_up(host: str) -> Place | None:
    """How far away ``host`` is after a look-up, which may take seconds: the farthest of its addresses.

    ``None`` where it has none.
    """
    known = place(host)
    if known is not None:
        return known
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    numbers = [literal(str(entry[4][0])) for entry in found]
    return max((place_of(number) for number in numbers if number is not None), default=None)


@lru_cache
def no_farther_than(limit: Place) -> Callable[[str], str]:
    """Says why a connection to an address (a number) must not be used; empty where it may be."""

    def why_not(address: str) -> str:
        where = place(address)
        where = Place.ELSEWHERE if where is None else where  # the far end of a proxy, by name
        return "" if where <= limit else refusal(where, limit)

    return why_not


def refusal(where: Place, limit: Place) -> str:
    """Why a host at ``where`` is not asked where ``limit`` is the farthest; the end of a sentence."""
    if where is Place.NOWHERE:
        return "its address is one that no LLM server has (link-local or multicast)"
    if limit is Place.THIS_MACHINE:
        return "its name leads to another computer, and a key is not sent there over plain http"
    return (
        "it is outside your private network, and nobody named it by hand. "
        "To have it asked, name it with zwaif-fallback settings set API_FALLBACK_HOST"
    )


def trusts(setting: Callable[[str], object], host: str) -> bool:
    """Whether the owner named ``host`` by hand, in ``.env`` or on the command line; such a host may be anywhere and
    gets the key.

    ``API_FALLBACK_TRUSTED_HOST`` says which it is. While that is empty, it is the one in ``API_FALLBACK_HOST``: the
    page writes the former host down there before it changes it.
    """
    named = str(setting(HOST))  # before the other: the page writes that one first
    trusted = str(setting(TRUSTED)).strip() or named
    return trusted != NOBODY and bool(host.strip()) and _origin(host) == _origin(trusted)


def same_server(one: str, other: str) -> bool:
    """Whether two addresses (``host:port`` or URLs) mean one server; all names of this machine are alike."""
    return bool(one.strip() and other.strip()) and _origin(one)[1:] == _origin(other)[1:]


def is_this_machine(address: str) -> bool:
    """Whether the address means a server on this machine."""
    return _origin(address)[1] == Place.THIS_MACHINE


def _origin(text: str) -> tuple[str, Place | str, int | str]:
    """Scheme, host and port."""
    try:
        parts = urlsplit(text.strip() if "://" in text else f"http://{text.strip()}")
        host = (parts.hostname or "").rstrip(".")
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:  # Not an address at all; equal only to itself.
        return "", text, ""
    if place(host) is Place.THIS_MACHINE:
        return parts.scheme, Place.THIS_MACHINE, port
    return parts.scheme, str(literal(host) or host), port
