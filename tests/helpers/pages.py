"""Pages shaped like Z-Waif's, with nothing behind them. Imports Gradio: only for tests that have it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr


def page(*, nested_settings: bool = False, settings: str = "Settings") -> Any:
    """``nested_settings`` puts another Settings tab inside Chat, as v1.14-R4 does."""
    with gr.Blocks(analytics_enabled=False) as demo:
        with gr.Tab("Chat"):
            gr.Chatbot(label="Conversation")
            message = gr.Textbox(label="Message")
            message.submit(lambda text: text, message, message)
            if nested_settings:
                with gr.Tabs():
                    with gr.Tab("Voice"):
                        gr.Textbox(label="inner")
                    with gr.Tab("Settings"):
                        gr.Textbox(label="nested")
        with gr.Tab(settings), gr.Row():
            gr.Button("Check/Uncheck")
            gr.Checkbox(label="Existing")
        with gr.Tab("Debug"):
            gr.Textbox(value=lambda: "now", label="Log")
    return demo


@contextmanager
def served(demo: Any) -> Iterator[str]:
    """The page's address on this computer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    demo.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        demo.close()


def tab(demo: Any, label: str) -> Any:
    """The last tab with this label: of two nested ones, the outer."""
    return [block for block in demo.blocks.values() if isinstance(block, gr.Tab) and block.label == label][-1]


def labels_in(block: Any) -> list[str]:
    """Labels of a block and of everything inside, top to bottom."""
    found = [block.label] if getattr(block, "label", None) else []
    return found + [label for child in getattr(block, "children", ()) for label in labels_in(child)]
