"""Waiting for bytes in slices: a timeout in between breaks nothing that is read later."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from zwaif_hooks.network import patient_sockets
from zwaif_hooks.network.patient_sockets import PatientSocket, current_scope, register_sockets
from zwaif_hooks.stream import CancelScope


class Patient(CancelScope):
    slice = 0.001

    def __init__(self, until: int) -> None:
        super().__init__()
        self.until = until
        self.before = self.waited = 0
        self.sender: socket.socket | None = None

    def before_read(self) -> None:
        self.before += 1

    def after_empty_wait(self) -> None:
        self.waited += 1
        if self.waited == self.until:
            assert self.sender is not None
            self.sender.sendall(b"late\n")
        if self.waited > self.until + 1000:
            raise RuntimeError("nothing comes any more")


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
    right.sendall(b"HTTP/1.1 early\n")
    assert file.readline() == b"HTTP/1.1 early\n"
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
    right.sendall(b"HTTP/1.1 still there\n")
    assert file.readline() == b"HTTP/1.1 still there\n"
    file.close()
    right.settimeout(10)
    assert right.recv(1) == b""


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9.6", b"\x15\x03\x01", b"h"])
def test_what_does_not_speak_http_is_not_read_to_its_end(
    pair: tuple[socket.socket, socket.socket], banner: bytes
) -> None:
    left, right = pair
    right.sendall(banner)
    with pytest.raises(OSError, match="does not speak HTTP"):
        PatientSocket(left, Patient(0)).makefile("rb").readline()


def test_an_answer_is_read_as_far_as_any_reply_goes(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient_sockets, "MOST_BYTES", 100)
    left, right = pair
    file = PatientSocket(left, Patient(0)).makefile("rb")
    right.sendall(b"HTTP/1.1 " + b"x" * 91)
    assert len(file.read(100)) == 100
    right.sendall(b"x")
    with pytest.raises(OSError, match="not the end"):
        file.read(1)


def test_what_is_sent_waits_for_the_other_side_in_slices(pair: tuple[socket.socket, socket.socket]) -> None:
    left, right = pair
    block = bytes(range(256)) * 1_000
    got: list[bytes] = []

    class Reader(Patient):
        """Begins to read when nothing more fits in between."""

        def after_empty_wait(self) -> None:
            self.waited += 1
            if self.waited == 1:
                threading.Thread(target=read, daemon=True).start()

    def read() -> None:
        while part := right.recv(65536):
            got.append(part)
        done.set()

    done = threading.Event()
    patient = Reader(0)
    sender, blocks = PatientSocket(left, patient), 0
    while not patient.waited:  # how much fits in between is for each system to say
        sender.sendall(block)
        blocks += 1
    left.shutdown(socket.SHUT_WR)
    assert done.wait(10)
    assert b"".join(got) == block * blocks


def test_who_sends_may_give_up(pair: tuple[socket.socket, socket.socket]) -> None:
    left, _ = pair
    with pytest.raises(RuntimeError, match="nothing comes"):
        PatientSocket(left, Patient(until=-1000)).sendall(b"x" * 10_000_000)


def test_a_scope_that_is_cancelled_or_expired_ends_the_wait() -> None:
    scope = CancelScope()
    with register_sockets(scope):
        assert current_scope() is scope
    assert current_scope() is None
    scope.after_empty_wait()
    scope.cancel()
    with pytest.raises(TimeoutError):
        scope.after_empty_wait()
    expiring = CancelScope()
    expiring.expire_in(100)
    expiring.before_read()
    expiring.expire_in(0)
    with pytest.raises(TimeoutError):
        expiring.before_read()
