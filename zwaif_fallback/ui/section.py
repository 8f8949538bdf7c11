"""The section as a whole: what belongs together, in which order it stands, and how windows keep up with each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from zwaif_fallback.addresses import HOST
from zwaif_fallback.answering.outages import Outages
from zwaif_fallback.choosing.auto import env_values, is_auto
from zwaif_fallback.ui import advanced
from zwaif_fallback.ui.address import Address, AddressControls
from zwaif_fallback.ui.advanced import Advanced, AdvancedControls
from zwaif_fallback.ui.chat_line import ChatLine
from zwaif_fallback.ui.components import Components, paragraph, problem, text_of
from zwaif_fallback.ui.downloads import Download, Fetching
from zwaif_fallback.ui.model_list import Shelf
from zwaif_fallback.ui.models import ModelControls, Models
from zwaif_fallback.ui.service_protocol import Service
from zwaif_fallback.ui.setting_edits import ENABLED, MODEL, Changes, Seen
from zwaif_fallback.ui.status import LIVE_ID, Live
from zwaif_fallback.ui.test_reply import Trial, TrialControls
from zwaif_hooks import turn_log
from zwaif_hooks.failover.start_check import configured_primary
from zwaif_hooks.handle import Host

REFRESH_ID = "zwaif-fallback-refresh"
EVERY_SECOND = f"""() => {{
    if (window.zwaifFallbackTimer) return;
    window.zwaifFallbackTimer = setInterval(() => {{
        const button = document.getElementById("{REFRESH_ID}");
        if (button && button.offsetParent !== null && !document.hidden) button.click();
    }}, 1000);
}}"""
"""Presses Refresh once a second, where somebody can see it: Gradio's own timers go on in hidden tabs, and the ``every``
of older ones runs on the server's event loop, where it slows Z-Waif down."""
PURPOSE = (
    "When your LLM server stops answering, your companion goes on talking: a model on this computer answers until the "
    "server is back."
)
STYLE = """<style>
.zwaif-fallback-words, .zwaif-fallback-words .pending, .zwaif-fallback-words.pending {opacity: 1 !important}
.zwaif-fallback-words .min, .zwaif-fallback-words.min {min-height: 0 !important}
.zwaif-fallback-words p {margin: 0; line-height: 1.6; overflow-wrap: anywhere}
.zwaif-fallback-words:not(:has(p)) {display: none}
</style>"""
"""Gradio pales and stretches HTML while it asks for new: once a second, a flicker. What says nothing takes no room."""


class Panel:
    """What each control does. A problem becomes a line at the control, never an exception in Z-Waif's console."""

    def __init__(
        self,
        host: Host,
        service: Service,
        outages: Outages | None = None,
        *,
        unchanged: Callable[[], Any] = lambda: None,
        update: Callable[..., Any] = dict,
        download: Download | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        """``unchanged`` makes the value that leaves a component as it is, so that nobody's typing is overwritten;
        ``update`` one that changes its choices or its line of help, too."""
        self._unchanged, self._update, self._service = unchanged, update, service
        self.shelf = shelf or Shelf(host.settings, host.tree)
        names = [ENABLED, MODEL, HOST, *advanced.names()]
        picked = lambda: self.shelf.picked(service)  # noqa: E731
        self.changes = Changes(host.settings, names, tree=host.tree, picked=picked)
        self._built = {name: self.changes.get(name) for name in names}
        """What the page shows that was built with this panel."""
        self.fetching = Fetching(download or _downloader(host))
        self.models = Models(service, self.shelf, self.changes, self.fetching, unchanged)
        self.address = Address(self.changes, lambda: _main_servers(host))
        self.trial = Trial(service, self.models.tried, self.shelf.shown)
        self.advanced = Advanced(self.changes, update)
        self.live = Live(
            host.primaries,
            host.records,
            outages or Outages(),
            service,
            self.shelf,
            self.changes.get,
            lambda: env_values(host.tree),
            lambda: turn_log.read(turn_log.path_for(host.tree)),
        )

    def toggle(self, seen: Seen = "") -> tuple[bool, str, Seen, str]:
        """The switch, what went wrong, what the window has seen now, and the live state."""
        wrong = self.changes.set(ENABLED, not self.changes.get(ENABLED))
        return self.changes.get(ENABLED), problem(wrong), self.changes.noted(seen, ENABLED), self.live.html()

    def undo(self) -> list[Any]:
        """Every value, what the window has seen now, and the outcome."""
        said = self.changes.undo()
        return [*self._shown(), self.changes.told(), paragraph(said)]

    def reset(self) -> list[Any]:
        said = self.changes.reset()
        return [*self._shown(), self.changes.told(), paragraph(said)]

    def opened(self) -> list[Any]:
        """A page was loaded: the values that changed since it was built, what it has seen now, the live state, the
        model's, and what is known of the model in the list.

        The others are there already, and somebody may be typing by now.
        """
        values = [
            self._unchanged() if self.changes.get(name) == before and name != MODEL else self._shown_of(name)
            for name, before in self._built.items()
        ]
        picked = self.shelf.picked(self._service)[1]
        return [*values, self.changes.told(), self.live.html(), self.models.state(), self.models.info(picked)]

    def refresh(self, seen: Seen) -> list[Any]:
        """The values that changed since this window saw them, elsewhere; the others stay as somebody is typing them.

        A window that has seen nothing is still being opened, and gets them from there.
        """
        known, now = self.changes.seen(seen), dict(zip(self.changes.names, self.changes.values(), strict=True))
        updates = [
            self._shown_of(name) if known and value != known[name] else self._unchanged() for name, value in now.items()
        ]
        told = json.dumps(list(now.values())) if known else ""
        news = told if told != seen else self._unchanged()
        return [*updates, news, self.live.html(), self.models.state()]

    def look(self, model: object, seen: Seen = "") -> Any:
        """The tab was opened: the models that are there now, with the row that this window has marked.

        A window that is still being opened gets them from there.
        """
        if not seen:
            return self._unchanged()
        choices, picked = self.shelf.choices(self._service), self.shelf.meant(text_of(model))
        return self._update(choices=choices, value=choices[0][1] if is_auto(picked) else picked)

    def _shown(self) -> list[Any]:
        return [self._shown_of(name) for name in self.changes.names]

    def _shown_of(self, name: str) -> Any:
        if name != MODEL:
            return self.changes.get(name)
        return self._update(choices=self.shelf.choices(self._service), value=self.shelf.picked(self._service)[1])


def build(
    gradio: Any,
    host: Host,
    service: Service,
    outages: Outages | None = None,
    *,
    shelf: Shelf | None = None,
    download: Download | None = None,
) -> None:
    """Create the section in the tab that is open. ``shelf`` and ``download`` are other than the real ones in tests."""
    update = gradio.update
    panel = Panel(host, service, outages, unchanged=update, update=update, shelf=shelf, download=download)
    with gradio.Accordion("API Fallback", open=True):
        _Section(Components(gradio, host.settings), panel).wire()


class _Section:
    """The components, created top to bottom, and their events."""

    def __init__(self, make: Components, panel: Panel) -> None:
        self._make, self._panel = make, panel
        get = panel.changes.get
        make.words(f"{STYLE}<p>{PURPOSE}</p>")
        # Empty until the page is loaded: Z-Waif's start need not wait for what nobody sees yet.
        self.live = make.words(elem_id=LIVE_ID)
        with make.row():
            self.toggle = make.button("Check/Uncheck")
            self.enabled = make.gradio.Checkbox(value=get(ENABLED), label=make.label(ENABLED), interactive=False)
        self.toggled = make.words()
        self.models = ModelControls(make, panel.models, make.label(MODEL))
        self.trial = TrialControls(make, panel.trial)
        self.address = AddressControls(make, panel.address, make.label(HOST), get(HOST), make.help(HOST))
        self.advanced = AdvancedControls(make, panel.advanced, panel.changes)
        with make.row():
            self.refresh = make.button("Refresh", elem_id=REFRESH_ID)
            self.undo = make.button("Undo Last Change")
            self.reset = make.button("Reset to Defaults")
        self.said = make.words()
        self.seen = make.gradio.Textbox(value="", visible=False, interactive=True)
        self.chat = ChatLine(make, panel.live.chat_line)

    def wire(self) -> None:
        make, panel = self._make, self._panel
        values = [self.enabled, self.models.list, self.address.box, *self.advanced.by_name.values()]
        make.on(self.toggle.click, panel.toggle, self.seen, [self.enabled, self.toggled, self.seen, self.live])
        self.models.wire(make)
        self.address.wire(make, self.seen)
        self.trial.wire(make, self.models.list)
        self.advanced.wire(make, self.seen)
        make.on(self.undo.click, panel.undo, None, [*values, self.seen, self.said])
        make.on(self.reset.click, panel.reset, None, [*values, self.seen, self.said])
        told = [*values, self.seen, self.live, self.models.state]
        make.on(self.refresh.click, panel.refresh, self.seen, told, queue=False)
        self._follow_the_page(values, told)

    def _follow_the_page(self, values: list[Any], told: list[Any]) -> None:
        make, panel, context = self._make, self._panel, import_module(f"{self._make.gradio.__name__}.context").Context
        page, tab = context.root_block, context.block
        for twin in self._older_switches(page):
            make.on(twin.change, bool, twin, self.enabled)
        make.on(page.load, panel.opened, None, [*told, self.models.info])
        make.on(page.load, None, None, None, js=EVERY_SECOND)
        self.chat.wire(make, page)
        while tab is not None and not hasattr(tab, "select"):
            tab = tab.parent
        if tab is not None:
            make.on(tab.select, panel.look, [self.models.list, self.seen], self.models.list)

    def _older_switches(self, page: Any) -> list[Any]:
        """v1.14-R4 has switches of its own for the same flag; ours follows their clicks.

        Not the other way round: a new value shown in one of them makes R4 rewrite ``.env`` in place, from two threads.
        """
        boxes = [block for block in page.blocks.values() if isinstance(block, self._make.gradio.Checkbox)]
        return [box for box in boxes if box is not self.enabled and box.label == self.enabled.label]


def _main_servers(host: Host) -> list[str]:
    """Every address of Z-Waif's own LLM server: as ``.env`` has it, and as it was asked."""
    kind, address = configured_primary(env_values(host.tree))
    named = [] if kind == "LMStudio" else [address]  # LM Studio's own library finds it, wherever it listens
    return [*named, *(one.name for one in host.primaries.statuses())]


def _downloader(host: Host) -> Download:
    """Into the Hugging Face cache; a model that lies in Z-Waif's own folders is not fetched again."""

    def download(name: str, say: Any, *, report: Any, stop: Any) -> Path:
        from zwaif_fallback.downloads.fetch import download as fetch

        model_dir = str(host.settings.get("FALLBACK_MODEL_DIR"))
        return fetch(name, say, tree=host.tree, model_dir=model_dir, report=report, stop=stop)

    return download
