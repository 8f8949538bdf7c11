"""The voice: what would be heard is written to ``Spoken.jsonl``, a line with text and time for each utterance."""

import json
import re
import time
from pathlib import Path

import API.api_controller  # speaking pulls in the controller, and that pulls in main once more

is_speaking = False
cut_voice = False
spoken = []
_EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f\u200d]")


def without_emoji(text):
    return _EMOJI.sub("", text)


def set_speaking(value):
    global is_speaking
    is_speaking = value


def force_cut_voice():
    global cut_voice
    cut_voice = True


def speak_line(text, refuse_pause):
    global is_speaking
    spoken.append(text)
    with Path("Spoken.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"text": text, "at": time.time(), "refuse_pause": refuse_pause}) + "\n")
    is_speaking = False


def check_if_speaking():
    return is_speaking
