"""From a server that is gone to the first sentence, in a host's own process: cold, with one standing by, and warm.

    python -m benchmarks.takeover MODEL [--runs 5] [--ways cold,standby,warm,hung] [--device auto]

MODEL is a GGUF file or a folder with safetensors. Each run is a stand-in host, started anew, that gets one message
just after its server has gone. ``text`` and ``sentence`` are seconds from the host's own call until the
first text is there and until the first sentence is spoken; ``load`` is what the model took to load, as its engine
tells. ``engine`` is the engine by itself, its libraries imported: to load, and to read the very same prompt.
``hung`` is a server that answered six times at once and then never again, and the message after that one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from zwaif_fallback.engine_types import Generation, LoadOptions
from zwaif_fallback.engines.factory import make_engine
from zwaif_fallback.prompt import formats
from zwaif_fallback.standin import copy_tree
from zwaif_fallback.standin.launch import environment
from zwaif_fallback.workers.worker_process import worker_environment
from zwaif_hooks.messages import Message, ModelInfo, Sampling
from zwaif_hooks.specs import hookimpl

WAYS = {
    "cold": {"API_FALLBACK_STANDBY": "OFF"},
    "standby": {"API_FALLBACK_STANDBY": "ON"},
    "warm": {"API_FALLBACK_PRELOAD": "start"},
    "hung": {"API_FALLBACK_STANDBY": "ON"},
}
SERVED = 6
"""Replies of the server before it hangs."""
READY = "ready"
LONGEST = 900.0
"""Seconds; a machine that is busy with other things lets nothing stand by for minutes."""
Row = dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--device", default="auto", help="as in API_FALLBACK_DEVICE")
    asked = parser.parse_args()
    print(f"{asked.model.name}, medians of {asked.runs} runs, seconds; load average {os.getloadavg()[0]:.1f}")
    print(f"{'':18}{'load':>8}{'text':>8}{'sentence':>10}{'on top of the engine':>22}")
    prompt: dict[str, Any] = {}
    rows: dict[str, list[Row]] = {}
    for _ in range(asked.runs):
        for way in asked.ways.split(","):
            for name, row in one_run(way, asked.model.resolve(), asked.device, prompt).items():
                rows.setdefault(name, []).append(row)
        rows.setdefault("engine", []).append(engine_alone(asked.model.resolve(), asked.device, prompt))
    engine = {key: statistics.median(row[key] for row in rows["engine"]) for key in ("load", "text")}
    for name, made in rows.items():
        median = {key: statistics.median(row[key] for row in made) for key in made[0]}
        own = engine["text"] + (0.0 if name in ("warm", "hung, next") else engine["load"])
        top = "" if name == "engine" or name.startswith("hung") else f"{median['text'] - own:22.2f}"
        sentence = f"{median['sentence']:10.2f}" if "sentence" in median else " " * 10
        print(f"{name:18}{median['load']:8.2f}{median['text']:8.2f}{sentence}{top}")
    return 0


def one_run(way: str, model: Path, device: str, prompt: dict[str, Any]) -> dict[str, Row]:
    """What a fresh host tells of one or two messages."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch, contextlib.closing(Server()) as server:
        folder = Path(scratch)
        values = {"HOST_PORT": server.address, "API_FALLBACK_MODEL": str(model), "USE_CHATPOPS": "OFF"}
        values["API_FALLBACK_DEVICE"] = device
        tree = copy_tree(folder / "z-waif", values | WAYS[way])
        env = environment(folder / "site") | {"ZWAIF_STANDIN_UI": "OFF"}
        env["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), env.get("PYTHONPATH", "")])
        command = [sys.executable, __file__, way]
        with (folder / "log").open("w", encoding="utf-8") as log:
            host = subprocess.Popen(
                command, cwd=tree, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
            assert host.stdout is not None
            if host.stdout.readline().strip() == READY:
                server.hang() if way == "hung" else server.close()
            out = host.communicate("\n")[0]
        if host.returncode:
            raise SystemExit((folder / "log").read_text(encoding="utf-8"))
        told = json.loads(out.splitlines()[-1])
    prompt.update(told.pop("prompt"))
    return {name: dict(row) for name, row in told.items()}


class Server:
    """Answers at once, until it hangs or is closed."""

    def __init__(self) -> None:
        self._hangs, self._over = threading.Event(), threading.Event()
        over, hangs = self._over, self._hangs

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                if hangs.is_set():
                    over.wait(LONGEST)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                for piece, reason in ((f"It is {time.time():.2f}. ", None), ("", "stop")):
                    choice = {"delta": {"content": piece}, "finish_reason": reason}
                    self.wfile.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def hang(self) -> None:
        self._hangs.set()

    def close(self) -> None:
        """Nothing listens there afterwards. May be called twice."""
        self._over.set()
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()


def engine_alone(model: Path, device: str, prompt: dict[str, Any]) -> Row:
    """In a process of its own, whose imports do not count."""
    command = [sys.executable, __file__, "engine", str(model), device, json.dumps(prompt)]
    done = subprocess.run(command, env=worker_environment(os.environ), stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


# In the processes that are measured


class Prompt:
    """A plugin that only listens: what the prompt is made of."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}

    @hookimpl
    def format_prompt(self, messages: list[Message], model: ModelInfo) -> None:
        self.told = {"text": formats.render(messages, model)}


def tell_host(way: str) -> None:
    """Runs inside the stand-in host's process."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path[0] = str(Path.cwd())
    import importlib

    host: Any = importlib.import_module("main")
    host.run_program()
    from zwaif_fallback import plugin

    controls = plugin.service().controls
    until(lambda: plugin._host is not None)
    assert plugin._host is not None
    listener = Prompt()
    plugin._host.plugins.register(listener, "prompt")
    if way in ("standby", "hung"):
        until(lambda: controls.standing_by() > 0)
    if way == "warm":
        until(lambda: controls.loaded() is not None)
    if way == "hung":
        for number in range(SERVED):
            spoken(host, f"Number {number}, please.")
    print(READY, file=out, flush=True)
    sys.stdin.readline()
    told: dict[str, Any] = {}
    for name in ("hung", "hung, next") if way == "hung" else (way,):
        sentence = spoken(host, "Tell me something nice.")
        record = plugin._host.records.recent()[-1]
        loaded = controls.loaded()
        load = loaded.load_seconds if loaded is not None and name != "hung, next" else 0.0
        told[name] = {"load": load, "text": record.detected_after + record.taken_over_after, "sentence": sentence}
    out.write(json.dumps(told | {"prompt": listener.told}) + "\n")
    out.flush()
    os._exit(0)


def spoken(host: Any, text: str) -> float:
    """Seconds until the host speaks the first sentence of the reply, which is heard to its end."""
    voice: Any = sys.modules["utils.voice"]
    log = Path("Spoken.jsonl")
    before = len(log.read_text(encoding="utf-8").splitlines()) if log.exists() else 0
    began = time.time()
    host.main_converse(text)
    assert voice.spoken
    return float(json.loads(log.read_text(encoding="utf-8").splitlines()[before])["at"]) - began


def tell_engine(model: str, device: str, prompt: dict[str, Any]) -> None:
    options = LoadOptions(model, device=device)
    engine = make_engine(options)
    engine.prepare(options)
    began = time.perf_counter()
    engine.load(options, lambda line: None)
    loaded = time.perf_counter()
    next(engine.generate(Generation(prompt["text"], max_tokens=20, sampling=Sampling(temperature=0))))
    print(json.dumps({"load": loaded - began, "text": time.perf_counter() - loaded}), flush=True)
    os._exit(0)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"nothing within {LONGEST:.0f} s")
        time.sleep(0.02)


if __name__ == "__main__":
    if sys.argv[1] == "engine":
        tell_engine(sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))
    elif sys.argv[1] in WAYS:
        tell_host(sys.argv[1])
    else:
        sys.exit(main())
