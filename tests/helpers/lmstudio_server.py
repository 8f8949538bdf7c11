"""LM Studio's side of its websocket protocol, as much as ``llm``, ``respond`` and ``prepare_image`` need.

Rows (``lmstudio_rows``) play one prediction, or the loading of the model before it; ``upload`` and ``greeting`` say
what happens to a picture and to the library's look whether LM Studio is there, ``loaded`` what it says is in memory.
"""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import threading
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Message, Ping, Pong, Request, TextMessage
from wsproto.utilities import RemoteProtocolError

from tests.helpers.lmstudio_rows import LOADING, ROWS, healthy

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
PROMPT_TOKENS, REPLY_TOKENS = 21, 7
WITHOUT_END = {
    "503 without end": (b"HTTP/1.1 503 Busy\r\n\r\n", b"busy "),
    "headers without end": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "text without end": (b"HTTP/1.1 200 OK\r\n\r\n", b'{"lmstudio": '),
}
"""What another program at LM Studio's port may answer to the library's look: how it begins, and goes on."""
INSTANCE = {**MODEL, "identifier": "m", "instanceReference": "m-1", "contextLength": 4096}


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
        if self.server.greeting in WITHOUT_END:
            return self._go_on(*WITHOUT_END[self.server.greeting])
        body = b'{"lmstudio": true}' if self.server.greeting == "ok" else b'{"error": "no"}'
        if self.server.greeting == "no, then ok":
            self.server.greeting = "ok"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        self.request.sendall(head % len(body) + body)

    def _go_on(self, beginning: bytes, more: bytes) -> None:
        """Until the client hangs up, which the server notes."""
        self.request.sendall(beginning)
        while not self.server.stopping.wait(0.001):
            self.request.sendall(more)

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
            self.json({"success": self.server.fault != "not_authorised", "error": {"rootTitle": "Invalid API token"}})
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
            self.server.play(self, loading=True)
        elif message["endpoint"] == "predict":
            self.server.asked.append(message["creationParameter"])
            self.server.play(self, loading=False)

    def _call(self, message: dict[str, Any]) -> None:
        if self.server.upload == "hang":
            return
        answer: dict[str, Any] = {"type": "rpcResult", "callId": message["callId"]}
        if self.server.upload == "error":
            answer |= {"type": "rpcError", "error": {"rootTitle": "disk full"}}
        elif message["endpoint"] == "uploadFileBase64":
            answer["result"] = {"identifier": "picture-1", "fileType": "image", "sizeBytes": 9}
        elif message["endpoint"] == "listLoaded":
            answer["result"] = [{**INSTANCE, "identifier": name} for name in self.server.loaded]
        self.json(answer)

    def _send(self, event: Any) -> None:
        self.request.sendall(self._ws.send(event))

    def json(self, message: dict[str, Any]) -> None:
        self._send(Message(data=json.dumps(message)))

    def event(self, message: dict[str, Any]) -> None:
        self.json({"type": "channelSend", "channelId": self.channel, "message": message})

    def loaded(self) -> None:
        self.event({"type": "alreadyLoaded", "info": INSTANCE})
        self.close_channel()

    def progress(self, kind: str, share: float) -> None:
        """``loadProgress`` or ``promptProcessingProgress``: alive, but no word of the reply."""
        self.event({"type": kind, "progress": share})

    def say(self, words: list[str], reasoning: str = "none") -> None:
        for word in words:
            fragment = {"content": word, "tokensCount": 1, "containsDrafted": False, "reasoningType": reasoning}
            self.event({"type": "fragment", "fragment": fragment})

    def success(self, reason: str = "eosFound") -> None:
        config: dict[str, Any] = {"fields": []}
        stats = {"stopReason": reason, "promptTokensCount": PROMPT_TOKENS, "predictedTokensCount": REPLY_TOKENS}
        result = {"stats": stats, "modelInfo": INSTANCE}
        self.event({"type": "success", **result, "loadModelConfig": config, "predictionConfig": config})

    def complete(self, reason: str = "eosFound") -> None:
        self.success(reason)
        self.close_channel()

    def refuse(self, error: dict[str, Any]) -> None:
        self.json({"type": "channelError", "channelId": self.channel, "error": error})

    def close_channel(self) -> None:
        self.json({"type": "channelClose", "channelId": self.channel})

    def damaged(self) -> None:
        self._send(Message(data='{"type": "channelSe'))

    def ping(self) -> None:
        self._send(Ping())

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


class LMStudioServer(socketserver.ThreadingTCPServer):
    """Listens on a free loopback port; ``fault`` names the row it plays next."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Talk)
        self.fault = "healthy"
        self.upload = "ok"
        self.greeting = "ok"
        self.loaded = ["m"]
        self.asked: list[dict[str, Any]] = []
        self.was_asked = threading.Semaphore(0)
        """One for each time that a row was played."""
        self.connections: list[socket.socket] = []
        self.hung_up = threading.Event()
        self.cancelled = threading.Event()
        self.release = threading.Event()
        self.stopping = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def play(self, talk: Talk, loading: bool) -> None:
        """A row of loading is over before anything is predicted; the others find their model in memory."""
        if loading and self.fault not in LOADING:
            return talk.loaded()
        self.was_asked.release()
        row = healthy if not loading and self.fault in LOADING else ROWS.get(self.fault, healthy)
        row(talk)

    def be_asked(self) -> None:
        assert self.was_asked.acquire(timeout=20)

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
        self.release.set()
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
