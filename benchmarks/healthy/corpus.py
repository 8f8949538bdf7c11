"""Nothing that a healthy server says is changed: many replies, each read by the bare client and with us in between.

``python -m benchmarks.healthy.corpus [--replies 10000] [--clients requests,ollama,lmstudio]``. Each reply goes through
each client, streamed and whole, and ends in one of the ways in which servers end: a reason and ``[DONE]``, a reason
alone, ``[DONE]`` alone, the limit of its length, or nothing at all, all from one server. What the bare client makes of
it is what must come.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
import sseclient

from benchmarks.healthy.ways import pieces, replies
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.guard_settings import GUARD_SETTINGS
from zwaif_hooks.guards import http, swap
from zwaif_hooks.host.settings_store import SettingsStore
from zwaif_hooks.messages import PrimaryFailure
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.runtime import Runtime
from zwaif_hooks.specs import hookimpl
from zwaif_hooks.turn_log import TurnLog

CLIENTS = ("requests", "ollama", "lmstudio")
NOTHING = "nothing"
ENDS = ("stop and [DONE]", "stop", "[DONE]", "length", NOTHING)
FAILED = 20
"""Changed replies that are shown."""
Ask = Callable[[int, bool], str]


class Script:
    """What the servers say: the reply is known by its number, which is the user's message."""

    def __init__(self, count: int) -> None:
        self.replies = [reply for _, reply in replies(count)]

    def of(self, number: int) -> tuple[list[str], str]:
        """Pieces of a reply, and how it ends."""
        return pieces(self.replies[number], number), ENDS[number // 20 % len(ENDS)]

    def limit(self, number: int) -> int:
        """Tokens that are asked for: as many as come, where the reply ends with its length."""
        cut, end = self.of(number)
        return len(cut) if end == "length" else 300


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    script: Script

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        words = body["messages"][-1]["content"]
        cut, end = self.script.of(int(words)) if words.isdigit() else (["Hi", "!"], "stop")
        ollama = self.path.endswith("/api/chat")
        if body.get("stream"):
            self._answer(list(_ollama_lines(cut, end) if ollama else _events(cut, end)))
        else:
            self._answer([_whole(cut, end, ollama)])

    def _answer(self, parts: list[bytes]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in parts:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")


def _reason(end: str) -> str:
    return "length" if end == "length" else "stop"


def _events(cut: list[str], end: str) -> Iterator[bytes]:
    for text in cut:
        yield _event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})
    if end == NOTHING:
        return
    if end != "[DONE]":
        yield _event({"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": _reason(end)}]})
    if end != "stop":
        yield b"data: [DONE]\n\n"


def _event(event: Any) -> bytes:
    return (
        b"data: "
        + json.dumps(event, ensure_ascii=len(event["choices"][0]["delta"]["content"]) % 2 == 0).encode()
        + b"\n\n"
    )


def _ollama_lines(cut: list[str], end: str) -> Iterator[bytes]:
    for text in cut:
        yield (
            json.dumps({"model": "m", "done": False, "message": {"role": "assistant", "content": text}}).encode()
            + b"\n"
        )
    if end == NOTHING:
        return
    last = {"role": "assistant", "content": ""}
    yield json.dumps({"model": "m", "done": True, "message": last, **_done_reason(end)}).encode() + b"\n"


def _done_reason(end: str) -> dict[str, str]:
    return {} if end == NOTHING else {"done_reason": _reason(end)}


def _whole(cut: list[str], end: str, ollama: bool) -> bytes:
    message = {"role": "assistant", "content": "".join(cut)}
    if ollama:
        return json.dumps({"model": "m", "done": True, "message": message, **_done_reason(end)}).encode()
    choice = {"index": 0, "message": message} | ({} if end in ("[DONE]", NOTHING) else {"finish_reason": _reason(end)})
    return json.dumps({"choices": [choice]}).encode()


# --- clients, each read as Z-Waif reads it --------------------------------------------------------------------------


def ask_requests(address: str, script: Script) -> Ask:
    def ask(number: int, stream: bool) -> str:
        message = {"role": "user", "content": str(number)}
        body = {"messages": [message], "max_tokens": script.limit(number), "mode": "chat", "stream": stream}
        response = requests.post(f"http://{address}/v1/chat/completions", json=body, stream=stream)
        if not stream:
            return str(response.json()["choices"][0]["message"]["content"])
        text = ""
        for event in sseclient.SSEClient(response).events():  # type: ignore[arg-type]
            if event.data != "[DONE]":
                text += json.loads(event.data)["choices"][0]["delta"]["content"]
        return text

    return ask


def ask_ollama(address: str, script: Script) -> Ask:
    import ollama

    client = ollama.Client(host=f"http://{address}")

    def ask(number: int, stream: bool) -> str:
        options = {"num_predict": script.limit(number)}
        messages = [{"role": "user", "content": str(number)}]
        reply: Any = client.chat(model="m", messages=messages, stream=stream, options=options)
        return "".join(part["message"]["content"] for part in reply) if stream else str(reply.message.content)

    return ask


def ask_lmstudio(script: Script) -> Ask:
    import lmstudio

    def ask(number: int, stream: bool) -> str:
        chat = lmstudio.Chat.from_history({"messages": [{"role": "user", "content": str(number)}]})
        model, config = lmstudio.llm("m"), {"maxTokens": script.limit(number)}
        if stream:
            return "".join(fragment.content for fragment in model.respond_stream(chat, config=config))  # type: ignore[arg-type]
        return str(model.respond(chat, config=config).content)  # type: ignore[arg-type]

    return ask


# --- with us in between, and without -------------------------------------------------------------------------------


class Watch:
    """Counts what must not happen."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    @hookimpl
    def on_primary_failure(self, failure: PrimaryFailure) -> None:
        self.counts[f"takeovers ({failure.kind.value}: {failure.cause})"] += 1

    def changed(self, *_: Any) -> None:
        self.counts["outages"] += 1

    def say(self, line: str, *_: Any) -> None:
        self.counts[f"said: {line}"] += 1


@contextmanager
def runtime(watch: Watch) -> Iterator[Runtime]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / ".env").write_text("API_FALLBACK_ENABLED = ON\n", encoding="utf-8")
        settings = SettingsStore(GUARD_SETTINGS, folder / ".env", environ={}, say=watch.say)
        plugins = PluginManager(watch.say)
        plugins.register(watch, "watch")
        primaries = PrimaryRegistry(watch.changed)
        records = TurnLog(folder / "turns.jsonl")
        yield Runtime(folder, settings, plugins, primaries, watch.say, watch.say, records=records)
        primaries.shut_down()


@contextmanager
def server_of(script: Script) -> Iterator[str]:
    """The OpenAI-style server and Ollama in one."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Scripted", (Handler,), {"script": script}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@contextmanager
def studio(script: Script) -> Iterator[None]:
    """LM Studio's side of its websocket."""
    import lmstudio.sync_api as library

    from tests.helpers.lmstudio_server import LMStudioServer

    def play(talk: Any, loading: bool) -> None:
        talk.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if loading:
            return talk.loaded()
        last = running.asked[-1]["history"]["messages"][-1]
        cut, end = script.of(int(last["content"][0]["text"]))
        talk.say(cut)
        talk.complete("maxPredictedTokensReached" if end == "length" else "eosFound")

    with LMStudioServer() as running:
        running.play = play  # type: ignore[method-assign]
        library._reset_default_client()
        library.configure_default_client(running.address)
        yield
        library._reset_default_client()


def install(client: str, made: Runtime) -> tuple[Any, str]:
    """Put our guard in, and say where."""
    if client == "requests":
        http.install(requests.sessions, made)
        return requests.Session, "request"
    if client == "ollama":
        import ollama

        from zwaif_hooks.guards import ollama as ollama_guard

        ollama_guard.install(sys.modules["ollama._client"], made)
        return ollama.Client, "chat"
    import lmstudio

    from zwaif_hooks.guards import lmstudio as studio_guard

    studio_guard.install(lmstudio, made)
    return lmstudio, "llm"


def compare(client: str, ask: Ask, script: Script, watch: Watch, show: Callable[[str], None]) -> dict[str, Any]:
    """Every reply, with us in between and by the bare client, streamed and whole."""
    asked = changed = 0
    seconds = {"ours": 0.0, "bare": 0.0}
    with runtime(watch) as made:
        owner, name = install(client, made)
        guard = getattr(owner, name)
        for number in range(len(script.replies)):
            for stream in (True, False):
                setattr(owner, name, guard)
                began = time.perf_counter()
                ours = ask(number, stream)
                seconds["ours"] += time.perf_counter() - began
                swap.restore(owner, name)
                began = time.perf_counter()
                bare = ask(number, stream)
                seconds["bare"] += time.perf_counter() - began
                asked += 1
                if ours != bare:
                    changed += 1
                    if changed <= FAILED:
                        manner = f"{client}, {'streamed' if stream else 'whole'}, {script.of(number)[1]}"
                        show(f"{manner}: {bare!r} became {ours!r}")
    return {"asked": asked, "changed": changed, "counts": dict(watch.counts), "seconds": seconds}


def run(
    count: int, clients: tuple[str, ...] = CLIENTS, show: Callable[[str], None] = print
) -> dict[str, dict[str, Any]]:
    """For each client: replies asked for, replies changed, and what was counted that must not happen."""
    os.environ["NO_PROXY"] = "127.0.0.1"
    script = Script(count)
    results = {}
    with ExitStack() as stack:
        address = stack.enter_context(server_of(script))
        for client in clients:
            if client == "lmstudio":
                stack.enter_context(studio(script))
                ask = ask_lmstudio(script)
            elif client == "ollama":
                ask = ask_ollama(address, script)
            else:
                ask = ask_requests(address, script)
            results[client] = compare(client, ask, script, Watch(), show)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replies", type=int, default=10_000)
    parser.add_argument("--clients", default=",".join(CLIENTS))
    options = parser.parse_args()
    results = run(options.replies, tuple(options.clients.split(",")))
    print(f"{options.replies} replies, each streamed and whole\n")
    print("| client | asked | changed | counted | ms a reply, ours | bare |\n|---|---|---|---|---|---|")
    for client, result in results.items():
        ours, bare = (1000 * result["seconds"][side] / result["asked"] for side in ("ours", "bare"))
        row = (client, result["asked"], result["changed"], result["counts"] or 0, f"{ours:.2f}", f"{bare:.2f}")
        print("|", " | ".join(map(str, row)), "|")
    return int(any(result["changed"] or result["counts"] for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
