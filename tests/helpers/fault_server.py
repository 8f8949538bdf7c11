"""The fault server with every row of the catalogue.

One row is one small function: it gets the conversation and writes (or does not write) bytes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from tests.helpers import fault_rows_before, fault_rows_middle, fault_rows_whole
from tests.helpers.fault_rows_before import RETRY_AFTER
from zwaif_hooks.testing import fault_server
from zwaif_hooks.testing.fault_talk import HALF, REPLY, UNFINISHED, WORDS, Talk
from zwaif_hooks.testing.faults import FAULTS

__all__ = ["HALF", "REPLY", "RETRY_AFTER", "ROWS", "UNFINISHED", "WORDS", "FaultServer", "Talk"]

HEALTHY: dict[str, str] = {
    "healthy": REPLY,
    "one_json_body": REPLY,
    "role_and_reasoning_first": REPLY,
    "emoji_in_two_halves": "Hi \U0001f600 there.",
    "damaged_line": REPLY,
    "only_done_marker": REPLY,
    "honest_sorry": "Sorry, I'm late. The bus did not come.",
}
"""Row → the reply that Z-Waif must get from the primary."""

BEFORE_TEXT = (
    "http_400",
    "http_401",
    "http_404",
    "http_429",
    "http_500",
    "http_503",
    "html_200",
    "error_in_200",
    "no_bytes_200",
    "blank_reply",
    "no_text_json",
    "silence",
    "headers_then_silence",
    "comments_only",
    "role_then_silence",
    "reset_at_once",
    "apology_of_v114",
)
"""Rows that fail before a word was said."""

IN_THE_MIDDLE = ("reset_in_the_middle", "polite_end_in_the_middle", "error_in_the_middle", "stall_in_the_middle")
"""Rows that fail after ``HALF``."""

OTHERS = (
    "late_but_alive",
    "http_429_until",
    "finished_in_the_middle",
    "lists_models_but_hangs",
    "loading_503",
    "busy_503",
    "no_models_loaded",
    "no_model_503",
    "runner_died_500",
    "wrong_host_400",
    "role_then_abort",
    "headers_then_abort",
    "finish_without_text",
    "reasoning_for_ever",
    "reasoning_then_finish",
    "comments_for_ever",
    "comments_in_the_middle_for_ever",
    "cut_without_end",
    "empty_delta_then_end",
    "error_of_vllm_in_the_middle",
    "piece_lost_in_the_middle",
    "finish_without_done",
    "finish_then_abort",
    "finish_then_silence",
    "done_then_silence",
    "odd_last_chunks",
    "endless",
    "refuses_a_parameter",
    "counts_its_tokens",
)
"""What becomes of these is in the catalogue."""

ROWS: dict[str, Callable[[Talk], None]] = FAULTS | {
    name: row
    for family in (fault_rows_whole, fault_rows_before, fault_rows_middle)
    for name, row in vars(family).items()
    if inspect.isfunction(row)
}


class FaultServer(fault_server.FaultServer):
    """The server that plugin authors get, with every row."""

    rows = ROWS
