"""The layout of the section, and its events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zwaif_fallback.addresses import HOST
from zwaif_fallback.answering.outages import Outages
from zwaif_fallback.ui import advanced
from zwaif_fallback.ui.advanced import SettingControls
from zwaif_fallback.ui.chat_line import ChatLine
from zwaif_fallback.ui.components import Components
from zwaif_fallback.ui.fallback_host import FallbackHostControls
from zwaif_fallback.ui.live_status import LIVE_ID
from zwaif_fallback.ui.model_actions import ModelControls
from zwaif_fallback.ui.model_download import Download
from zwaif_fallback.ui.model_list import ModelList
from zwaif_fallback.ui.panel import Panel
from zwaif_fallback.ui.service_protocol import Service
from zwaif_fallback.ui.setting_edits import ENABLED, MODEL
from zwaif_fallback.ui.test_reply import TestReplyControls
from zwaif_hooks.host import live_part
from zwaif_hooks.host_handle import Host

REFRESH_ID = "zwaif-fallback-refresh"
PURPOSE = (
    "When your LLM server stops answering, your companion keeps talking: a model on this computer answers until the "
    "server is back."
)
STYLE = """<style>
.zwaif-fallback-words, .zwaif-fallback-words .pending, .zwaif-fallback-words.pending {opacity: 1 !important}
.zwaif-fallback-words .min, .zwaif-fallback-words.min {min-height: 0 !important}
.zwaif-fallback-words p {margin: 0; line-height: 1.6; overflow-wrap: anywhere}
.zwaif-fallback-words:not(:has(p)) {display: none}
</style>"""
"""Gradio fades and stretches HTML while it is updated, which would flicker once a second. Empty lines take no room."""


def build(
    gradio: Any,
    host: Host,
    service: Service,
    outages: Outages | None = None,
    *,
    model_list: ModelList | None = None,
    download: Download | None = None,
    restarting: Callable[[], str] = str,
) -> None:
    """Create the section in the open tab. Tests pass their own ``model_list`` and ``download``.

    Args:
        restarting: Returns in one line how the LLM server is being restarted; empty if it is not.
    """
    update = gradio.update
    panel = Panel(host, service, outages, unchanged=update, update=update, model_list=model_list, download=download)
    panel.live.restarting = restarting
    with gradio.Accordion("API Fallback", open=True):
        _Section(Components(gradio, host.settings), panel).wire()


class _Section:
    """The components, created top to bottom, and their events."""

    def __init__(self, make: Components, panel: Panel) -> None:
        self._make, self._panel = make, panel
        get = panel.edits.get
        make.words(f"{STYLE}<p>{PURPOSE}</p>")
        # Empty until the page is loaded: Z-Waif's start must not wait for it.
        self.live = make.words(elem_id=LIVE_ID)
        with make.row():
            self.toggle = make.button("Check/Uncheck")
            self.enabled = make.gradio.Checkbox(value=get(ENABLED), label=make.label(ENABLED), interactive=False)
        self.toggled = make.words()
        self.models = ModelControls(make, panel.models, make.label(MODEL))
        self.test_reply = TestReplyControls(make, panel.test_reply)
        self.fallback_host = FallbackHostControls(
            make, panel.fallback_host, make.label(HOST), get(HOST), make.help(HOST)
        )
        ours = [panel.edits.setting(name) for name in advanced.names()]
        groups = {"Advanced": ours, **{f"Plugin {name}": settings for name, settings in panel.plugins.items()}}
        self.groups = [
            SettingControls(make, panel.advanced, panel.edits, title, settings) for title, settings in groups.items()
        ]
        with make.row():
            self.refresh = make.button("Refresh", elem_id=REFRESH_ID, **live_part.pressed_every(1))
            self.undo = make.button("Undo Last Change")
            self.reset = make.button("Reset to Defaults")
        self.said = make.words()
        self.seen = make.gradio.Textbox(value="", visible=False, interactive=True)
        self.listed = make.gradio.Textbox(value="", visible=False, interactive=True)
        self.chat = ChatLine(make, panel.live.chat_line)

    def wire(self) -> None:
        make, panel = self._make, self._panel
        of_groups = [component for group in self.groups for component in group.by_name.values()]
        values = [self.enabled, self.models.list, self.fallback_host.box, *of_groups]
        make.on(self.toggle.click, panel.toggle, self.seen, [self.enabled, self.toggled, self.seen, self.live])
        self.models.wire(make)
        self.fallback_host.wire(make, self.seen)
        self.test_reply.wire(make, self.models.list)
        for group in self.groups:
            group.wire(make, self.seen)
        make.on(self.undo.click, panel.undo, None, [*values, self.seen, self.said])
        make.on(self.reset.click, panel.reset, None, [*values, self.seen, self.said])
        told = [*values, self.seen, self.live, self.models.state]
        make.on(self.refresh.click, panel.refresh, self.seen, told, queue=False)
        self._follow_the_page(values, told)

    def _follow_the_page(self, values: list[Any], told: list[Any]) -> None:
        make, panel = self._make, self._panel
        page, tab = live_part.open_page(make.gradio)
        for twin in self._older_switches(page):
            make.on(twin.change, bool, twin, self.enabled)
        make.on(page.load, panel.page_loaded, None, [*told, self.models.info, self.listed])
        live_part.press_buttons(make.gradio, page)
        self.chat.wire(make)
        if tab is not None:
            shown = [self.models.list, self.seen, self.listed]
            make.on(tab.select, panel.tab_opened, shown, [self.models.list, self.listed])

    def _older_switches(self, page: Any) -> list[Any]:
        """Return v1.14-R4's own switches for the same setting; ours follows them.

        Not the other way round: setting one of them makes R4 rewrite ``.env`` in place, from two threads.
        """
        boxes = [block for block in page.blocks.values() if isinstance(block, self._make.gradio.Checkbox)]
        return [box for box in boxes if box is not self.enabled and box.label == self.enabled.label]
