"""Where an address leads: this machine, the private network, elsewhere, or nowhere.

Numbers are read as a socket reads them: 2852039166, 0xA9FEA9FE, 169.254.43518 and ::ffff:169.254.169.254 are one place.
"""

from __future__ import annotations

import socket
from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address


class Place(IntEnum):
    """How far away an address is."""

    THIS_MACHINE = 0
    PRIVATE = 1
    """The private network: 10/8, 172.16/12, 192.168/16 and fc00::/7."""
    ELSEWHERE = 2
    NOWHERE = 3
    """Link-local (where a cloud's metadata service is), multicast, or not the address of a server at all."""


_PRIVATE = tuple(ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
_METADATA = (IPv6Address("fd00:ec2::254"), IPv6Address("fd20:ce::254"))
"""The metadata services of Amazon and Google, which are not link-local."""
_NAT64 = ip_network("64:ff9b::/96")


def place_of(address: Address) -> Place:
    """Return where packets to ``address`` go."""
    inner = _embedded(address)
    if inner is not None:
        return place_of(inner)
    if address.is_loopback or int(address) == 0:  # connecting to 0.0.0.0 or :: is connecting to this machine
        return Place.THIS_MACHINE
    if address.is_link_local or address.is_multicast or address in _METADATA or address in ip_network("0.0.0.0/8"):
        return Place.NOWHERE
    return Place.PRIVATE if any(address in net for net in _PRIVATE) else Place.ELSEWHERE


def _embedded(address: Address) -> IPv4Address | None:
    """Return the IPv4 address inside an IPv6 one."""
    if not isinstance(address, IPv6Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def literal(host: str) -> Address | None:
    """Return the address that ``host`` spells as a number, in any form a socket accepts; None for a name."""
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
    """Return how far away ``host`` is; None if its name must be resolved first."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return Place.THIS_MACHINE
    number = literal(host)
    return place_of(number) if number is not None else None


def looked_up(host: str) -> Place | None:
    """Resolve ``host``, which may take seconds, and return the place of its farthest address; None if it has none."""
    known = place(host)
    if known is not None:
        return known
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    numbers = [literal(str(entry[4][0])) for entry in found]
    return max((place_of(number) for number in numbers if number is not None), default=None)


@lru_cache(maxsize=64)
def is_this_machine(host: str) -> bool:
    """Return whether ``host`` is this machine, without resolving its name."""
    return place(host) is Place.THIS_MACHINE


@lru_cache(maxsize=64)
def needs_lookup(host: str) -> bool:
    """Return whether ``host`` is a name that must be resolved first, which may take long."""
    return place(host) is None
