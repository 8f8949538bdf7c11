"""Answers as public bug reports describe them, each in a few lines: a good reply in an unusual form, or a broken one.

Of an OpenAI-style server; ``test_legal_forms`` has Ollama's.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from zwaif_hooks.messages import FailureKind
from zwaif_hooks.testing.fault_talk import HALF, REPLY, WORDS, Talk

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Form:
    """One answer, and what must become of it."""

    play: Callable[[Talk], None]
    said: str = REPLY
    """What of it is the reply."""
    kind: FailureKind | None = None
    """Why somebody else goes on behind that; None where nobody does."""
    cause: str = ""
    """What is told of it, in part."""


def piece(content: Any, reason: Any = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": reason, **more}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def end(reason: str = "stop", **more: Any) -> bytes:
    return (
        b"data: "
        + json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": reason, **more}]}).encode()
        + b"\n\n"
    )


def stream(*parts: bytes) -> Callable[[Talk], None]:
    def play(talk: Talk) -> None:
        talk.open_stream()
        for part in parts:
            talk.raw(part)
        talk.end()

    return play


def body(data: bytes, kind: str = "application/json", status: int = 200) -> Callable[[Talk], None]:
    return lambda talk: talk.body_of(status, data, kind)


def pieces(contents: list[Any]) -> list[bytes]:
    return [piece(content) for content in contents]


def as_webui(text: str) -> Callable[[Talk], None]:
    """As text-generation-webui frames a reply: an empty piece first, one with the reason last, and no ``[DONE]``."""
    return stream(*pieces(["", *text]), piece("", "stop"))


def whole(*parts: bytes) -> Callable[[Talk], None]:
    return stream(*parts, end(), DONE)


def broken(last: bytes) -> Callable[[Talk], None]:
    return stream(*pieces(WORDS[:4]), last, DONE)


def on_several_lines(content: str) -> bytes:
    event = {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}]}
    return b"".join(b"data: " + line.encode() + b"\n" for line in json.dumps(event, indent=1).splitlines()) + b"\n"


def instead(name: str, value: Callable[[str], Any]) -> list[bytes]:
    """Pieces whose text stands under another name than ``delta``."""
    events = ({"choices": [{"index": 0, name: value(word), "finish_reason": None}]} for word in WORDS)
    return [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]


def closed_by_its_connection(talk: Talk) -> None:
    talk.close_connection = True
    talk.wfile.write(
        b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + b"".join([*pieces(WORDS), end(), DONE])
    )


def packed_and_cut(talk: Talk) -> None:
    talk.send_response(200)
    for name, value in {"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"}.items():
        talk.send_header(name, value)
    talk.end_headers()
    packer = zlib.compressobj(wbits=31)
    for part in pieces(WORDS[:4]):
        talk.raw(packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH))
    talk.abort()


def only_called_packed(talk: Talk) -> None:
    talk.send_response(200)
    for name, value in {"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"}.items():
        talk.send_header(name, value)
    talk.end_headers()
    for part in [*pieces(WORDS), end(), DONE]:
        talk.raw(part)
    talk.end()


def moved(talk: Talk) -> None:
    if talk.path.startswith("/moved"):
        return stream(*pieces(WORDS), end(), DONE)(talk)
    talk.body_of(307, b"", Location="/moved/chat/completions")


def cut_behind(*contents: str) -> Callable[[Talk], None]:
    def play(talk: Talk) -> None:
        talk.open_stream()
        for part in pieces(list(contents)):
            talk.raw(part)
        talk.abort()

    return play


def a_reason_on_each(talk: Talk) -> None:
    """With pauses, behind which more follows."""
    talk.open_stream()
    for part in WORDS:
        talk.raw(piece(part, "stop"))
        talk.server.stopping.wait(0.1)
    talk.raw(DONE)
    talk.end()


def text_behind_a_reason(talk: Talk) -> None:
    talk.open_stream()
    for part in [*pieces(WORDS[:4]), end()]:
        talk.raw(part)
    talk.server.stopping.wait(0.15)
    for part in [*pieces(WORDS[4:]), end()]:
        talk.raw(part)
    talk.end()


def _whole(content: str) -> bytes:
    message = {"role": "assistant", "content": content}
    return json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()


def _two_choices() -> Iterator[bytes]:
    for part in WORDS:
        both = [{"index": index, "delta": {"content": text}} for index, text in enumerate((part, part.upper()))]
        yield b"data: " + json.dumps({"choices": both}).encode() + b"\n\n"


TEXT = [[{"type": "text", "text": part}] for part in WORDS]
THOUGHT = [{"type": "thinking", "thinking": [{"type": "text", "text": "She greets me."}]}]
ODD = b'data: {"choices": [null]}\n\n'
DAMAGED = b'data: {"usage": {"pro\n\n'
UNEXPLAINED = b'data: {"error": {"code": 502, "metadata": {"error_type": "provider_unavailable"}}}\n\n'
UPSTREAM = {"code": 502, "message": "upstream gone"}
FAMILY = ("Family time ", "\U0001f469\u200d")
LATIN_1 = "text/plain; charset=iso-8859-1"
OLLAMAS = b'{"model": "m", "message": {"role": "assistant", "content": "Hello."}, "done": true}'
ONLY_THOUGHTS = b'data: {"choices": [{"delta": {"reasoning_content": "hm"}}]}\n\n'
CUT, ERROR = FailureKind.CUT, FailureKind.ERROR_BODY
READ = {
    "closed by its connection": Form(closed_by_its_connection),
    "events on several lines": Form(whole(*map(on_several_lines, WORDS))),
    "data: twice": Form(stream(*(b"data: " + part for part in [*pieces(WORDS), end()]), DONE)),
    "no data: at all": Form(stream(*(part[6:-1] for part in [*pieces(WORDS), end()]))),
    "a thought and parts": Form(whole(*pieces([THOUGHT, *TEXT]))),
    "texts, then parts": Form(whole(*pieces([*WORDS[:3], *TEXT[3:]]))),
    "a number": Form(whole(*pieces(["It is ", 42, " degrees."])), "It is 42 degrees."),
    "message for delta": Form(whole(*instead("message", lambda part: {"role": "assistant", "content": part}))),
    "text for delta": Form(whole(*instead("text", str))),
    "blank lines before a body": Form(body(b"\n\n\n" + _whole(REPLY))),
    "a body in UTF-16": Form(body(_whole(REPLY).decode().encode("utf-16"))),
    "a body called text": Form(body(_whole(REPLY), "text/plain")),
    "a byte order mark": Form(whole(b"\xef\xbb\xbf", *pieces(WORDS))),
    "two choices": Form(whole(*_two_choices())),
    "a choice that is null": Form(whole(*pieces(WORDS[:4]), ODD, *pieces(WORDS[4:]))),
    "a damaged event without text": Form(whole(*pieces(WORDS[:4]), DAMAGED, *pieces(WORDS[4:]))),
    "half an emoji each": Form(whole(*pieces(["Hi ", "\ud83d", "\ude00", " there."])), "Hi \U0001f600 there."),
    "half an emoji alone": Form(whole(*pieces(["Hi ", "\ud83d", " there."])), "Hi  there."),
    "a reason on each piece": Form(a_reason_on_each),
    "text behind a reason": Form(text_behind_a_reason),
}
"""Good replies."""
BROKEN = {
    "packed and cut": Form(packed_and_cut, HALF, CUT),
    "only called packed": Form(only_called_packed, "", FailureKind.UNREADABLE, "cannot be unpacked"),
    "a provider's reason": Form(broken(end(native_finish_reason="network_error")), HALF, CUT, "network_error"),
    "an error as reason": Form(broken(end("error")), HALF, CUT, "broke the reply off"),
    "an abort as reason": Form(broken(end("abort")), HALF, CUT, "broke the reply off"),
    "a reason that is none": Form(stream(*(piece(part, "null") for part in WORDS[:4])), HALF, CUT),
    "an unexplained error": Form(broken(UNEXPLAINED), HALF, ERROR, "without a message (502, provider_unavailable)"),
    "an error inside a choice": Form(broken(end(error=UPSTREAM)), HALF, ERROR, "upstream gone"),
    "an event called error": Form(broken(b'event: error\ndata: "engine died"\n\n'), HALF, ERROR, "engine died"),
    "llama.cpp's line": Form(broken(b'error: {"code":500,"message":"boom"}\n\n'), HALF, ERROR, "boom"),
    "a family cut in two": Form(cut_behind(*FAMILY), "".join(FAMILY), CUT),
    "an error in old letters": Form(
        body("Modèle déchargé".encode("latin-1"), LATIN_1, 500), "", FailureKind.HTTP_ERROR, "Modèle déchargé"
    ),
    "no text": Form(whole(piece(""), ONLY_THOUGHTS), "", FailureKind.EMPTY),
    "Ollama's form": Form(body(OLLAMAS), "", FailureKind.UNREADABLE, "not a chat reply"),
}
"""Replies that somebody else must give, or go on with."""
CASUAL = (
    "haha you really have no idea where i come from",
    "omg you have no idea how happy i was",
    "you are the only one i can really talk about this stuff with",
    "That sounds like so much fun, I can not wait to try it :3",
    "You got me there and I did not even see it coming hehe",
    "Ich fange morgen damit an",
    "lol yeah that is exactly what i have",
    "let us meet at 5 pm",
    "it is 12 Mill Lane",
    "I was going to tell you about the",
)
"""Whole replies, which no guess about their end may touch."""
