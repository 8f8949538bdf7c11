"""Runs inside the stand-in's process: does what the test says with the host's own functions and reports its state.

python outage_child.py HOST_LOG        in the host's folder; commands and states are JSON lines
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zwaif_fallback.demo.host_child import pipes
from zwaif_hooks.messages import AnswerRecord, Message, PrimaryFailure
from zwaif_hooks.specs import hookimpl

WAIT = 30.0


class Watch:
    """A plugin that only listens; the entry point of the test's own distribution names the object below."""

    def __init__(self) -> None:
        self.records: list[AnswerRecord] = []
        self.failures: list[PrimaryFailure] = []
        self.well = threading.Event()
        self.well.set()
        self.told = ""
        self.host: Any = None
        self.started = threading.Event()
        self.turns_before = 0

    @hookimpl
    def zwaif_started(self, host: Any) -> None:
        self.host = host
        self.started.set()

    def begin(self) -> None:
        self.records.clear()
        self.failures.clear()
        self.turns_before = len(self._turns())

    def _turns(self) -> list[Any]:
        if not self.started.wait(WAIT):
            raise TimeoutError("the plugins were never told that the host is up")
        return list(self.host.records.recent())

    def catch_up(self) -> None:
        """Until every answer was told: plugins that were found by themselves are told in a thread of their own."""
        turns = self._turns()[self.turns_before :]
        answered = sum(turn.answered_by not in ("", "primary") and turn.fallback_tokens > 0 for turn in turns)
        for _ in range(500):
            if len(self.records) >= answered:
                return
            time.sleep(0.01)

    @hookimpl
    def format_prompt(self, messages: Sequence[Message]) -> None:
        self.told = messages[-1].content

    @hookimpl
    def fallback_answered(self, record: AnswerRecord) -> None:
        self.records.append(record)

    @hookimpl
    def primary_failed(self, failure: PrimaryFailure) -> None:
        self.failures.append(failure)
        self.well.clear()

    @hookimpl
    def primary_recovered(self) -> None:
        self.well.set()


watch = Watch()


class Host:
    """The imported stand-in, and a fresh chat for each test."""

    def __init__(self) -> None:
        import importlib

        self.main: Any = importlib.import_module("main")
        self.controller: Any = sys.modules["API.api_controller"]
        self.voice: Any = sys.modules["utils.voice"]
        self.log: Any = sys.modules["utils.zw_logging"]
        self.watch: Watch = sys.modules["outage_child"].watch
        self.main.run_program()
        # The tests let outages follow one another within seconds: each is one of its own, not a flapping server.
        sys.modules["zwaif_hooks.failover.recovery"].__dict__["FLAPPING_SECONDS"] = 0.0

    def fresh(self, stream: bool) -> None:
        self.controller.ooga_history[:] = [["Hello, I am back!", "Welcome back! *smiles*"]]
        self.controller.save_histories()
        self.controller.stored_received_message = "None!"
        sys.modules["utils.settings"].stream_chats = stream
        self.voice.spoken.clear()
        self.watch.begin()
        self.log.debug_log = ""

    def do(self, command: dict[str, Any]) -> None:
        if "fresh" in command:
            self.fresh(command["fresh"])
        if command.get("skip_once"):
            sys.modules["utils.hotkeys"].do_next_press_input()
        if "say" in command:
            self.main.main_converse(command["say"])
        if "picture" in command:
            data = base64.b64decode(command["picture"])
            sys.modules["utils.camera"].__dict__["capture_pic"] = lambda: Path("LiveImage.png").write_bytes(data)
        if "run" in command:
            self.main.COMMANDS[command["run"]]()
        if command.get("until_well") and not self.watch.well.wait(WAIT):
            raise TimeoutError("the primary was never well again")

    def state(self, error: str) -> dict[str, Any]:
        self.watch.catch_up()
        return {
            "error": error,
            "history": json.loads(Path("LiveLog.json").read_text(encoding="utf-8")),
            "flags": [self.controller.is_in_api_request, self.controller.currently_sending_message],
            "received": self.controller.receive_via_oogabooga(),
            "summary": self.controller.receive_summary_via_oogabooga(),
            "spoken": list(self.voice.spoken),
            "log": str(self.log.debug_log),
            "told": self.watch.told,
            "torch": "torch" in sys.modules,
            "outages": [failure.kind.value for failure in self.watch.failures],
            "answers": [
                {
                    "plugin": r.plugin,
                    "by": r.answered_by,
                    "kind": r.failure.kind.value,
                    "text": r.text,
                    "why": r.request.purpose,
                }
                for r in self.watch.records
            ],
        }


def main(log: Path) -> int:
    """Serve commands until their pipe ends."""
    with pipes(log) as (commands, events):
        host = Host()
        for line in commands:
            error = ""
            try:
                host.do(json.loads(line))
            except Exception as problem:  # what the host dies of is what the test looks at
                error = f"{type(problem).__name__}: {problem}"
            events.write(json.dumps(host.state(error)) + "\n")
            events.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
