"""The stand-in host behaves as Z-Waif does, good and bad, when nothing of ours is active in its process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from zwaif_fallback.standin import copy_tree

Chunk = dict[str, Any]


def piece(text: str) -> Chunk:
    return {"choices": [{"index": 0, "delta": {"content": text}}]}


FINAL_WITHOUT_CONTENT: Chunk = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


class PlainServer(ThreadingHTTPServer):
    """An LLM server that gives the replies of ``script`` in turn; a reply is a text or the chunks of a stream."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[str | list[Chunk]] = []
        self.bodies: list[dict[str, Any]] = []


class _Handler(BaseHTTPRequestHandler):
    server: PlainServer

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        reply = self.server.script.pop(0)
        if self.path == "/api/chat":
            self._ollama(str(reply), body["stream"])
            return
        chunks = [piece(word + " ") for word in reply.split()] if isinstance(reply, str) else reply
        self.send_response(200)
        if body.get("stream"):
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for chunk in chunks:
                self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n")
            return
        answer = json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": reply}}]}).encode()
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _ollama(self, reply: str, stream: bool) -> None:
        pieces = [word + " " for word in reply.split()] if stream else [reply]
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.end_headers()
        for number, text in enumerate(pieces):
            answer = {"model": "primary", "message": {"role": "assistant", "content": text}}
            self.wfile.write(json.dumps({**answer, "done": number == len(pieces) - 1}).encode() + b"\n")


class Tree:
    """A copy of the stand-in, and what a run of it leaves behind."""

    def __init__(self, folder: Path, server: PlainServer) -> None:
        self.folder = folder
        self.server = server

    def run(self, *arguments: str, typed: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        host = f"127.0.0.1:{self.server.server_address[1]}"
        copy_tree(self.folder, {"HOST_PORT": host, **env})
        return self._python(["main.py", *arguments], typed)

    def probe(self, code: str) -> Any:
        """Run ``code`` inside the started host; it prints one JSON value last, which is returned."""
        copy_tree(self.folder, {"HOST_PORT": f"127.0.0.1:{self.server.server_address[1]}"})
        start = "import sys; sys.path.insert(0, '.'); import json, main, API.api_controller as c; main.run_program()\n"
        done = self._python(["-c", start + code], "")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def _python(self, arguments: list[str], typed: str) -> subprocess.CompletedProcess[str]:
        ollama = f"http://127.0.0.1:{self.server.server_address[1]}"
        switches = {"ZWAIF_PLUGINS": "OFF", "ZWAIF_STANDIN_UI": "OFF", "PYTHONUTF8": "1", "OLLAMA_HOST": ollama}
        env = {**os.environ, **switches}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=env,
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def history(self) -> list[list[Any]]:
        entries: list[list[Any]] = json.loads((self.folder / "LiveLog.json").read_text())
        return entries

    @property
    def spoken(self) -> list[str]:
        return [json.loads(line)["text"] for line in (self.folder / "Spoken.jsonl").read_text().splitlines()]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    server = PlainServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Tree(tmp_path / "z-waif", server)
    server.shutdown()
    server.server_close()


def test_streamed_reply_is_spoken_sentence_by_sentence_after_a_chatpop(tree: Tree) -> None:
    tree.server.script = ["Hello there. I am fine. How are you?"]
    assert tree.run("--once", "Hi").returncode == 0
    chatpops = json.loads((tree.folder / "Configurables" / "Chatpops.json").read_text())
    assert tree.spoken[0] in chatpops
    assert tree.spoken[1:] == ["Hello there.", "I am fine.", "How are you?"]


def test_exchange_is_saved_once_with_tags_and_time(tree: Tree) -> None:
    tree.server.script = ["A plain answer."]
    tree.run("--once", "Hi", API_STREAM_CHATS="OFF")
    asked, reply, tags, time = tree.history[-1]
    assert (asked, reply, tags) == ("Hi", "A plain answer.", [])
    assert len(time) == len("2026-01-01 00:00:00")
    assert len(tree.history) == 2


def test_request_is_oobaboogas_and_carries_no_persona(tree: Tree) -> None:
    tree.server.script = ["Good."]
    tree.run("--once", "Hi")
    body = tree.server.bodies[0]
    assert {"messages", "max_tokens", "mode", "character", "truncation_length", "stop", "preset", "stream"} == set(body)
    assert {message["role"] for message in body["messages"]} == {"user", "assistant"}


@pytest.mark.parametrize("stream", ["ON", "OFF"])
def test_ollama_gets_the_persona_and_options(tree: Tree, stream: str) -> None:
    pytest.importorskip("ollama")
    tree.server.script = ["From Ollama."]
    done = tree.run("--once", "Hi", API_TYPE="Ollama", API_STREAM_CHATS=stream)
    assert done.returncode == 0, done.stderr
    body = tree.server.bodies[0]
    assert body["messages"][0]["content"].startswith("Mia is a cheerful companion")
    assert {"temperature", "min_p", "num_ctx", "num_predict", "stop"} <= set(body["options"])
    assert tree.history[-1][1].strip() == "From Ollama."


def test_ollama_gets_pictures_beside_the_text(tree: Tree) -> None:
    pytest.importorskip("ollama")
    tree.server.script = ["A grey square."]
    done = tree.run(typed="/image\n/quit\n", API_TYPE="Ollama")
    assert done.returncode == 0, done.stderr
    assert len(tree.server.bodies[0]["messages"][-1]["images"]) == 1


def test_reroll_asks_again_and_replaces_the_last_reply(tree: Tree) -> None:
    tree.server.script = ["The first.", "The second."]
    tree.run(typed="Hi\n/next\n/quit\n")
    assert [entry[:2] for entry in tree.history[1:]] == [["Hi", "The second. "]]


def test_repeated_reply_is_asked_for_again(tree: Tree) -> None:
    tree.server.script = ["The same.", "The same.", "Another one."]
    tree.run(typed="Hi\nHello\n/quit\n")
    assert [entry[1] for entry in tree.history[1:]] == ["The same. ", "Another one. "]


def test_blank_reply_is_asked_for_five_times_and_marked(tree: Tree) -> None:
    tree.server.script = [""] * 5
    tree.run("--once", "Hi")
    assert len(tree.server.bodies) == 5
    assert tree.history[-1][:2] == ["Hi Hmm.", ""]


def test_picture_travels_in_the_text(tree: Tree) -> None:
    tree.server.script = ["A grey square."]
    tree.run(typed="/image\n/quit\n")
    assert '<img src="data:image/jpeg;base64,' in tree.server.bodies[0]["messages"][-1]["content"]
    assert tree.history[-1][2] == ["ZW-Visual"]


def test_summary_becomes_part_of_the_chat(tree: Tree) -> None:
    tree.server.script = ["We said hello."]
    tree.run(typed="/memory\n/quit\n")
    assert tree.history[-1][0].startswith("[System L]")
    assert tree.history[-1][1] == "We said hello."


def test_text_of_somebody_else_is_cut_off(tree: Tree) -> None:
    tree.server.script = [[piece("Fine."), piece("\n"), piece("You: and then I said")]]
    tree.run("--once", "Hi")
    assert tree.history[-1][1] == "Fine."


def _final_delta(server: PlainServer) -> None:
    server.script = [[piece("Good so far. "), FINAL_WITHOUT_CONTENT]]


def _nobody_there(server: PlainServer) -> None:
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("prepare", "error"), [(_final_delta, "KeyError"), (_nobody_there, "ConnectionError")], ids=["delta", "refused"]
)
def test_without_the_package_the_turn_is_lost_and_the_flags_stay_up(
    tree: Tree, prepare: Callable[[PlainServer], None], error: str
) -> None:
    """The very trouble the package is for; a stand-in that shrugged it off would prove nothing."""
    prepare(tree.server)
    state = tree.probe(
        "error = ''\n"
        "try:\n    c.send_via_oogabooga('Hi')\n"
        "except Exception as problem:\n    error = type(problem).__name__\n"
        "print(); print(json.dumps([error, c.is_in_api_request, c.currently_sending_message, len(c.ooga_history)]))"
    )
    assert state == [error, True, "Hi", 1]


def test_hotkey_skips_the_reply_and_asks_again(tree: Tree) -> None:
    tree.server.script = ["Never mind this one.", "This is better."]
    state = tree.probe(
        "import utils.hotkeys; utils.hotkeys.do_next_press_input(); c.send_via_oogabooga('Hi')\n"
        "print(); print(json.dumps([c.receive_via_oogabooga(), c.is_in_api_request]))"
    )
    assert state == ["This is better. ", False]


def test_a_copy_is_recognised_as_z_waif(tmp_path: Path) -> None:
    from zwaif_hooks.host.tree import find_tree

    folder = copy_tree(tmp_path / "z-waif", {})
    assert find_tree(str(folder / "utils" / "settings.py")) == str(folder)
