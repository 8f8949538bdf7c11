"""Drive releases of Z-Waif through outages and print one row of the compatibility table for each.

    python -m benchmarks.releases TREE … [--api Oobabooga Ollama] [--stream ON OFF] [--only refused cut …] [--log FILE]

A TREE is a folder that holds a release's ``main.py``; it is copied and not changed. Run this with a Python that has the
release's own requirements and this package. Each row is one start of that Z-Waif: its own start-up and its own function
for a message, while its LLM server fails in one way after the other. A scene counts if the reply came from whom it
should (the server, the local model, or first one and then the other), without an exception, and if the server, well
again, got a later message. The scenes follow each other in one process, so one that leaves Z-Waif stuck fails the next.

Z-Waif's page has a fixed port, and so has the server of releases before v1.9 (5000): stop your own first.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "hooks")) if path not in sys.path]

from tests.helpers.fault_server import HALF, FaultServer, Talk  # noqa: E402
from zwaif_fallback.demo import MODEL, zwaif_copy  # noqa: E402
from zwaif_fallback.demo.host_process import (  # noqa: E402
    BOTH,
    FALLBACK,
    LOADED_AT_ONCE,
    SERVER,
    DemoError,
    HostProcess,
    Turn,
)
from zwaif_fallback.standin.launch import environment  # noqa: E402

RECOVERED_WITHIN = 60.0
"""Longest wait for Z-Waif to go back to its server, in seconds."""
SETTINGS = {"API_FALLBACK_MODEL": str(MODEL), "API_FALLBACK_FIRST_TOKEN_TIMEOUT": "4", **LOADED_AT_ONCE}


@dataclass(frozen=True)
class Scene:
    """One way to fail, and who has to answer then."""

    name: str
    fault: str
    """A row of the fault server; empty: nothing listens."""
    expected: str


SCENES = (
    Scene("healthy", "healthy", SERVER),
    Scene("refused", "", FALLBACK),
    Scene("HTTP 500", "http_500", FALLBACK),
    Scene("HTTP 404", "http_404", FALLBACK),
    Scene("HTML", "html_200", FALLBACK),
    Scene("empty", "no_bytes_200", FALLBACK),
    Scene("reset", "reset_at_once", FALLBACK),
    Scene("hung", "silence", FALLBACK),
    Scene("cut", "reset_in_the_middle", BOTH),
    Scene("stalled", "stall_in_the_middle", BOTH),
)

RECOVERED = Scene("recovered", "healthy", SERVER)


@dataclass
class Row:
    """What one start of one release gave."""

    release: str
    api: str
    stream: str
    """``API_STREAM_CHATS``."""
    good: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    problem: str = ""

    def text(self) -> str:
        way = "streamed" if self.stream == "ON" else "plain"
        wrong = self.problem or "; ".join(self.bad)
        return (
            f"| {self.release} | {self.api} | {way} | {len(self.good)} of {len(self.good) + len(self.bad)} | {wrong} |"
        )


class ReleaseServer(FaultServer):
    """The fault server, whose healthy replies differ: Z-Waif asks again when a reply repeats."""

    def play(self, talk: Talk) -> None:
        if self.fault != "healthy":
            super().play(talk)
            return
        words = [*HALF.split(" "), *f"for the {len(self.asked)}. time.".split(" ")]
        pieces = [f"{word} " for word in words if word]
        if not talk.request_body.get("stream"):
            message = {"role": "assistant", "content": "".join(pieces)}
            body = {"model": "m", "done": True, "message": message, "choices": [{"message": message}]}
            talk.body_of(200, json.dumps(body).encode())
            return
        talk.open_stream()
        talk.say(pieces)
        talk.complete()


class Stage:
    """One running release and the server that it talks to."""

    def __init__(self, port: int) -> None:
        self._server: ReleaseServer | None = ReleaseServer(port)
        self.port = self._server.server_port
        self._server.__enter__()

    def play(self, scene: Scene, host: HostProcess) -> str:
        """Send one message. Return what was wrong with its answer, or an empty string."""
        self._serve(scene.fault)
        return wrong_with(_say(host, scene.name), scene)

    def recover(self, host: HostProcess) -> str:
        """Let the server answer again. Return what was wrong if Z-Waif does not go back to it."""
        self._serve("healthy")
        deadline = time.monotonic() + RECOVERED_WITHIN
        while time.monotonic() < deadline:
            wrong = wrong_with(_say(host, "the time since then"), RECOVERED)
            if not wrong:
                return ""
            time.sleep(0.5)
        return wrong

    def close(self) -> None:
        self._serve("")

    def _serve(self, fault: str) -> None:
        if not fault and self._server is not None:
            self._server.stop()
            self._server = None
        elif fault and self._server is None:
            self._server = ReleaseServer(self.port)
            self._server.__enter__()
        if self._server is not None:
            self._server.fault = fault


def _say(host: HostProcess, about: str) -> Turn:
    return host.say(f"Tell me something nice. This message is about {about}.", lambda _: None)


def wrong_with(turn: Turn, scene: Scene) -> str:
    """Return why this turn is not what the scene asks for; empty if it is."""
    if turn.error or not turn.reply.strip():
        return f"{scene.name}: {turn.error or 'no reply'}"
    begun = HALF.strip() in turn.reply
    by = (BOTH if begun else FALLBACK) if turn.fallback else SERVER
    return "" if by == scene.expected else f"{scene.name}: answered by {by}"


def drive(tree: Path, row: Row, scenes: Sequence[Scene], more: dict[str, str], log: Path) -> None:
    """Start one release, play the scenes, and fill the row."""
    old = not (tree / "API" / "api_controller.py").is_file()
    stage = Stage(zwaif_copy.OLD_PORT if old else 0)
    with tempfile.TemporaryDirectory(prefix="zwaif-release-", ignore_cleanup_errors=True) as scratch:
        env = environment(Path(scratch) / "site")
        env["OLLAMA_HOST"] = f"http://127.0.0.1:{stage.port}"
        values = {**SETTINGS, "API_TYPE": row.api, "API_STREAM_CHATS": row.stream, "ZW_OLLAMA_MODEL": "m"}
        values |= {"HOST_PORT": f"127.0.0.1:{stage.port}", **more}
        host = HostProcess(zwaif_copy.prepare(tree, Path(scratch), values, env), env, log)
        try:
            host.event("ready")
            host.wait_until_loaded()
            for scene in scenes:
                wrong = stage.play(scene, host) or stage.recover(host)
                (row.bad if wrong else row.good).append(wrong or scene.name)
        finally:
            host.close()
            stage.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if any scene went wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.releases", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("trees", nargs="+", type=Path, metavar="TREE", help="a folder with a release's main.py")
    parser.add_argument("--api", nargs="+", default=["Oobabooga"], choices=["Oobabooga", "Ollama"])
    parser.add_argument("--stream", nargs="+", default=["ON", "OFF"], choices=["ON", "OFF"])
    parser.add_argument("--only", nargs="+", choices=[scene.name for scene in SCENES], help="play these scenes only")
    parser.add_argument("--env", nargs="+", default=[], metavar="KEY=VALUE", help="more lines for the release's .env")
    parser.add_argument("--log", type=Path, help="keep what the last Z-Waif printed in this file")
    chosen = parser.parse_args(arguments)
    scenes = [scene for scene in SCENES if not chosen.only or scene.name in chosen.only]
    more = dict(line.split("=", 1) for line in chosen.env)
    failed = False
    print("| release | server | replies | right | what went wrong |\n|---|---|---|---|---|", flush=True)
    for tree, api, stream in product(chosen.trees, chosen.api, chosen.stream):
        row = Row(tree.resolve().name, api, stream)
        with tempfile.TemporaryDirectory(prefix="zwaif-release-log-", ignore_cleanup_errors=True) as folder:
            try:
                drive(tree, row, scenes, more, chosen.log or Path(folder) / "host.log")
            except (DemoError, zwaif_copy.UnusableTree) as error:
                row.problem = " ".join(str(error).split())[-400:]
        print(row.text(), flush=True)
        failed = failed or bool(row.bad or row.problem)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
