"""Runs in the demo's host process: reads commands, sends messages to the host, and reports what its user would see.

    python host_child.py HOST_LOG          in Z-Waif's folder; commands and events are JSON lines on stdin and stdout

Messages go through the host's own ``send_via_oogabooga``, as those from its page and microphone do. The host's output
goes to HOST_LOG. Commands: ``{"say": TEXT}``, and ``{"wait_for": [TEXT, …]}``, which waits for a line in the Debug tab
that contains one of the texts. There are no timeouts here: the parent process ends the host when it has waited enough.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

MODULE_SWITCHES = tuple(
    f"{module}_enabled" for module in ("rag", "vtube", "minecraft", "gaming", "alarm", "discord", "vision")
)
"""v1.14-R4 reads these before its start-up has set them."""
POLL_SECONDS = 0.02
OVERLAP = 200
"""How many characters show where a text that lost its beginning continues the earlier one."""
ANSWERED = "Successfully used fallback API: "


class Host:
    """The parts of the imported host that the demo uses."""

    def __init__(self) -> None:
        import importlib

        from dotenv import load_dotenv

        load_dotenv(".env")
        self.main: Any = importlib.import_module("main")
        self.controller: Any = self._controller()
        self.log: Any = sys.modules.get("utils.zw_logging") or sys.modules["utils.logging"]

    def _controller(self) -> Any:
        for name in ("API.api_controller", "API.Oogabooga_Api_Support"):
            if hasattr(sys.modules.get(name), "send_via_oogabooga"):
                return sys.modules[name]
        raise ImportError("This Z-Waif has no API controller.")

    def start(self) -> None:
        """Run the host's own start-up. It returns in the stand-in; Z-Waif's stays in its listening loop."""
        self.main.live_pipe_no_speak = True
        program = threading.Thread(target=self.main.run_program, daemon=True)
        program.start()
        until(lambda: self._has_started() or not program.is_alive())
        for switch in MODULE_SWITCHES:
            if not hasattr(sys.modules["utils.settings"], switch):
                setattr(sys.modules["utils.settings"], switch, False)

    def _has_started(self) -> bool:
        settings = sys.modules["utils.settings"]
        has_chatpops = not hasattr(settings, "chatpop_phrases") or bool(settings.chatpop_phrases)
        return bool(getattr(self.controller, "history_loaded", True)) and has_chatpops

    def debug_lines(self) -> list[str]:
        return self.debug_text().splitlines()

    def debug_text(self) -> str:
        return str(self.log.debug_log)


def lines_since(before: str, now: str) -> list[str]:
    """Return the lines added to the Debug tab's text. v1.14-R4 drops all but its last 10,000 characters."""
    start = 0 if now.startswith(before) else before.find(now[:OVERLAP])
    return now.removeprefix(before[start:] if start >= 0 else "").splitlines()


def until(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` is true. Polls, because the host offers nothing to wait on."""
    while not condition():
        time.sleep(POLL_SECONDS)


def say(host: Host, text: str, events: TextIO) -> None:
    """Send one message. Report each piece as it appears, then the reply and the fallback's log line, if any."""
    errors: list[str] = []
    before = host.debug_text()

    def ask() -> None:
        try:
            host.controller.send_via_oogabooga(text)
        except Exception as error:  # whatever went wrong, the demo reports it
            errors.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    shown = ""
    while thread.is_alive():
        thread.join(POLL_SECONDS)
        now = str(getattr(host.controller, "currently_streaming_message", ""))
        if now.startswith(shown) and now != shown:
            emit(events, piece=now[len(shown) :])
            shown = now
    fallback = [line for line in lines_since(before, host.debug_text()) if ANSWERED in line]
    reply = "" if errors else str(host.controller.receive_via_oogabooga())
    emit(events, reply=reply, fallback=fallback[-1] if fallback else "", error="; ".join(errors))


def emit(events: TextIO, **event: Any) -> None:
    events.write(json.dumps(event) + "\n")
    events.flush()


def wait_for(host: Host, texts: list[str], events: TextIO) -> None:
    found: list[str] = []

    def is_there() -> bool:
        found[:] = [line for line in host.debug_lines() if any(text in line for text in texts)]
        return bool(found)

    until(is_there)
    emit(events, found=found[-1])


@contextlib.contextmanager
def pipes(log: Path) -> Iterator[tuple[TextIO, TextIO]]:
    """Yield the streams for commands and events; run the host from its folder, with its output in ``log``.

    The streams are moved off the standard handles: on Windows, importing numpy blocks while a thread reads stdin.
    """
    commands, events = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    with log.open("w", encoding="utf-8") as sink, Path(os.devnull).open(encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        sys.path[0] = str(Path.cwd())
        yield commands, events


def main(log: Path) -> int:
    """Execute commands until their pipe is closed."""
    with pipes(log) as (commands, events):
        host = Host()
        host.start()
        emit(events, ready=True)
        for line in commands:
            command = json.loads(line)
            if "say" in command:
                say(host, command["say"], events)
            else:
                wait_for(host, command["wait_for"], events)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
