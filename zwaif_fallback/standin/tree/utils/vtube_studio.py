"""Emotes: which of the words in ``EmoteLib.json`` a reply contains."""

import utils.settings

EMOTE_LIB = utils.settings.read_json("EmoteLib.json")
emote_string = ""
streaming_emotes = []
shown = []


def set_emote_string(text):
    global emote_string
    emote_string = text


def check_emote_string():
    for words, number in EMOTE_LIB:
        if any(word.lower() in emote_string.lower() for word in words):
            shown.append(number)


def check_emote_string_streaming():
    """Each emote once a reply."""
    for words, number in EMOTE_LIB:
        if number not in streaming_emotes and any(word.lower() in emote_string.lower() for word in words):
            streaming_emotes.append(number)
            shown.append(number)


def clear_streaming_emote_list():
    streaming_emotes.clear()
