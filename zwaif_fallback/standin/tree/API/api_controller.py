"""The controller: every question to the LLM server starts here.

As frail as the real thing, on purpose: no timeout, no error handling, stream chunks read without a look whether they
hold text, and the busy flags come down only where a reply ends well.
"""
# ruff: noqa: I001, E402  -- main has to be imported while this module is still half empty

import base64
import copy
import datetime
import html
import json
import os
import random
from pathlib import Path

import requests

try:
    import sseclient
except ImportError:  # the demo must run where Z-Waif's own requirements are not installed
    import utils.small_sse as sseclient

import main
import utils.based_rag
import utils.zw_logging
from dotenv import load_dotenv
import utils.settings
import utils.retrospect
import utils.lorebook
import utils.tag_task_controller
import utils.voice_splitter
import utils.voice
import utils.hotkeys
import utils.vtube_studio
import utils.hangout

load_dotenv()
API_TYPE = os.environ.get("API_TYPE")
API_TYPE_VISUAL = os.environ.get("API_TYPE_VISUAL")

import API.character_card
import API.oobaooga_api

if "Ollama" in (API_TYPE, API_TYPE_VISUAL):
    import API.ollama_api
if "LMStudio" in (API_TYPE, API_TYPE_VISUAL):
    import API.lmstudio_api

HOST = os.environ.get("HOST_PORT")
URI = f"http://{HOST}/v1/chat/completions"
IMG_PORT = os.environ.get("IMG_PORT")
IMG_URI = f"http://{IMG_PORT}/v1/chat/completions"
headers = {"Content-Type": "application/json"}

CHARACTER_CARD = os.environ.get("CHARACTER_CARD")
YOUR_NAME = os.environ.get("YOUR_NAME")
ENCODE_TIME = os.environ.get("TIME_IN_ENCODING")
OOBA_VISUAL_CHARACTER_NAME = os.environ.get("VISUAL_CHARACTER_NAME")
OOBA_VISUAL_PRESET_NAME = os.environ.get("VISUAL_PRESET_NAME")
OLLAMA_VISUAL_ENCODE_GUIDANCE = os.environ.get("OLLAMA_VISUAL_ENCODE_GUIDANCE")
OLLAMA_VISUAL_CARD = os.environ.get("OLLAMA_VISUAL_CARD")
max_context = int(os.environ.get("TOKEN_LIMIT"))
marker_length = int(os.environ.get("MESSAGE_PAIR_LIMIT"))

received_message = ""
received_summary = ""
history_loaded = False
ooga_history = [["Hello, I am back!", "Welcome back! *smiles*"]]
force_token_count = False
forced_token_level = 120
stored_received_message = "None!"
currently_sending_message = ""
currently_streaming_message = ""
last_message_received_has_own_name = False
last_message_streamed = False
streaming_sentences_ticker = 0
regenerate_requests_count = 0
regenerate_requests_limit = 4
force_skip_streaming = False
flag_end_streaming = False
is_in_api_request = False

soft_reset_message = utils.settings.read_json("SoftReset.json")
utils.settings.stopping_strings = utils.settings.read_json("StoppingStrings.json")
vision_guidance_message = "A picture is attached to this message. Say what you see in it, and stay in character!"


# Parts that all kinds of request share


def _begin(user_input, streamed):
    """Raise the busy flags. The history is read afresh by the chat requests only."""
    global is_in_api_request, currently_sending_message, currently_streaming_message, last_message_streamed
    global flag_end_streaming
    is_in_api_request = True
    flag_end_streaming = False
    currently_sending_message = user_input
    currently_streaming_message = ""
    last_message_streamed = streamed


def _end():
    """Lower the busy flags: reached at the normal end only."""
    global is_in_api_request, currently_sending_message
    currently_sending_message = ""
    is_in_api_request = False


def _read_history():
    global ooga_history
    ooga_history = json.loads(Path("LiveLog.json").read_text())


def _preset(temp_level):
    """A random preset; the hotter ones when the last reply was bad."""
    if utils.settings.model_preset != "Default":
        return utils.settings.model_preset
    hotter = {0: 0.25, 1: 1.0, 2: 1.0}[temp_level]
    name = "Tempered" if random.random() < hotter else "Standard"
    if temp_level == 2 or (temp_level == 1 and random.random() < 0.3):
        name = "Blazing"
    utils.zw_logging.kelvin_log = f"Z-Waif-ADEF-{name}"
    return f"Z-Waif-ADEF-{name}"


def _stop(cuts=True):
    stop = copy.deepcopy(utils.settings.stopping_strings)
    if cuts and utils.settings.newline_cut:
        stop.append("\n")
    if cuts and utils.settings.asterisk_ban:
        stop.append("*")
    return stop


def _max_tokens():
    return forced_token_level if force_token_count else utils.settings.max_tokens


def _ooba_chat(messages, temp_level, stream=False):
    task = utils.settings.cur_task_char
    request = {
        "messages": messages,
        "max_tokens": _max_tokens(),
        "mode": "chat",
        "character": CHARACTER_CARD if task == "None" else task,
        "truncation_length": max_context,
        "stop": _stop(),
        "preset": _preset(temp_level),
    }
    return {**request, "stream": True} if stream else request


def _exchange(user_input, reply, tags):
    return [user_input, reply, tags, f"{datetime.datetime.now():%Y-%m-%d %H:%M:%S}"]


def _bad_message(message):
    """``(what to add to the user's text, temperature level)`` where the reply has to be asked for again, else None."""
    global stored_received_message, regenerate_requests_count
    again = regenerate_requests_count < regenerate_requests_limit
    verdict = None
    if again and message == stored_received_message:
        verdict = ("", 2, "same as last attempted generation")
    else:
        stored_received_message = message
        if again and check_if_in_history(message):
            verdict = ("", 1, "same as a recent chat")
        elif again and len(message) < 3:
            verdict = (" Hmm.", 1, "chat is a runt or blank entirely")
    if verdict is None:
        regenerate_requests_count = 0
        return None
    regenerate_requests_count += 1
    utils.zw_logging.update_debug_log(f"Bad message received; {verdict[2]}. Asking again...")
    return verdict[:2]


def _keep(user_input, reply):
    """Log the exchange with tags and time, save, and be ready for the next one."""
    global force_token_count
    ooga_history.append(_exchange(user_input, reply, utils.tag_task_controller.apply_tags()))
    prune_deletables()
    force_token_count = False
    save_histories()
    _end()


# Chat


def run(user_input, temp_level):
    global received_message
    _begin(user_input, streamed=False)
    check_for_name_in_message(user_input)
    _read_history()
    messages = encode_new_api(user_input)
    if API_TYPE == "Oobabooga":
        received_message = API.oobaooga_api.api_standard(_ooba_chat(messages, temp_level))
    elif API_TYPE == "Ollama":
        received_message = API.ollama_api.api_standard(messages, temp_level, _stop(), _max_tokens())
    elif API_TYPE == "LMStudio":
        received_message = API.lmstudio_api.api_standard(messages, temp_level, _stop(), _max_tokens())
    received_message = html.unescape(received_message)
    if utils.settings.supress_rp:
        received_message = supress_rp_as_others(received_message)
    bad = _bad_message(received_message)
    if bad:
        run(user_input + bad[0], bad[1])
        return
    _keep(user_input, received_message)


def run_streaming(user_input, temp_level):
    global received_message, streaming_sentences_ticker, force_skip_streaming
    _begin(user_input, streamed=True)
    check_for_name_in_message(user_input)
    _read_history()
    messages = encode_new_api(user_input)
    print(f"------{utils.settings.char_name}------\n")
    streaming_sentences_ticker = 1
    if API_TYPE == "Oobabooga":
        body = _ooba_chat(messages, temp_level, stream=True)
        response = requests.post(URI, headers=headers, json=body, verify=False, stream=True)
        stream = sseclient.SSEClient(response).events()
    elif API_TYPE == "Ollama":
        stream = API.ollama_api.api_stream(messages, temp_level, _stop(), _max_tokens())
    elif API_TYPE == "LMStudio":
        stream = API.lmstudio_api.api_stream(messages, temp_level, _stop(), _max_tokens())
    utils.vtube_studio.clear_streaming_emote_list()
    _speak_chatpop()
    reply, ended = _listen(stream, API_TYPE)
    if ended in ("Cut", "Hangout-Name-Cut"):
        _end_early(user_input, reply, ended)
        return
    if ended == "Skip":
        force_skip_streaming = False
        print("\nSkipping message, redoing!\n")
        run_streaming(user_input, 1)
        return
    _speak_last_sentence(reply, ended)
    received_message = html.unescape(reply)
    bad = _bad_message(received_message)
    if bad:
        print("\nBad message, redoing!\n")
        run_streaming(user_input + bad[0], bad[1])
        return
    _keep(user_input, received_message)


def _speak_chatpop():
    """A filler phrase, spoken whole before the first piece of the reply is read."""
    if utils.settings.use_chatpops and not main.live_pipe_no_speak:
        utils.voice.set_speaking(True)
        utils.voice.speak_line(random.choice(utils.settings.chatpop_phrases), refuse_pause=True)


def _listen(stream, api_type):
    """Read the stream; ``(text, how it ended)``. The stream is abandoned, never closed."""
    global force_skip_streaming
    reply = ""
    force_skip_streaming = False
    for event in stream:
        if api_type == "Oobabooga":
            chunk = json.loads(event.data)["choices"][0]["delta"]["content"]
        elif api_type == "Ollama":
            chunk = event["message"]["content"]
        else:
            chunk = event.content
        reply += chunk
        state = streamed_update_handler(chunk, reply)
        if state == "Cut" or (state == "Hangout-Name-Cut" and utils.settings.hangout_mode):
            return reply, state
        if utils.hotkeys.pull_next_press_input() or force_skip_streaming:
            return reply, "Skip"
        if utils.settings.supress_rp and supress_rp_as_others(reply) != reply:
            return supress_rp_as_others(reply), "Suppressed"
    return reply, "End"


def _end_early(user_input, reply, ended):
    global flag_end_streaming
    if ended == "Hangout-Name-Cut":
        ooga_history.append(_exchange(user_input, reply, utils.settings.cur_tags))
        save_histories()
        flag_end_streaming = False
    _end()


def _speak_last_sentence(reply, ended):
    if ended != "Suppressed":
        sentences = utils.voice_splitter.split_into_sentences(utils.voice.without_emoji(reply))
        utils.vtube_studio.set_emote_string(reply)
        utils.vtube_studio.check_emote_string_streaming()
        if not main.live_pipe_no_speak and sentences:
            utils.voice.set_speaking(True)
            utils.voice.speak_line(sentences[-1], refuse_pause=True)
    print("\n")


def streamed_update_handler(chunk, assistant_message):
    """Show the piece; speak the sentence before the one that just began."""
    global currently_streaming_message, streaming_sentences_ticker
    print(chunk, end="", flush=True)
    currently_streaming_message = assistant_message
    sentences = utils.voice_splitter.split_into_sentences(utils.voice.without_emoji(assistant_message))
    if len(sentences) > streaming_sentences_ticker:
        streaming_sentences_ticker += 1
        utils.vtube_studio.set_emote_string(assistant_message)
        utils.vtube_studio.check_emote_string_streaming()
        if not main.live_pipe_no_speak:
            utils.voice.set_speaking(True)
            utils.voice.speak_line(sentences[-2], refuse_pause=True)
    if main.live_pipe_use_streamed_interrupt_watchdog and utils.hotkeys.SPEAK_TOGGLED:
        return "Cut"
    return "Hangout-Name-Cut" if flag_end_streaming else "Continue"


def set_force_skip_streaming(tf_input):
    global force_skip_streaming
    force_skip_streaming = tf_input


def send_via_oogabooga(user_input):
    utils.based_rag.add_message_to_database()
    if utils.settings.rag_enabled:
        utils.based_rag.run_based_rag(user_input, ooga_history[-1][1])
    (run_streaming if utils.settings.stream_chats else run)(user_input, 0)


def receive_via_oogabooga():
    return received_message


def next_message_oogabooga():
    """Reroll. The old pair is gone and saved before the new one is asked for."""
    message, tags = ooga_history[-1][0], ooga_history[-1][2]
    ooga_history.pop()
    save_histories()
    if "ZW-Visual" in tags:
        send_image_via_oobabooga(message)
    else:
        (run_streaming if utils.settings.stream_chats else run)(message, 0)


def undo_message():
    ooga_history.pop()
    utils.based_rag.remove_latest_database_message()
    save_histories()


# History


def check_load_past_chat():
    global history_loaded
    if not history_loaded:
        _read_history()
        history_loaded = True
        utils.based_rag.load_rag_history()


def save_histories():
    Path("LiveLog.json").write_text(json.dumps(ooga_history, indent=4))
    utils.based_rag.store_rag_history()


def soft_reset():
    for asked, answer in soft_reset_message:
        entry = _exchange(asked, answer, utils.settings.cur_tags)
        ooga_history.append([entry[0], entry[1], *entry[1:]])
    save_histories()


def prune_deletables():
    """Soft-reset messages leave the log once they are between 27 and 8 entries back."""
    first, last = max(0, len(ooga_history) - 27), max(0, len(ooga_history) - 8)
    ooga_history[first:last] = [entry for entry in ooga_history[first:last] if "[System D]" not in entry[0]]


def check_if_in_history(message):
    return any(entry[1] == message for entry in ooga_history[-20:])


# Summaries: hard ones become part of the chat, soft ones go to a log of their own


def _ask_summary(messages):
    tokens, stop = utils.retrospect.summary_tokens_max_count, _stop(cuts=False)
    if API_TYPE == "Ollama":
        answer = API.ollama_api.api_standard(messages, 0, stop, tokens)
    elif API_TYPE == "LMStudio":
        answer = API.lmstudio_api.api_standard(messages, 0, stop, tokens)
    else:
        request = {**_ooba_chat(messages, 0), "max_tokens": tokens, "stop": stop, "character": CHARACTER_CARD}
        answer = API.oobaooga_api.api_standard(request)
    answer = html.unescape(answer)
    return supress_rp_as_others(answer) if utils.settings.supress_rp else answer


def _poor_summary(summary):
    return summary == stored_received_message or check_if_in_history(summary) or len(summary) < 3


def summary_memory_run_hard(messages_input, user_sent_message):
    """A repeated or blank summary is asked for again, without a limit."""
    global received_message, stored_received_message
    _begin(user_sent_message, streamed=False)
    received_message = _ask_summary(messages_input)
    if _poor_summary(received_message):
        summary_memory_run_hard(messages_input, user_sent_message)
        return
    stored_received_message = received_message
    _keep(user_sent_message, received_message)


def summary_memory_run_soft(messages_input, user_sent_message):
    global received_summary, regenerate_requests_count
    _begin(user_sent_message, streamed=False)
    received_summary = _ask_summary(messages_input)
    regenerate_requests_count += 1
    if regenerate_requests_count < regenerate_requests_limit and _poor_summary(received_summary):
        summary_memory_run_soft(messages_input, user_sent_message)
        return
    _end()
    if utils.settings.stream_chats:
        main.summary_skip_speak = True


def receive_summary_via_oogabooga():
    return received_summary


# Pictures


def send_image_via_oobabooga(direct_talk_transcript):
    look = view_image_streaming if utils.settings.stream_chats else view_image
    return look(direct_talk_transcript)


def send_image_via_oobabooga_hangout(direct_talk_transcript):
    return view_image_streaming(direct_talk_transcript)


def _visual_messages(pairs):
    messages = []
    if API_TYPE_VISUAL != "Oobabooga":
        guidance = vision_guidance_message + "\n\n" if OLLAMA_VISUAL_ENCODE_GUIDANCE == "ON" else ""
        card = API.character_card
        persona = {"BASE": card.character_card, "VISUAL": card.visual_character_card}.get(OLLAMA_VISUAL_CARD, "")
        if guidance + persona:
            messages.append({"role": "system", "content": guidance + persona})
    return messages + _pairs(ooga_history[-pairs:])


def _ooba_image(messages, text, stream=False):
    picture = base64.b64encode(Path("LiveImage.png").read_bytes()).decode("utf-8")
    content = f'{text}<img src="data:image/jpeg;base64,{picture}">'
    request = {
        "max_tokens": 300,
        "prompt": "This image",
        "messages": [*messages, {"role": "user", "content": content}],
        "mode": "chat-instruct",
        "character": OOBA_VISUAL_CHARACTER_NAME,
        "your_name": YOUR_NAME,
        "regenerate": False,
        "_continue": False,
        "truncation_length": 2048,
        "stop": _stop(),
        "preset": OOBA_VISUAL_PRESET_NAME,
    }
    return {**request, "stream": True} if stream else request


def _image_message(text):
    return {"role": "user", "content": text, "images": [str(Path("LiveImage.png").resolve())]}


def _image_text(direct_talk_transcript):
    if utils.settings.cam_direct_talk:
        return direct_talk_transcript
    return f"{YOUR_NAME}, please look at this image and say what is in it: \n"


def _keep_image(transcript, reply):
    global received_message
    utils.based_rag.add_message_to_database()
    asked = transcript if utils.settings.cam_direct_talk else "[System C] Sending an image..."
    ooga_history.append(_exchange(asked, reply, [*utils.settings.cur_tags, "ZW-Visual"]))
    save_histories()
    _end()
    received_message = reply
    return reply


def view_image(direct_talk_transcript):
    _begin(direct_talk_transcript, streamed=False)
    check_for_name_in_message(direct_talk_transcript)
    utils.based_rag.add_message_to_database()
    messages, text = _visual_messages(4), _image_text(direct_talk_transcript)
    if API_TYPE_VISUAL == "Ollama":
        reply = API.ollama_api.api_standard_image([*messages, _image_message(text)])
    elif API_TYPE_VISUAL == "LMStudio":
        reply = API.lmstudio_api.api_standard_image(messages, text, 0, _stop(), 300)
    else:
        reply = requests.post(IMG_URI, json=_ooba_image(messages, text)).json()["choices"][0]["message"]["content"]
    reply = html.unescape(reply)
    if utils.settings.supress_rp:
        reply = supress_rp_as_others(reply)
    return _keep_image(direct_talk_transcript, reply)


def view_image_streaming(direct_talk_transcript):
    global streaming_sentences_ticker, force_skip_streaming
    _begin(direct_talk_transcript, streamed=True)
    check_for_name_in_message(direct_talk_transcript)
    utils.based_rag.add_message_to_database()
    messages, text = _visual_messages(2), _image_text(direct_talk_transcript)
    print(f"------{utils.settings.char_name}------\n")
    streaming_sentences_ticker = 1
    if API_TYPE_VISUAL == "Ollama":
        stream = API.ollama_api.api_stream_image([*messages, _image_message(text)])
    elif API_TYPE_VISUAL == "LMStudio":
        stream = API.lmstudio_api.api_stream_image(messages, text, 0, _stop(), 300)
    else:
        body = _ooba_image(messages, text, stream=True)
        response = requests.post(IMG_URI, headers=headers, json=body, verify=False, stream=True)
        stream = sseclient.SSEClient(response).events()
    utils.vtube_studio.clear_streaming_emote_list()
    _speak_chatpop()
    reply, ended = _listen(stream, API_TYPE_VISUAL)
    if ended in ("Cut", "Hangout-Name-Cut"):
        _end_early(direct_talk_transcript, reply, ended)
        return None
    _speak_last_sentence(reply, ended)
    return _keep_image(direct_talk_transcript, html.unescape(reply))


# From the log to what the server is sent


def _pairs(entries):
    messages = []
    for entry in entries:
        messages += [{"role": "user", "content": entry[0]}, {"role": "assistant", "content": entry[1]}]
    return messages


def _time_line():
    return f"The current time now is {datetime.datetime.now():%d %B, %Y at %I:%M %p}."


def _earlier_summary():
    log = utils.retrospect.live_summarization_log
    if utils.retrospect.use_rolling_summaries and len(log) > 1:
        return [{"role": "assistant", "content": log[-2]}]
    return []


def encode_new_api(user_input):
    """Pairs and the new message; memory, lore and time slip in between once the log is as long as the window."""
    if API_TYPE != "Oobabooga":
        return _encode_with_system(user_input, _earlier_summary() if API_TYPE == "Ollama" else [])
    messages = []
    for i, entry in enumerate(ooga_history[-marker_length:]):
        messages += _pairs([entry])
        if i and i == marker_length - 3 and len(ooga_history[-1]) > 3 and ENCODE_TIME == "ON":
            messages.append({"role": "user", "content": _time_line()})
        if i and i == marker_length - 8:
            lore = utils.lorebook.lorebook_gather(ooga_history[-3:], user_input)
            if lore != utils.lorebook.total_lore_default:
                messages.append({"role": "user", "content": lore})
        if i and i == marker_length - 9:
            if utils.settings.rag_enabled:
                messages.append({"role": "user", "content": utils.based_rag.call_rag_message()})
            messages += _earlier_summary()
    return [*messages, {"role": "user", "content": user_input}]


def _encode_with_system(user_input, before):
    """Ollama and LM Studio: one system message with card, task, memory, lore and time. The time is always sent."""
    parts = [API.character_card.character_card]
    if utils.settings.cur_task_char not in ("", "None"):
        parts.append(utils.tag_task_controller.get_cur_task_description())
    if utils.settings.rag_enabled:
        parts.append(utils.based_rag.call_rag_message())
    lore = utils.lorebook.lorebook_gather(ooga_history[-3:], user_input)
    if lore != utils.lorebook.total_lore_default:
        parts.append(lore)
    parts.append(_time_line())
    system = {"role": "system", "content": "".join(part + "\n\n" for part in parts)}
    return [*before, system, *_pairs(ooga_history[-marker_length:]), {"role": "user", "content": user_input}]


def encode_raw_new_api(user_messages_input, user_message_last, raw_marker_length):
    """For summaries: the pairs to sum up, then the instruction. IndexError where there is nothing to sum up."""
    messages = []
    log = utils.retrospect.live_summarization_log
    if utils.retrospect.use_rolling_summaries and len(log) > 1:
        messages += _pairs([("These are the summaries so far.", f"{log[-2]}\n\n{log[-1]}")])
    first = user_messages_input[max(0, len(user_messages_input) - raw_marker_length)]
    rest = user_messages_input[max(0, len(user_messages_input) - raw_marker_length) + 1 :]
    return [*messages, *_pairs([first, *rest]), {"role": "user", "content": user_message_last}]


def supress_rp_as_others(message):
    """Cut at the last line break before somebody's ``Name:`` that stands within 21 characters of it."""
    cut, watch = 0, 0
    for i, letter in enumerate(message):
        if i and letter == "\n" and message[i - 1] != ":":
            cut, watch = i, 21
        if letter == ":" and watch > 0:
            return message[:cut]
        watch -= 1
    return message


def force_tokens_count(tokens):
    global forced_token_level, force_token_count
    forced_token_level = tokens
    force_token_count = True


def check_for_name_in_message(message):
    global last_message_received_has_own_name
    last_message_received_has_own_name = utils.settings.char_name in message
