"""The line below the conversation on the Chat tab, shown while the fallback answers.

It is on the page only, never in the chat history. A hidden tab sends no requests.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from zwaif_fallback.ui.components import Components
from zwaif_hooks.host import live_part, webui

CHAT_LABEL = "Chat"
LINE_ID, BUTTON_ID = "zwaif-fallback-chat", "zwaif-fallback-chat-refresh"


class ChatLine:
    """The line and the button that updates it. Left out if Z-Waif's page has no Chat tab with a conversation."""

    def __init__(self, make: Components, line: Callable[[], str]) -> None:
        self._line, self._update = line, make.gradio.update
        with webui.below(make.gradio, CHAT_LABEL, make.gradio.Chatbot) as place:
            self.is_there = place is not None
            if self.is_there:
                self.words = make.words(elem_id=LINE_ID, visible=False)
                self.button = make.button(
                    "Look who answers", elem_id=BUTTON_ID, visible=False, **live_part.pressed_every(1)
                )

    def wire(self, make: Components) -> None:
        if self.is_there:
            make.on(self.button.click, self.refresh, self.words, self.words, queue=False)

    def refresh(self, shown: object) -> Any:
        """Update the line if the window shows another one."""
        line = self._line()
        html = f'<p style="font-size:85%;opacity:0.75">{escape(line)}</p>' if line else ""
        return self._update() if html == (shown or "") else self._update(value=html, visible=bool(html))
