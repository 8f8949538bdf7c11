"""LM Studio's side of its websocket protocol, as much as ``llm``, ``respond`` and ``prepare_image`` need.

Rows are functions that play one prediction; ``upload`` and ``greeting`` say what happens to a picture and to the
library's look whether LM Studio is there.
"""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Message, Ping, Pong, Request, TextMessage
from wsproto.utilities import RemoteProtocolError

from tests.faults.server import REPLY, WORDS

MODEL = {
    "type": "llm",
    "modelKey": "m",
    "format": "gguf",
    "displayName": "m",
    "path": "m",
    "sizeBytes": 1,
    "vision": True,
    "trainedForToolUse": False,
    "maxContextLength": 4096,
}
INSTANCE = {**MODEL, "identifier": "m", "instanceReference": "m-1", "contextLength": 4096}
NO_SUCH_MODEL = {"rootTitle": "No model found", "displayData": {"code": "generic.noModelMatchingQuery", "query": {}}}


class Talk(socketserver.BaseRequestHandler):
    """One connection; the helpers are the vocabulary of the rows."""

    server: LMStudioServer

    def handle(self) -> None:
        self.server.connections.append(self.request)
        try:
            self._handle()
        except (OSError, RemoteProtocolError):
            self.server.hung_up.set()

    def _handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            part = self.request.recv(65536)
            if not part:
                return
            head += part
        if head.startswith(b"GET /lmstudio-greeting"):
            return self._greet()
        self._ws = WSConnection(ConnectionType.SERVER)
        self._ws.receive_data(head)
        for event in self._ws.events():
            if isinstance(event, Request):
                self._send(AcceptConnection())
        self._text = ""
        self._authenticated = False
        while not self.server.stopping.is_set():
            data = self.request.recv(65536)
            if not data:
                self.server.hung_up.set()
                return
            self._ws.receive_data(data)
            for event in self._ws.events():
                if self._take(event):
                    return

    def _greet(self) -> None:
        if self.server.greeting == "hang":
            return self.be_silent()
        body = b'{"lmstudio": true}' if self.server.greeting == "ok" else b'{"error": "no"}'
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        self.request.sendall(head % len(body) + body)

    def _take(self, event: Any) -> bool:
        """One event of the websocket; True when the connection is over."""
        if isinstance(event, CloseConnection):
            self._send(event.response())
            return True
        if isinstance(event, Ping):
            self._send(event.response())
        if isinstance(event, TextMessage):
            self._text += event.data
            if event.message_finished:
                text, self._text = self._text, ""
                self._answer(json.loads(text))
        return False

    def _answer(self, message: dict[str, Any]) -> None:
        if not self._authenticated:
            self._authenticated = True
            self.json({"success": True})
        elif message["type"] == "channelCreate":
            self._channel(message)
        elif message["type"] == "rpcCall":
            self._call(message)
        elif message["type"] == "channelSend" and message["message"]["type"] == "cancel":
            self.server.cancelled.set()
            self.complete("userStopped")

    def _channel(self, message: dict[str, Any]) -> None:
        self.channel = message["channelId"]
        if message["endpoint"] == "getOrLoad":
            if self.server.fault == "no_such_model":
                return self.json({"type": "channelError", "channelId": self.channel, "error": NO_SUCH_MODEL})
            if self.server.fault == "load_hangs":
                return
            self.event({"type": "alreadyLoaded", "info": INSTANCE})
            self.json({"type": "channelClose", "channelId": self.channel})
        elif message["endpoint"] == "predict":
            self.server.asked.append(message["creationParameter"])
            ROWS.get(self.server.fault, healthy)(self)

    def _call(self, message: dict[str, Any]) -> None:
        if self.server.upload == "hang":
            return
        answer: dict[str, Any] = {"type": "rpcResult", "callId": message["callId"]}
        if self.server.upload == "error":
            answer |= {"type": "rpcError", "error": {"rootTitle": "disk full"}}
        elif message["endpoint"] == "uploadFileBase64":
            answer["result"] = {"identifier": "picture-1", "fileType": "image", "sizeBytes": 9}
        self.json(answer)

    def _send(self, event: Any) -> None:
        self.request.sendall(self._ws.send(event))

    def json(self, message: dict[str, Any]) -> None:
        self._send(Message(data=json.dumps(message)))

    def event(self, message: dict[str, Any]) -> None:
        self.json({"type": "channelSend", "channelId": self.channel, "message": message})

    def say(self, words: list[str]) -> None:
        for word in words:
            fragment = {"content": word, "tokensCount": 1, "containsDrafted": False, "reasoningType": "none"}
            self.event({"type": "fragment", "fragment": fragment})

    def complete(self, reason: str = "eosFound") -> None:
        config: dict[str, Any] = {"fields": []}
        result = {"stats": {"stopReason": reason}, "modelInfo": INSTANCE}
        self.event({"type": "success", **result, "loadModelConfig": config, "predictionConfig": config})
        self.close_channel()

    def close_channel(self) -> None:
        self.json({"type": "channelClose", "channelId": self.channel})

    def reset(self) -> None:
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.request.close()
        raise OSError("reset on purpose")

    def until_read(self) -> None:
        """Wait until the client has read what was sent: a reset throws away whatever is still on its way."""
        self._send(Ping())
        while True:
            data = self.request.recv(65536)
            if not data:
                raise OSError("the client left")
            self._ws.receive_data(data)
            if any(isinstance(event, Pong) for event in self._ws.events()):
                return

    def be_silent(self) -> None:
        self.server.stopping.wait(60)


def healthy(talk: Talk) -> None:
    talk.say(WORDS)
    talk.complete()


def blank(talk: Talk) -> None:
    talk.say(["", " \n"])
    talk.complete()


def failed(talk: Talk) -> None:
    talk.complete("failed")


def error_event(talk: Talk) -> None:
    talk.event({"type": "error", "error": {"rootTitle": "CUDA out of memory"}})
    talk.close_channel()


def channel_closed(talk: Talk) -> None:
    talk.close_channel()


def reset(talk: Talk) -> None:
    talk.reset()


def silence(talk: Talk) -> None:
    """The loop goes on reading; nothing is said."""


def reset_in_the_middle(talk: Talk) -> None:
    talk.say(WORDS[:4])
    talk.until_read()
    talk.reset()


def closed_in_the_middle(talk: Talk) -> None:
    talk.say(WORDS[:4])
    talk.close_channel()


def unloaded_in_the_middle(talk: Talk) -> None:
    talk.say(WORDS[:4])
    talk.complete("modelUnloaded")


def error_in_the_middle(talk: Talk) -> None:
    talk.say(WORDS[:4])
    error_event(talk)


def stall_in_the_middle(talk: Talk) -> None:
    talk.say(WORDS[:4])


BEFORE_TEXT = ("no_such_model", "load_hangs", "blank", "failed", "error_event", "channel_closed", "reset", "silence")
IN_THE_MIDDLE = (
    "reset_in_the_middle",
    "closed_in_the_middle",
    "unloaded_in_the_middle",
    "error_in_the_middle",
    "stall_in_the_middle",
)
_PLAYED = ("healthy", *BEFORE_TEXT, *IN_THE_MIDDLE)
ROWS: dict[str, Callable[[Talk], None]] = {name: globals()[name] for name in _PLAYED if name in globals()}
__all__ = ["BEFORE_TEXT", "IN_THE_MIDDLE", "REPLY", "LMStudioServer"]


class LMStudioServer(socketserver.ThreadingTCPServer):
    """Listens on a free loopback port; ``fault`` names the row it plays next."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Talk)
        self.fault = "healthy"
        self.upload = "ok"
        self.greeting = "ok"
        self.asked: list[dict[str, Any]] = []
        self.connections: list[socket.socket] = []
        self.hung_up = threading.Event()
        self.cancelled = threading.Event()
        self.stopping = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def handle_error(self, *_: Any) -> None:
        self.hung_up.set()

    def __enter__(self) -> LMStudioServer:
        threading.Thread(target=lambda: self.serve_forever(0.01), daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def stop(self) -> None:
        """As a killed LM Studio: every connection breaks."""
        if self.stopping.is_set():
            return
        self.stopping.set()
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
