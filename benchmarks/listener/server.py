"""The LLM server of the listening test: speaks OpenAI's chat protocol and Ollama's, and is in character.

    python -m benchmarks.listener.server PORT

A message that holds ``CUT`` is answered up to the middle of a sentence; then the connection is reset.
"""

from __future__ import annotations

import itertools
import json
import socket
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

from zwaif_fallback.demo import llm_server

CUT = "harbour festival"
"""The subject at which this server dies in the middle of a sentence."""
SECONDS_A_WORD = 0.05
REPLIES = (
    "Good evening! I just came down from the lamp room. The sea is calm tonight, and I can see the fishing boats.",
    "I had toast with marmalade, and I gave the crusts to Biscuit. He is a very polite seagull.",
    "Ask me anything. I have all the time in the world up here, and the kettle is on.",
    "The old keeper told me that once. I wrote it down in the blue notebook, next to the tide tables.",
    "That made me smile. You always know how to cheer me up when the fog rolls in.",
    "I like the mornings best. The glass turns pink, and everything smells of salt.",
    "Of course I remember. You promised to show me how the radio works!",
    "It rained all afternoon, so I polished the brass. Now I can see my own nose in it.",
)
BEGUN = "Oh, the festival is my favourite day! All the boats are covered in lanterns, and the baker makes"
"""What is said before the cut; the last sentence is open."""


class Handler(llm_server.Handler):
    replies = itertools.cycle(REPLIES)

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        ollama = self.path.startswith("/api/")
        said = [message["content"] for message in request.get("messages", []) if message["role"] == "user"]
        cut = CUT in (said[-1] if said else "")
        text = BEGUN if cut else next(self.replies)
        if request.get("stream"):
            self._play(text, ollama, cut)
        elif cut:
            self._reset()
        else:
            choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            self._send_json(_ollama(text, done=True) if ollama else {"choices": [choice]})

    def _play(self, text: str, ollama: bool, cut: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson" if ollama else "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in _ollama_lines(text, cut) if ollama else _events(text, cut):
            line = event.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
            time.sleep(SECONDS_A_WORD)
        if cut:
            self._reset()
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Words with their spaces, and whether each is the last."""
    words = text.split(" ")
    for number, word in enumerate(words):
        yield (f" {word}" if number else word), number == len(words) - 1


def _events(text: str, cut: bool) -> Iterator[str]:
    for piece, last in _pieces(text):
        ended = "stop" if last and not cut else None
        choice = {"index": 0, "delta": {"content": piece}, "finish_reason": ended}
        yield f"data: {json.dumps({'choices': [choice]})}\r\n\r\n"


def _ollama_lines(text: str, cut: bool) -> Iterator[str]:
    for piece, _ in _pieces(text):
        yield json.dumps(_ollama(piece, done=False)) + "\n"
    if not cut:
        yield json.dumps(_ollama("", done=True)) + "\n"


def _ollama(text: str, done: bool) -> dict[str, Any]:
    ended = {"done_reason": "stop"} if done else {}
    return {
        "model": "m",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": text},
        "done": done,
        **ended,
    }


if __name__ == "__main__":
    sys.exit(llm_server.main(sys.argv[1:], Handler))
