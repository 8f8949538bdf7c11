"""Memory: the earlier exchange that shares most words with what is being talked about. Kept in memory only."""

import re

import API.api_controller
import utils.zw_logging

history_database = []
current_rag_message = ""


def _words(text):
    return {word for word in re.findall(r"\w+", text.lower()) if len(word) > 3}


def add_message_to_database():
    """The last exchange, unless it is there already or a system message."""
    entry = API.api_controller.ooga_history[-1][:2]
    if entry not in history_database[-1:] and not entry[0].startswith("[System"):
        history_database.append(entry)


def remove_latest_database_message():
    if history_database:
        history_database.pop()


def run_based_rag(message, her_previous):
    global current_rag_message
    wanted = _words(f"{message} {her_previous}")
    best = max(history_database, key=lambda entry: len(wanted & _words(" ".join(entry))), default=None)
    current_rag_message = f"[System M] Past memory:\n{best[0]}\n{best[1]}" if best else ""
    utils.zw_logging.update_rag_log(current_rag_message)


def call_rag_message():
    return current_rag_message


def load_rag_history():
    history_database[:] = [entry[:2] for entry in API.api_controller.ooga_history]


def store_rag_history():
    utils.zw_logging.update_rag_log(f"{len(history_database)} exchanges remembered.")
