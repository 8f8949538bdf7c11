"""Whether anything accepts connections at an address."""

from __future__ import annotations

import socket

from zwaif_hooks.network import loopback
from zwaif_hooks.network.addresses import is_this_machine


def listens(name: str, timeout: float = 1.0) -> bool:
    """Return whether a server accepts connections at ``name`` (``host:port``); True if ``name`` has no port to try."""
    host, _, port = name.rpartition(":")
    if not host or not port.isdigit():
        return True
    host = host.strip("[]")
    connect = loopback.connect if is_this_machine(host) else _connect
    try:
        with connect(host, int(port), timeout):
            return True
    except (OSError, ValueError, OverflowError):  # a name that cannot be encoded, a port above 65535
        return False


def may_be_behind_a_proxy(name: str) -> bool:
    """Return whether a client may reach ``name`` through a proxy although nothing listens there directly."""
    host = name.rpartition(":")[0].strip("[]")
    if is_this_machine(host):
        return False
    from urllib.request import getproxies, proxy_bypass

    return bool(getproxies()) and not proxy_bypass(host)


def _connect(host: str, port: int, timeout: float) -> socket.socket:
    return socket.create_connection((host, port), timeout)
