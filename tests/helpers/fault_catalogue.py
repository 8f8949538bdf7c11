"""The 35 ways in which local LLM servers are known to fail, by number: how each is played, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.helpers.fault_server import HALF, REPLY, UNFINISHED
from zwaif_hooks.messages import FailureKind

REQUESTS, OLLAMA, LMSTUDIO = "requests", "ollama", "lmstudio"
BOTH = (REQUESTS, OLLAMA)
"""The clients of the one server that speaks HTTP; LM Studio's protocol is played by a server of its own."""


@dataclass(frozen=True)
class Play:
    """One row of the fault server and its outcome."""

    row: str
    said: str = ""
    """What the primary says before it fails; all of it where it does not."""
    kind: FailureKind | None = None
    """Why the fallback went on from there; None where there is nothing to take over."""
    clients: tuple[str, ...] = BOTH
    """The client libraries whose protocol has this row."""


@dataclass(frozen=True)
class Entry:
    number: int
    fault: str
    """What the server does, in words for users."""
    gets: str
    """What Z-Waif gets."""
    plays: tuple[Play, ...] = ()
    studio: tuple[Play, ...] = ()
    """The same on LM Studio's own wire, played by ``lmstudio_rows``."""
    proof: str = ""
    """Where it is proven, or why there is nothing to play, for what the plays alone do not show."""
    studio_proof: str = ""
    """The same for LM Studio."""
    studio_cannot: str = ""
    """Why LM Studio's protocol has no such failure."""


def before(row: str, kind: FailureKind, *clients: str) -> Play:
    return Play(row, "", kind, clients or BOTH)


def after_half(row: str, kind: FailureKind, *clients: str) -> Play:
    return Play(row, HALF, kind, clients or BOTH)


def whole(row: str, *clients: str) -> Play:
    return Play(row, REPLY, None, clients or BOTH)


def studio_before(row: str, kind: FailureKind) -> Play:
    return before(row, kind, LMSTUDIO)


def studio_half(row: str, kind: FailureKind) -> Play:
    return after_half(row, kind, LMSTUDIO)


NO_STATUS = "its WebSocket has no status codes; "


LOCAL_REPLY = "the fallback's reply"
GOES_ON = "the fallback continues from that character"
OWN_REPLY = "the server's whole reply"

ENTRIES = (
    Entry(
        1,
        "Nothing listens",
        LOCAL_REPLY,
        proof="tests/faults/test_clients.py::test_refused",
        studio_proof="tests/faults/test_lmstudio.py::test_refused",
    ),
    Entry(
        2,
        "Accepts, then resets",
        LOCAL_REPLY,
        (before("reset_at_once", FailureKind.CUT),),
        studio=(studio_before("reset", FailureKind.CUT),),
    ),
    Entry(
        3,
        "Accepts, then not one byte",
        f"{LOCAL_REPLY}, at the first-token deadline",
        (
            before("silence", FailureKind.FIRST_TOKEN_TIMEOUT),
            before("headers_then_silence", FailureKind.FIRST_TOKEN_TIMEOUT),
        ),
        studio=(studio_before("silence", FailureKind.FIRST_TOKEN_TIMEOUT),),
    ),
    Entry(
        4,
        "Lists its models, but the chat hangs",
        f"{LOCAL_REPLY}; a model list does not count as a recovery",
        (before("lists_models_but_hangs", FailureKind.FIRST_TOKEN_TIMEOUT),),
        studio=(studio_before("silence", FailureKind.FIRST_TOKEN_TIMEOUT),),
    ),
    Entry(
        5,
        "Loads its model first",
        "the reply of whichever speaks first; if it is the server, it has not failed",
        proof="tests/faults/test_late_primary.py",
        studio_proof="tests/faults/test_lmstudio.py::test_a_model_that_is_loading_is_waited_for",
    ),
    Entry(
        6,
        "503 while it loads",
        LOCAL_REPLY,
        (before("loading_503", FailureKind.HTTP_ERROR),),
        studio_cannot=NO_STATUS + "a model that is loading reports its progress (rows 5 and 7).",
    ),
    Entry(
        7,
        "Lists its models while it loads",
        f"{LOCAL_REPLY}, until it gives a token",
        (before("loading_503", FailureKind.HTTP_ERROR),),
        studio=(
            studio_before("load_hangs", FailureKind.FIRST_TOKEN_TIMEOUT),
            studio_before("loads_for_ever", FailureKind.FIRST_TOKEN_TIMEOUT),
        ),
    ),
    Entry(
        8,
        'LM Studio: "No models loaded" (404)',
        f"{LOCAL_REPLY}; the console says once what to do",
        (before("no_models_loaded", FailureKind.NO_MODEL),),
        studio=(
            studio_before("no_such_model", FailureKind.MISCONFIGURED),
            studio_before("no_model_loaded", FailureKind.NO_MODEL),
        ),
    ),
    Entry(
        9,
        "200 with a JSON error instead of a stream",
        LOCAL_REPLY,
        (before("error_in_200", FailureKind.ERROR_BODY),),
        studio=(studio_before("error_event", FailureKind.ERROR_BODY),),
    ),
    Entry(
        10,
        "404, unknown model",
        f"{LOCAL_REPLY}; the console says once what to do",
        (before("http_404", FailureKind.MISCONFIGURED),),
        studio=(studio_before("no_such_model", FailureKind.MISCONFIGURED),),
    ),
    Entry(
        11,
        "Ollama's queue is full: 503, or silence",
        LOCAL_REPLY,
        (before("busy_503", FailureKind.HTTP_ERROR), before("silence", FailureKind.FIRST_TOKEN_TIMEOUT)),
        studio_cannot="only Ollama has a queue that can be full; LM Studio queues in silence (row 3).",
    ),
    Entry(
        12,
        "text-generation-webui without a model: role chunk, then abort; or an empty 200; or 503",
        f"{LOCAL_REPLY}; the server is asked which model it has loaded, and the console says once to load one",
        (
            before("role_then_abort", FailureKind.CUT),
            before("blank_reply", FailureKind.EMPTY),
            before("http_503", FailureKind.HTTP_ERROR),
            before("no_model_503", FailureKind.NO_MODEL),
        ),
        proof="tests/faults/test_explained.py::test_a_server_without_a_model_is_told_once_with_the_remedy",
        studio=(studio_before("channel_closed", FailureKind.CUT),),
    ),
    Entry(
        13,
        "text-generation-webui rejects a parameter: 200, then the connection ends without a byte",
        f"{LOCAL_REPLY}; the request is sent once more without streaming, and the console says why it was rejected",
        (before("headers_then_abort", FailureKind.CUT), before("no_bytes_200", FailureKind.CUT)),
        proof="tests/faults/test_explained.py::test_a_refused_parameter_is_told_once_in_the_servers_own_words",
        studio_cannot="a parameter it does not accept is an error event, in a stream as well (row 9).",
    ),
    Entry(
        14,
        "Runs out of memory in mid-sentence and reports the reply as finished",
        "the server's words: only the text could tell, and a guess never overrules the server",
        (Play("finished_in_the_middle", UNFINISHED),),
        studio=(Play("finished_in_the_middle", UNFINISHED, None, (LMSTUDIO,)),),
    ),
    Entry(
        15,
        "Context window full: a finished reply without text",
        LOCAL_REPLY,
        (before("finish_without_text", FailureKind.EMPTY), before("no_text_json", FailureKind.EMPTY, REQUESTS)),
        studio=(studio_before("finish_without_text", FailureKind.EMPTY),),
    ),
    Entry(
        16,
        "Ollama, context window full: 400, or the start of the prompt silently dropped",
        f"{LOCAL_REPLY} for a 400; otherwise {OWN_REPLY}, and the console says once that the prompt was cut",
        (before("http_400", FailureKind.HTTP_ERROR),),
        proof="tests/faults/test_explained.py::test_a_shortened_prompt_is_told_once",
        studio=(studio_before("context_too_long", FailureKind.ERROR_BODY),),
    ),
    Entry(
        17,
        "The runner dies at the start: 500",
        LOCAL_REPLY,
        (before("runner_died_500", FailureKind.HTTP_ERROR),),
        studio=(
            studio_before("crashed_at_start", FailureKind.ERROR_BODY),
            studio_before("load_fails", FailureKind.ERROR_BODY),
        ),
    ),
    Entry(
        18,
        "The runner dies in mid-reply: an error line in the stream",
        GOES_ON,
        (after_half("error_in_the_middle", FailureKind.ERROR_BODY, OLLAMA),),
        studio=(studio_half("error_in_the_middle", FailureKind.ERROR_BODY),),
    ),
    Entry(
        19,
        "The same at Ollama's OpenAI endpoint: an empty delta, then the end",
        GOES_ON,
        (after_half("empty_delta_then_end", FailureKind.CUT),),
        studio=(studio_half("empty_piece_then_closed", FailureKind.CUT),),
    ),
    Entry(
        20,
        "An error object in the stream",
        GOES_ON,
        (
            after_half("error_in_the_middle", FailureKind.ERROR_BODY, REQUESTS),
            after_half("error_of_vllm_in_the_middle", FailureKind.ERROR_BODY, REQUESTS),
            after_half("error_of_vllm_in_the_middle", FailureKind.UNREADABLE, OLLAMA),
        ),
        studio=(
            studio_before("failed", FailureKind.CUT),
            studio_half("failed_in_the_middle", FailureKind.CUT),
        ),
    ),
    Entry(
        21,
        "Cut in mid-reply",
        GOES_ON,
        (after_half("cut_without_end", FailureKind.CUT), after_half("reset_in_the_middle", FailureKind.CUT)),
        studio=(studio_half("reset_in_the_middle", FailureKind.CUT),),
    ),
    Entry(
        22,
        "A clean end in mid-sentence, without a finish reason",
        GOES_ON,
        (after_half("polite_end_in_the_middle", FailureKind.CUT),),
        studio=(
            studio_half("closed_in_the_middle", FailureKind.CUT),
            studio_half("unloaded_in_the_middle", FailureKind.CUT),
        ),
    ),
    Entry(
        23,
        "A finish reason, but no `[DONE]`",
        f"{OWN_REPLY}, finished at once",
        (whole("finish_without_done"), whole("finish_then_abort"), whole("finish_then_silence")),
        studio=(whole("success_then_silence", LMSTUDIO),),
    ),
    Entry(
        24,
        "`[DONE]`, but no finish reason",
        OWN_REPLY,
        (whole("only_done_marker"), whole("done_then_silence", REQUESTS)),
        studio_cannot="the message with the finish reason is the only end mark; without it, see row 22.",
    ),
    Entry(
        25,
        "One damaged line, and the stream goes on",
        f"{OWN_REPLY}; where the line held text, {GOES_ON}",
        (whole("damaged_line"), after_half("piece_lost_in_the_middle", FailureKind.UNREADABLE)),
        studio=(studio_half("damaged_in_the_middle", FailureKind.CUT),),
    ),
    Entry(
        26,
        "Sends comments (`: ping`) for ever while it is stuck",
        f"{LOCAL_REPLY}, at the first-token deadline; in mid-reply {GOES_ON}",
        (
            before("comments_only", FailureKind.FIRST_TOKEN_TIMEOUT),
            before("comments_for_ever", FailureKind.FIRST_TOKEN_TIMEOUT),
            after_half("comments_in_the_middle_for_ever", FailureKind.STALLED),
        ),
        studio=(
            studio_before("reads_the_prompt_for_ever", FailureKind.FIRST_TOKEN_TIMEOUT),
            studio_half("pings_in_the_middle_for_ever", FailureKind.STALLED),
        ),
    ),
    Entry(
        27,
        "A role chunk, then nothing",
        f"{LOCAL_REPLY}, at the first-token deadline",
        (before("role_then_silence", FailureKind.FIRST_TOKEN_TIMEOUT),),
        studio=(studio_before("empty_piece_then_silence", FailureKind.FIRST_TOKEN_TIMEOUT),),
    ),
    Entry(
        28,
        "A stall in mid-reply",
        f"{GOES_ON}, at the stall deadline",
        (after_half("stall_in_the_middle", FailureKind.STALLED),),
        studio=(studio_half("stall_in_the_middle", FailureKind.STALLED),),
    ),
    Entry(
        29,
        "Generates, but delivers nothing",
        f"{LOCAL_REPLY}, at the first-token deadline",
        (
            before("headers_then_silence", FailureKind.FIRST_TOKEN_TIMEOUT),
            before("reasoning_for_ever", FailureKind.FIRST_TOKEN_TIMEOUT),
        ),
        studio=(
            studio_before("silence", FailureKind.FIRST_TOKEN_TIMEOUT),
            studio_before("reasoning_for_ever", FailureKind.FIRST_TOKEN_TIMEOUT),
        ),
    ),
    Entry(
        30,
        "An abandoned request keeps its slot",
        "the connection is closed at takeover, so the slot becomes free",
        proof="tests/faults/test_clients.py::test_the_servers_slot_becomes_free_when_a_reply_is_given_up",
        studio_proof="tests/faults/test_lmstudio.py::test_giving_up_on_a_stalled_reply_cancels_the_prediction",
    ),
    Entry(
        31,
        "429 with Retry-After",
        f"{LOCAL_REPLY}, at once; the server is not asked for that long",
        (before("http_429", FailureKind.RATE_LIMITED), before("http_429_until", FailureKind.RATE_LIMITED)),
        studio_cannot=NO_STATUS + "it has no rate limit.",
    ),
    Entry(
        32,
        "401, or text-generation-webui's 400 for the name it is called by",
        f"{LOCAL_REPLY}; the console says once what to do",
        (
            before("http_401", FailureKind.MISCONFIGURED),
            before("wrong_host_400", FailureKind.MISCONFIGURED),
        ),
        studio=(studio_before("not_authorised", FailureKind.MISCONFIGURED),),
    ),
    Entry(
        33,
        "A reply that never ends",
        "its words up to several times the requested length, ended after a sentence; then the connection is closed",
        (Play("endless", clients=()),),
        proof="tests/faults/test_endless_replies.py::test_a_reply_without_end",
        studio_proof="tests/faults/test_lmstudio.py::test_a_reply_without_end_is_cancelled_when_nobody_reads_it",
    ),
    Entry(
        34,
        "Chunks without text: role, usage, reasoning, an empty last delta",
        f"{OWN_REPLY}; if there is nothing else, {LOCAL_REPLY}",
        (
            whole("healthy"),
            whole("role_and_reasoning_first"),
            whole("odd_last_chunks", REQUESTS),
            before("reasoning_then_finish", FailureKind.EMPTY),
        ),
        studio=(
            whole("odd_events", LMSTUDIO),
            studio_before("reasoning_then_finish", FailureKind.EMPTY),
        ),
    ),
    Entry(
        35,
        "A blank reply, or one that repeats an earlier reply",
        f"{LOCAL_REPLY} for a blank one; the fallback never repeats an earlier reply word for word",
        (before("blank_reply", FailureKind.EMPTY),),
        proof="tests/faults/test_clients.py::test_a_repeated_reply_is_never_handed_over_as_it_is",
        studio=(studio_before("blank", FailureKind.EMPTY),),
    ),
)


def not_in_lmstudio() -> str:
    """Return the list below the table."""
    return "".join(f"- {entry.number}: {entry.studio_cannot}\n" for entry in ENTRIES if entry.studio_cannot)


def as_markdown() -> str:
    """Return the table of ``docs/failures.md``."""
    lines = [f"| {entry.number} | {entry.fault} | {entry.gets} |" for entry in ENTRIES]
    return "\n".join(["| # | What the server does | What Z-Waif gets |", "|---|---|---|", *lines]) + "\n"
