"""Summaries of what was said."""

import json
import random
from pathlib import Path

import API.api_controller
import utils.based_rag
import utils.zw_logging

use_rolling_summaries = False
summary_tokens_max_count = 310
search_point_size = 10
search_point_current_count = 0
live_summarization_log = []
_ASK = (
    "[System L] Please summarize all of these chat messages. They are memories of yours; say what matters most first."
)


def retrospect_random_mem_summary():
    """A random stretch of memory, summed up as a message of the chat."""
    history = utils.based_rag.history_database
    start = random.randint(0, max(0, len(history) - search_point_size))
    scope = history[start : start + search_point_size]
    messages = API.api_controller.encode_raw_new_api(scope, _ASK, search_point_size)
    API.api_controller.summary_memory_run_hard(messages, _ASK)


def retrospect_current_messages():
    """The latest stretch but the last two, summed up in a log of its own. IndexError while memory is too short."""
    history = utils.based_rag.history_database
    start = len(history) - search_point_size - 2
    scope = history[start : start + search_point_size]
    messages = API.api_controller.encode_raw_new_api(scope, _ASK, search_point_size)
    API.api_controller.regenerate_requests_count = 0
    API.api_controller.summary_memory_run_soft(messages, _ASK)
    live_summarization_log.append(API.api_controller.receive_summary_via_oogabooga())
    utils.zw_logging.update_debug_log(live_summarization_log[-1])
    Path("LiveSummaryLog.json").write_text(json.dumps(live_summarization_log, indent=4))


def load_past_summaries():
    live_summarization_log[:] = json.loads(Path("LiveSummaryLog.json").read_text())
