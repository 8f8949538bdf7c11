"""A door in front of a server that is open and shut in turn: how a flapping server looks from outside."""

from __future__ import annotations

import contextlib
import socket
import threading

from benchmarks.soak.children import free_port


class Relay:
    """Passes bytes to ``target`` (``host:port``) while it is open; shut, its port refuses and its connections break."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self.port = free_port()
        self._door: socket.socket | None = None
        self._lock = threading.Lock()
        self._through: set[socket.socket] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def open(self) -> None:
        door = socket.socket()
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(("127.0.0.1", self.port))
        door.listen(16)
        self._door = door
        threading.Thread(target=self._accept, args=(door,), daemon=True).start()

    def shut(self) -> None:
        door, self._door = self._door, None
        if door is not None:
            _end(door)
        with self._lock:
            through, self._through = self._through, set()
        for connection in through:
            _end(connection)

    def _accept(self, door: socket.socket) -> None:
        while self._door is door:
            try:
                client, _ = door.accept()
                server = socket.create_connection(self._target, 2)
            except OSError:
                continue
            with self._lock:
                self._through |= {client, server}
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for connection in (one, other):
            _end(connection)
        with self._lock:
            self._through -= {one, other}


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
