"""The page: Chat, Settings, Debug. Built while this module is imported, served much later from a thread.

``ZWAIF_STANDIN_UI=OFF`` leaves it out (importing Gradio takes seconds); ``ZWAIF_STANDIN_PORT`` moves it.
"""
# ruff: noqa: I001  -- main comes first here too

import os

import main
import API.api_controller
import utils.hotkeys
import utils.settings
import utils.zw_logging

try:
    if os.environ.get("ZWAIF_STANDIN_UI") == "OFF":
        raise ImportError("switched off")
    import gradio as gr
except ImportError:
    gr = None

demo = None
PORT = int(os.environ.get("ZWAIF_STANDIN_PORT", "7864"))


def _poll(function, outputs):
    """Refresh ``outputs`` ten times a second, by the means the installed Gradio has."""
    if hasattr(gr, "Timer"):
        gr.Timer(0.1).tick(function, outputs=outputs)
    else:
        demo.load(function, every=0.1, outputs=outputs)


def _row(label, name):
    """The host's way of a switch: a button that toggles, and a checkbox that only shows."""

    def toggle():
        setattr(utils.settings, name, not getattr(utils.settings, name))

    with gr.Row():
        gr.Button(value="Check/Uncheck").click(fn=toggle)
        return gr.Checkbox(label=label)


def _chat_view():
    controller = API.api_controller
    pairs = [entry[:2] for entry in controller.ooga_history[-30:]]
    if controller.currently_sending_message != "":
        pairs.append([controller.currently_sending_message, controller.currently_streaming_message])
    if int(gr.__version__.split(".")[0]) < 5:
        return pairs[-30:]
    roles = ("user", "assistant")
    return [{"role": role, "content": text} for pair in pairs[-30:] for role, text in zip(roles, pair, strict=True)]


def _chat_tab():
    major = int(gr.__version__.split(".")[0])
    chatbot = gr.Chatbot(height=540, type="messages") if major == 5 else gr.Chatbot(height=540)

    def respond(message, chat_history):
        if message:
            main.main_web_ui_chat(message)
        return ""

    def regenerate():
        main.main_web_ui_next()

    def send_blank():
        main.main_web_ui_chat("")

    def undo():
        main.main_undo()

    with gr.Row():
        msg = gr.Textbox(scale=3)
        msg.submit(respond, [msg, chatbot], [msg])
        gr.Button(variant="primary", value="Send").click(respond, inputs=[msg, chatbot], outputs=[msg])
    with gr.Row():
        gr.Button(value="Reroll").click(fn=regenerate)
        gr.Button(value="Send Blank").click(fn=send_blank)
        gr.Button(value="Undo").click(fn=undo)
    _poll(_chat_view, [chatbot])


SWITCHES = {
    "Speak Typed Chats / Shadow Chats": "speak_shadowchats",
    "Supress RP (as others)": "supress_rp",
    "Cutoff at Newlines (Double Enter)": "newline_cut",
    "Ban Asterisks": "asterisk_ban",
}


def _settings_tab():
    views = [_row(label, name) for label, name in SWITCHES.items()]

    def change_max_tokens(count):
        utils.settings.max_tokens = count

    slider = gr.Slider(
        minimum=20, maximum=2048, value=utils.settings.max_tokens, label="Max Chat Tokens / Reply Length"
    )
    slider.change(fn=change_max_tokens, inputs=slider)
    gr.Button(value="Chat Soft Reset").click(fn=lambda: API.api_controller.soft_reset())
    _poll(lambda: [getattr(utils.settings, name) for name in SWITCHES.values()], views)


def _debug_tab():
    log = utils.zw_logging
    boxes = [
        gr.Textbox(label=label, lines=10) for label in ("General Debug", "RAG Debug", "Random Temperature Readout")
    ]
    _poll(lambda: [log.debug_log, log.rag_log, log.kelvin_log], boxes)


if gr is not None:
    with gr.Blocks(title="Z-Waif UI") as demo:
        with gr.Tab("Chat"):
            _chat_tab()
        with gr.Tab("Settings"):
            _settings_tab()
        with gr.Tab("Debug"):
            _debug_tab()


def launch_demo():
    if demo is not None:
        demo.launch(server_port=PORT)
