"""Runs inside a real Z-Waif: plays one scene a command through Z-Waif's own functions and reports what was heard.

    python child.py HOST_LOG SECONDS_A_WORD     in Z-Waif's folder; commands and events are JSON lines

The voice is replaced by one that takes the time to say a text and writes down when; the microphone by one that has
heard the text of the command. Everything between the two is Z-Waif's own. Each event says what was spoken (begin, end,
text), what is in the history, which line Z-Waif's log has of the fallback, and what was left stuck.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zwaif_fallback.demo.host_child import ANSWERED, MODULE_SWITCHES, emit, pipes

SKIP_BEHIND = 1
"""The listener presses the hotkey when so many texts were spoken: the chatpop, so that a short reply is not over."""
SUMMARY_OF = 4
"""Message pairs."""


class Voice:
    """Says texts one after the other, at a pace, and writes them down."""

    def __init__(self, seconds_a_word: float) -> None:
        self.pace = seconds_a_word
        self.heard: list[tuple[float, float, str]] = []
        self.when_said: Callable[[int], object] = lambda count: None

    def speak_line(self, text: str, refuse_pause: bool = False) -> None:
        began = time.perf_counter()
        time.sleep(self.pace * max(1, len(text.split())))
        self.heard.append((began, time.perf_counter(), text))
        self.when_said(len(self.heard))


class Game:
    """Minecraft's chat."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, text: str) -> None:
        self.sent.append(text)


class Host:
    """The imported Z-Waif."""

    def __init__(self, pace: float) -> None:
        import importlib

        from dotenv import load_dotenv

        load_dotenv(".env")
        self.main: Any = importlib.import_module("main")
        self.controller: Any = sys.modules["API.api_controller"]
        self.settings: Any = sys.modules["utils.settings"]
        self.voice, self.game = Voice(pace), Game()
        spoken: Any = sys.modules["utils.voice"]
        spoken.speak_line, spoken.check_if_speaking = self.voice.speak_line, lambda: False
        sys.modules["utils.minecraft"].chat = self.game  # type: ignore[attr-defined]

    def start(self) -> None:
        # The scenes do what Z-Waif's main loop would do; beside them it would take their keys.
        sys.modules["utils.hotkeys"].chat_input_await = threading.Event().wait  # type: ignore[attr-defined]
        threading.Thread(target=self.main.run_program, daemon=True).start()
        while not (self.controller.history_loaded and self.settings.chatpop_phrases):
            time.sleep(0.02)
        for switch in MODULE_SWITCHES:
            if not hasattr(self.settings, switch):
                setattr(self.settings, switch, False)

    def hears(self, text: str) -> None:
        """The microphone's next recording."""
        handle, place = tempfile.mkstemp(suffix=".wav")
        os.close(handle)
        sys.modules["utils.audio"].record = lambda: place  # type: ignore[attr-defined]
        sys.modules["utils.transcriber_translate"].transcribe_voice_to_text = lambda _: text  # type: ignore[attr-defined]

    def set(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(self.settings, name, value)

    # One function a scene.

    def play_talk(self, text: str) -> None:
        self.hears(text)
        self.main.main_converse()

    def play_reroll(self, _: str) -> None:
        self.main.main_next()

    def play_skip(self, text: str) -> None:
        """The hotkey "next" while she speaks: Z-Waif drops the reply and asks for another."""
        hotkeys: Any = sys.modules["utils.hotkeys"]

        def press(count: int) -> None:
            if count == SKIP_BEHIND:
                hotkeys.do_next_press_input()

        self.voice.when_said = press
        try:
            self.play_talk(text)
        finally:
            self.voice.when_said = lambda count: None

    def play_discord(self, text: str) -> None:
        self.main.main_discord_chat(text)

    def play_minecraft(self, text: str) -> None:
        self.main.main_minecraft_chat(text)

    def play_summary(self, _: str) -> None:
        retrospect: Any = sys.modules["utils.retrospect"]
        sys.modules["utils.based_rag"].history_database = [list(pair[:2]) for pair in self.controller.ooga_history]  # type: ignore[attr-defined]
        was = retrospect.use_rolling_summaries, retrospect.search_point_size
        retrospect.use_rolling_summaries, retrospect.search_point_size = True, SUMMARY_OF
        try:
            retrospect.retrospect_current_messages()
        finally:
            retrospect.use_rolling_summaries, retrospect.search_point_size = was
        self.main.summary_skip_speak = False

    def debug_lines(self) -> list[str]:
        log: Any = sys.modules.get("utils.zw_logging") or sys.modules["utils.logging"]
        return str(log.debug_log).splitlines()


def play(host: Host, scene: str, text: str) -> dict[str, Any]:
    """One scene, to its end."""
    if scene == "summary" and not hasattr(sys.modules["utils.retrospect"], "use_rolling_summaries"):
        return {"skipped": True}
    lines, history = len(host.debug_lines()), len(host.controller.ooga_history)
    host.voice.heard, host.game.sent = [], []
    sys.modules["utils.retrospect"].live_summarization_log = []  # type: ignore[attr-defined]
    error, began = "", time.perf_counter()
    try:
        getattr(host, f"play_{scene}")(text)
    except Exception as problem:  # whatever Z-Waif dies of is a result
        error = f"{type(problem).__name__}: {problem}"
    seconds = time.perf_counter() - began
    entries = host.controller.ooga_history
    summaries = sys.modules["utils.retrospect"].live_summarization_log
    new = host.debug_lines()[lines:]
    return {
        "seconds": seconds,
        "heard": [(begin - began, end - began, said) for begin, end, said in host.voice.heard],
        "reply": str(summaries[-1] if scene == "summary" and summaries else entries[-1][1] if entries else ""),
        "turns_added": len(entries) - history,
        "sent_to_game": host.game.sent,
        "fallback": [line.partition(ANSWERED)[2] for line in new if ANSWERED in line],
        "asked_again": sum("Bad message received" in line for line in new),
        "stuck": bool(host.controller.is_in_api_request),
        "error": error,
    }


def main(log: Path, pace: float) -> int:
    """Serve commands until their pipe ends: ``{"scene": …, "text": …, "set": {…}}`` and ``{"wait_for": TEXT}``."""
    with pipes(log) as (commands, events):
        host = Host(pace)
        host.start()
        emit(events, ready=True)
        for line in commands:
            command = json.loads(line)
            if "wait_for" in command:
                seen = len(host.debug_lines()) if command.get("from_now") else 0
                while not any(command["wait_for"] in line for line in host.debug_lines()[seen:]):
                    time.sleep(0.02)
                emit(events, found=True)
                continue
            host.set(command.get("set", {}))
            emit(events, **play(host, command["scene"], command.get("text", "")))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2])))
