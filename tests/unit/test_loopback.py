"""Connecting to this machine where a refused connection takes long, as on Windows.

A listener whose queue is full answers nothing, so a connection to it hangs as one to a dead port does on Windows; what
the system's table of listening sockets says is told by the test.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zwaif_hooks.network import listening_ports, loopback
from zwaif_hooks.network.connect import listens

PATIENT = 20.0
"""Seconds that nothing here may take."""
hangs_when_full = pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse where a queue is full")


@pytest.fixture
def hanging() -> Iterator[Callable[[int, int], socket.socket]]:
    """Makes a socket at (family, port) to which connections hang."""
    kept: list[socket.socket] = []

    def make(family: int, port: int = 0) -> socket.socket:
        server = socket.socket(family)
        kept.append(server)
        server.bind(("127.0.0.1" if family == socket.AF_INET else "::1", port))
        server.listen(0)
        for _ in range(4):
            client = socket.socket(family)
            kept.append(client)
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        time.sleep(0.05)
        return server

    yield make
    for sock in kept:
        sock.close()


@pytest.fixture
def dead(hanging: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch) -> int:
    """A port where connecting hangs and the table has nobody."""
    monkeypatch.setattr(loopback, "somebody_listens", lambda address, port: False)
    return int(hanging(socket.AF_INET).getsockname()[1])


def nobody() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def localhost_is(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        kinds = (socket.SOCK_STREAM, 0, "")
        return [(family, *kinds, (address, port)) for family, address in zip(families, addresses, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@hangs_when_full
def test_a_dead_port_is_refused_long_before_the_system_says_so(dead: int) -> None:
    began = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        loopback.connect("127.0.0.1", dead, PATIENT)
    assert time.monotonic() - began < PATIENT / 4


@hangs_when_full
def test_whoever_looks_for_a_server_learns_it_as_soon(dead: int) -> None:
    began = time.monotonic()
    assert not listens(f"127.0.0.1:{dead}", PATIENT)
    assert time.monotonic() - began < PATIENT / 4


@hangs_when_full
def test_a_server_that_listens_and_does_not_accept_is_late_and_not_refused(hanging: Any) -> None:
    port = hanging(socket.AF_INET).getsockname()[1]
    with pytest.raises(TimeoutError):
        loopback.connect("127.0.0.1", port, 0.2)


def test_a_port_that_the_system_refuses_at_once() -> None:
    with pytest.raises(ConnectionRefusedError):
        loopback.connect("127.0.0.1", nobody(), PATIENT)


@hangs_when_full
@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_localhost_does_not_wait_for_the_family_whereunused_port(hanging: Any, monkeypatch: Any) -> None:
    """And asks the other one first from then on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        hanging(socket.AF_INET6, port)
        localhost_is(monkeypatch, "::1", "127.0.0.1")
        tried: list[int] = []
        begin = loopback._Attempts._begun

        def begun(self: Any, place: Any, seconds: float) -> Any:
            tried.append(place[0])
            return begin(self, place, seconds)

        monkeypatch.setattr(loopback._Attempts, "_begun", begun)
        began = time.monotonic()
        for _ in range(2):
            with loopback.connect("localhost", port, PATIENT) as connected:
                assert connected.family == socket.AF_INET
        assert time.monotonic() - began < PATIENT / 4
        assert tried == [socket.AF_INET6, socket.AF_INET, socket.AF_INET]


def test_a_server_that_is_well_sees_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    localhost_is(monkeypatch, "127.0.0.1", "127.0.0.1")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.2)
        with loopback.connect("localhost", server.getsockname()[1], PATIENT) as connected:
            assert connected.gettimeout() == PATIENT
            server.accept()[0].close()
            with pytest.raises(TimeoutError):
                server.accept()


def test_both_addresses_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    localhost_is(monkeypatch, "127.0.0.1", "127.0.0.1")
    with pytest.raises(ConnectionRefusedError):
        loopback.connect("localhost", nobody(), PATIENT)


# --- the table --------------------------------------------------------------------------------------------------------


def packed(number: int, *rows: bytes) -> bytes:
    return struct.pack("<I", number) + b"".join(rows) + b"\0" * 100


def row4(address: str, port: int) -> bytes:
    """``MIB_TCPROW_OWNER_PID``."""
    return struct.pack("<I4s", 2, socket.inet_aton(address)) + struct.pack(">HH", port, 0) + struct.pack("<3I", 0, 0, 7)


def row6(address: str, port: int) -> bytes:
    """``MIB_TCP6ROW_OWNER_PID``."""
    local = struct.pack("<16sI", socket.inet_pton(socket.AF_INET6, address), 0) + struct.pack(">HH", port, 0)
    return local + struct.pack("<16s4I", b"", 0, 0, 2, 7)


def test_the_rows_of_a_table_are_read() -> None:
    table = packed(2, row4("127.0.0.1", 5000), row4("0.0.0.0", 11434), row4("127.0.0.1", 1))
    assert listening_ports.read_table(table, socket.AF_INET) == {("127.0.0.1", 5000), ("0.0.0.0", 11434)}
    table = packed(2, row6("::1", 5000), row6("::", 1234))
    assert listening_ports.read_table(table, socket.AF_INET6) == {("::1", 5000), ("::", 1234)}
    assert listening_ports.read_table(packed(0), socket.AF_INET6) == set()


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_listener_is_seen_and_a_dead_port_is_not(address: str) -> None:
    """The real table, where there is one."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        server = socket.socket(family)
        server.bind((address, 0))
    except OSError as error:
        assert error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
        pytest.skip("no IPv6 here")
    server.listen()
    port = server.getsockname()[1]
    near = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    assert listening_ports.somebody_listens(near, port)
    server.close()
    assert listening_ports.somebody_listens(near, port) == (sys.platform != "win32")
