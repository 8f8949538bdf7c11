"""What LM Studio does with one request, by name: each row plays one prediction, or the loading before it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from zwaif_hooks.testing.fault_talk import MOST_PINGS, PING_SECONDS, WORDS

if TYPE_CHECKING:
    from tests.helpers.lmstudio_server import Talk

MOST_WORDS = 20_000
NO_SUCH_MODEL = {"rootTitle": "No model found", "displayData": {"code": "generic.noModelMatchingQuery", "query": {}}}


# --- while the model is being loaded ---------------------------------------------------------------------------------


def no_such_model(talk: Talk) -> None:
    talk.refuse(NO_SUCH_MODEL)


def no_model_loaded(talk: Talk) -> None:
    talk.refuse({"rootTitle": "No models loaded. Please load a model in the developer page."})


def load_fails(talk: Talk) -> None:
    talk.refuse({"rootTitle": "Failed to load model: not enough memory"})


def load_hangs(talk: Talk) -> None:
    """The loop goes on reading; nothing is said."""


def loads_for_ever(talk: Talk) -> None:
    for number in range(MOST_PINGS):
        talk.progress("loadProgress", number / MOST_PINGS)
        if talk.server.stopping.wait(PING_SECONDS):
            return


def loads_first(talk: Talk) -> None:
    """Loaded when the test says so."""
    talk.progress("loadProgress", 0.1)
    talk.server.release.wait(20)
    talk.loaded()


LOADING = ("no_such_model", "no_model_loaded", "load_fails", "load_hangs", "loads_for_ever", "loads_first")


# --- before the first word -------------------------------------------------------------------------------------------


def not_authorised(talk: Talk) -> None:
    """Never played: the connection is refused before anything is asked."""
    talk.reset()


def blank(talk: Talk) -> None:
    talk.say(["", " \n"])
    talk.complete()


def finish_without_text(talk: Talk) -> None:
    talk.complete("contextLengthReached")


def failed(talk: Talk) -> None:
    talk.complete("failed")


def error_event(talk: Talk) -> None:
    talk.event({"type": "error", "error": {"rootTitle": "CUDA out of memory"}})
    talk.close_channel()


def context_too_long(talk: Talk) -> None:
    talk.refuse({"rootTitle": "The number of tokens to keep is greater than the context length"})


def crashed_at_start(talk: Talk) -> None:
    talk.refuse({"rootTitle": "The model has crashed without additional information. (Exit code: 6)"})


def channel_closed(talk: Talk) -> None:
    talk.close_channel()


def reset(talk: Talk) -> None:
    talk.reset()


def silence(talk: Talk) -> None:
    """The loop goes on reading; nothing is said."""


def empty_piece_then_silence(talk: Talk) -> None:
    talk.progress("promptProcessingProgress", 1.0)
    talk.say([""])


def reads_the_prompt_for_ever(talk: Talk) -> None:
    for number in range(MOST_PINGS):
        talk.ping()
        talk.progress("promptProcessingProgress", number / MOST_PINGS)
        if talk.server.stopping.wait(PING_SECONDS):
            return


def reasoning_for_ever(talk: Talk) -> None:
    for _ in range(MOST_PINGS):
        talk.say(["hm "], reasoning="reasoning")
        if talk.server.stopping.wait(PING_SECONDS):
            return


def reasoning_then_finish(talk: Talk) -> None:
    talk.say(["hm "], reasoning="reasoning")
    talk.complete()


# --- in the middle ---------------------------------------------------------------------------------------------------


def reset_in_the_middle(talk: Talk) -> None:
    talk.say(WORDS[:4])
    talk.until_read()
    talk.reset()


def closed_in_the_middle(talk: Talk) -> None:
    talk.say(WORDS[:4])
    talk.close_channel()


def empty_piece_then_closed(talk: Talk) -> None:
    talk.say([*WORDS[:4], ""])
    talk.close_channel()


def unloaded_in_the_middle(talk: Talk) -> None:
    talk.say(WORDS[:4])
    talk.complete("modelUnloaded")


def error_in_the_middle(talk: Talk) -> None:
    talk.say(WORDS[:4])
    error_event(talk)


def failed_in_the_middle(talk: Talk) -> None:
    talk.say(WORDS[:4])
    failed(talk)


def damaged_in_the_middle(talk: Talk) -> None:
    talk.say(WORDS[:4])
    talk.until_read()
    talk.damaged()


def stall_in_the_middle(talk: Talk) -> None:
    talk.say(WORDS[:4])


def half_a_frame(talk: Talk) -> None:
    """Of this connection nothing is heard any more, not even its end; a new one would be served."""
    talk.say(WORDS[:4])
    talk.request.sendall(b"\x81\x7e\x00")
    talk.be_silent()


def pings_in_the_middle_for_ever(talk: Talk) -> None:
    talk.say(WORDS[:4])
    for _ in range(MOST_PINGS):
        talk.ping()
        if talk.server.stopping.wait(PING_SECONDS):
            return


def finished_in_the_middle(talk: Talk) -> None:
    talk.say(["I was going to ", "tell you about ", "the"])
    talk.complete()


# --- replies that are whole ------------------------------------------------------------------------------------------


def healthy(talk: Talk) -> None:
    talk.say(WORDS)
    talk.complete()


def odd_events(talk: Talk) -> None:
    """Reading the prompt, thoughts, empty pieces, and events that only LM Studio's own window shows."""
    talk.progress("promptProcessingProgress", 0.5)
    talk.say(["<think>"], reasoning="reasoningStartTag")
    talk.say(["hm "], reasoning="reasoning")
    talk.say(["</think>"], reasoning="reasoningEndTag")
    talk.say(["", *WORDS, ""])
    talk.event({"type": "toolCallGenerationStart"})
    talk.complete()


def success_then_silence(talk: Talk) -> None:
    """Finished, and the channel is kept open all the same."""
    talk.say(WORDS)
    talk.success()


def endless(talk: Talk) -> None:
    for _ in range(MOST_WORDS):
        talk.say(["hello. "])
    talk.complete()


BEFORE_TEXT = (
    "no_such_model",
    "load_fails",
    "load_hangs",
    "blank",
    "failed",
    "error_event",
    "channel_closed",
    "reset",
    "silence",
)
IN_THE_MIDDLE = (
    "reset_in_the_middle",
    "closed_in_the_middle",
    "unloaded_in_the_middle",
    "error_in_the_middle",
    "stall_in_the_middle",
)
ROWS: dict[str, Callable[[Talk], None]] = {
    name: row for name, row in list(globals().items()) if inspect.isfunction(row)
}
