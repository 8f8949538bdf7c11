"""Waiting for bytes in slices: a timeout in between breaks nothing that is read later."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from zwaif_hooks.guards.sockets import PatientSocket


class Patient:
    slice = 0.001

    def __init__(self, until: int) -> None:
        self.until = until
        self.before = self.waited = 0
        self.sender: socket.socket | None = None

    def before_bytes(self) -> None:
        self.before += 1

    def no_bytes(self) -> None:
        self.waited += 1
        if self.waited == self.until:
            assert self.sender is not None
            self.sender.sendall(b"late\n")
        if self.waited > self.until + 1000:
            raise RuntimeError("nothing comes any more")

    def hurry(self, seconds: float) -> None:
        raise AssertionError(f"nobody asked for that: {seconds}")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def test_what_comes_after_several_slices_is_read_like_anything_else(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    patient = Patient(until=3)
    patient.sender = right
    file = PatientSocket(left, patient).makefile("rb")
    right.sendall(b"early\n")
    assert file.readline() == b"early\n"
    assert patient.waited == 0
    assert file.readline() == b"late\n"
    assert patient.waited == 3
    assert patient.before == 2
    right.shutdown(socket.SHUT_WR)
    assert file.readline() == b""
    file.close()


def test_who_waits_may_give_up(pair: tuple[socket.socket, socket.socket]) -> None:
    left, _ = pair
    patient = Patient(until=-1000)
    with pytest.raises(RuntimeError, match="nothing comes"):
        PatientSocket(left, patient).makefile("rb").readline()


def test_the_socket_is_closed_when_its_file_is(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    file = PatientSocket(left, Patient(0)).makefile("rb")
    left.close()
    right.sendall(b"still there\n")
    assert file.readline() == b"still there\n"
    file.close()
    right.settimeout(10)
    assert right.recv(1) == b""
