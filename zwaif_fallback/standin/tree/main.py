"""The stand-in host: start-up, the chat commands and the command line.

    python main.py                  chat line by line on the console
    python main.py --once "Hello"   one message, then leave

Run as a script this file is ``__main__``, and the API package imports it a second time as ``main``; the copy in
``sys.modules["main"]`` is the one whose flags count while a reply is being made.
"""
# ruff: noqa: I001  -- this order makes the page finish while API.api_controller is still half imported

import argparse
import os
import sys
import threading
from pathlib import Path

import utils.hotkeys
import utils.settings
import utils.voice
import API.api_controller
import utils.vtube_studio
import API.character_card
import API.task_profiles
import utils.lorebook
import utils.camera
import utils.web_ui
import utils.retrospect
import utils.hangout
import utils.tag_task_controller
import utils.zw_logging
from dotenv import load_dotenv

load_dotenv()

live_pipe_no_speak = False
live_pipe_use_streamed_interrupt_watchdog = False
undo_allowed = False
summary_skip_speak = False


def is_on(key):
    return os.environ.get(key) == "ON"


def run_program():
    """Everything between the imports and the first message."""
    settings = utils.settings
    settings.newline_cut = is_on("NEWLINE_CUT_BOOT")
    settings.supress_rp = is_on("RP_SUP_BOOT")
    settings.stream_chats = is_on("API_STREAM_CHATS")
    settings.rag_enabled = is_on("MODULE_RAG")
    settings.vision_enabled = is_on("MODULE_VISUAL")
    settings.char_name = os.environ.get("CHAR_NAME")
    utils.retrospect.use_rolling_summaries = is_on("USE_ROLLING_SUMMARIES")
    utils.retrospect.search_point_size = int(os.environ.get("SEARCH_POINT_SIZE"))
    utils.retrospect.summary_tokens_max_count = int(os.environ.get("SUMMARY_TOKENS_MAX_COUNT"))
    utils.tag_task_controller.load_tags_tasks()
    API.api_controller.check_load_past_chat()
    utils.retrospect.load_past_summaries()
    settings.use_chatpops = is_on("USE_CHATPOPS")
    settings.chatpop_phrases = utils.settings.read_json("Chatpops.json")
    threading.Thread(target=utils.web_ui.launch_demo, daemon=True).start()
    API.character_card.load_char_card()
    API.task_profiles.load_task_profiles()


def message_checks(message):
    """What every finished reply goes through: the console, emotes, the summary that is due."""
    global undo_allowed
    if not API.api_controller.last_message_streamed:
        print(f"------{utils.settings.char_name}------\n{message}\n")
        utils.vtube_studio.set_emote_string(message)
        utils.vtube_studio.check_emote_string()
    if utils.retrospect.use_rolling_summaries:
        utils.retrospect.search_point_current_count += 1
        if utils.retrospect.search_point_current_count >= utils.retrospect.search_point_size:
            utils.retrospect.search_point_current_count = 0
            utils.retrospect.retrospect_current_messages()
    undo_allowed = True


def main_message_speak():
    """Speak a reply that was not spoken while it streamed."""
    if utils.settings.stream_chats:
        return
    utils.voice.set_speaking(True)
    utils.voice.speak_line(utils.voice.without_emoji(API.api_controller.receive_via_oogabooga()), refuse_pause=False)


def after_reply():
    message_checks(API.api_controller.receive_via_oogabooga())
    main_message_speak()


def main_converse(message):
    """One message as if it had been said aloud."""
    API.api_controller.send_via_oogabooga(message)
    after_reply()


def main_next():
    API.api_controller.next_message_oogabooga()
    after_reply()


def main_send_blank():
    main_converse("")


def main_undo():
    global undo_allowed
    if undo_allowed:
        undo_allowed = False
        utils.voice.force_cut_voice()
        API.api_controller.undo_message()


def main_view_image(message="What do you see?"):
    utils.camera.capture_pic()
    API.api_controller.send_image_via_oobabooga(message)
    after_reply()


def hangout_view_image_reply(message):
    utils.camera.capture_pic()
    API.api_controller.send_image_via_oobabooga_hangout(message)
    after_reply()


def main_memory_proc():
    utils.retrospect.retrospect_random_mem_summary()
    after_reply()


def _shadow_chat(ask):
    """A chat from the page: not spoken, unless the user wants that. An error leaves ``live_pipe_no_speak`` set."""
    global live_pipe_no_speak
    if not utils.settings.speak_shadowchats and utils.settings.stream_chats:
        live_pipe_no_speak = True
    ask()
    utils.voice.force_cut_voice()
    message_checks(API.api_controller.receive_via_oogabooga())
    live_pipe_no_speak = False
    if utils.settings.speak_shadowchats:
        main_message_speak()


def main_web_ui_chat(message):
    _shadow_chat(lambda: API.api_controller.send_via_oogabooga(message))


def main_web_ui_next():
    """Reroll: while a reply is on its way it is skipped, otherwise the last one is made anew."""
    utils.voice.force_cut_voice()
    if API.api_controller.is_in_api_request:
        API.api_controller.set_force_skip_streaming(True)
        return
    _shadow_chat(API.api_controller.next_message_oogabooga)


COMMANDS = {
    "/next": main_next,
    "/blank": main_send_blank,
    "/undo": main_undo,
    "/image": main_view_image,
    "/hangout": lambda: hangout_view_image_reply("Look at this, what do you think?"),
    "/memory": main_memory_proc,
    "/summary": utils.retrospect.retrospect_current_messages,
    "/reset": lambda: API.api_controller.soft_reset(),
}


def off_the_standard_handle():
    """What stdin brings. While a thread reads from stdin itself, Windows lets no other one import numpy."""
    lines = os.fdopen(os.dup(0), encoding=sys.stdin.encoding, errors="replace")
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    return lines


def command_line():
    parser = argparse.ArgumentParser(description="Chat with the stand-in host.")
    parser.add_argument("--once", metavar="TEXT", help="send one message, then leave")
    options = parser.parse_args()
    run_program()
    if options.once is not None:
        main_converse(options.once)
        return 0
    print(f"Say something; {', '.join(COMMANDS)} or /quit.", flush=True)
    for line in off_the_standard_handle():
        text = line.rstrip("\r\n")
        if text == "/quit":
            break
        if text in COMMANDS:
            COMMANDS[text]()
        else:
            main_converse(text)
    return 0


if __name__ == "__main__":
    sys.exit(command_line())
