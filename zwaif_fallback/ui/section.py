"""The section as a whole: what belongs together, in which order it stands, and how windows keep up with each other."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from zwaif_fallback.outages import Outages
from zwaif_fallback.ui import advanced
from zwaif_fallback.ui.address import Address, AddressControls
from zwaif_fallback.ui.advanced import Advanced, AdvancedControls
from zwaif_fallback.ui.changes import ENABLED, HOST, MODEL, Changes, Seen
from zwaif_fallback.ui.components import Components
from zwaif_fallback.ui.fetching import Download, Fetching
from zwaif_fallback.ui.live import LIVE_ID, Live
from zwaif_fallback.ui.models import ModelControls, Models
from zwaif_fallback.ui.shelf import Shelf
from zwaif_fallback.ui.status import Service, Status
from zwaif_fallback.ui.trial import Trial, TrialControls
from zwaif_hooks import records
from zwaif_hooks.host import Host

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


class Panel:
    """What each control does. A problem becomes a line in the status box, never an exception in Z-Waif's console."""

    def __init__(
        self,
        host: Host,
        service: Service,
        outages: Outages | None = None,
        *,
        unchanged: Callable[[], Any] = lambda: None,
        update: Callable[..., Any] = dict,
        wait: Callable[[float], object] = time.sleep,
        download: Download | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        """``unchanged`` makes the value that leaves a component as it is, so that nobody's typing is overwritten;
        ``update`` one that changes its choices, too."""
        self._unchanged, self._update = unchanged, update
        self.changes = Changes(host.settings, [ENABLED, MODEL, HOST, *advanced.names()], tree=host.tree)
        self._built = self.changes.values()
        """What the page shows that was built with this panel."""
        self.shelf = shelf or Shelf(host.settings, host.tree)
        self.fetching = Fetching(download or _downloader(host))
        self.status = Status(service, self.fetching, wait)
        self.models = Models(service, self.shelf, self.changes, self.fetching, self.status, unchanged)
        self.address = Address(self.changes, self.status)
        self.built_status = self.status.text()
        self.trial = Trial(service, self.status)
        self.advanced = Advanced(self.changes, self.status, unchanged)
        self.live = Live(
            host.primaries,
            host.records,
            outages or Outages(),
            service,
            self.fetching,
            lambda: bool(self.changes.get(ENABLED)),
            lambda: records.read(records.path_for(host.tree)),
        )

    def toggle(self, seen: Seen = "") -> tuple[bool, str, Seen]:
        """The switch, the status, and what the window has seen now."""
        problem = self.changes.set(ENABLED, not self.changes.get(ENABLED))
        return self.changes.get(ENABLED), self.status.text(problem), self.changes.noted(seen, ENABLED)

    def undo(self) -> list[Any]:
        """Every value, what the window has seen now, and the status."""
        said = self.changes.undo()
        return [*self._shown(), self.changes.told(), self.status.text(said)]

    def reset(self) -> list[Any]:
        said = self.changes.reset()
        return [*self._shown(), self.changes.told(), self.status.text(said)]

    def opened(self) -> list[Any]:
        """A page was loaded: the values that changed since it was built, what it has seen now, the live state,
        and what is known of the chosen model.

        The others are there already, and somebody may be typing by now.
        """
        built = zip(self.changes.names, self.changes.values(), self._built, strict=True)
        values = [
            self._unchanged() if value == before and name != MODEL else self._value(name, value)
            for name, value, before in built
        ]
        return [*values, self.changes.told(), self.live.html(), self.models.info(self.shelf.chosen)]

    def opened_status(self) -> Iterator[Any]:
        """The status where the page was built with another, and for as long as a model is coming."""
        text = self.status.text()
        yield self._unchanged() if text == self.built_status else text
        yield from self._coming()

    def refresh(self, seen: Seen) -> list[Any]:
        """The values that changed since this window saw them, elsewhere; the others stay as somebody is typing them.

        A window that has seen nothing is still being opened, and gets them from there.
        """
        known, now = self.changes.seen(seen), dict(zip(self.changes.names, self.changes.values(), strict=True))
        updates = [
            self._value(name, value) if known and value != known[name] else self._unchanged()
            for name, value in now.items()
        ]
        told = json.dumps(list(now.values())) if known else ""
        return [*updates, told if told != seen else self._unchanged(), self.live.html()]

    def look(self, seen: Seen = "") -> Iterator[tuple[Any, Any]]:
        """The tab was opened: the models that are there now, and the status for as long as one is coming.

        Otherwise the status stays, as it may tell what came of a click that was quicker.
        """
        yield (self._update(choices=self.shelf.choices()) if seen else self._unchanged()), self._unchanged()
        for status in self._coming():
            yield self._unchanged(), status

    def _coming(self) -> Iterator[str]:
        if self.status.is_waiting:
            yield from self.status.watch()

    def _shown(self) -> list[Any]:
        return [self._value(name, self.changes.get(name)) for name in self.changes.names]

    def _value(self, name: str, value: Any) -> Any:
        return self._update(choices=self.shelf.choices(), value=value) if name == MODEL else value


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
        with make.row():
            self.toggle = make.button("Check/Uncheck")
            self.enabled = make.gradio.Checkbox(value=get(ENABLED), label=make.label(ENABLED), interactive=False)
        self.models = ModelControls(make, panel.models, make.label(MODEL))
        self.address = AddressControls(make, panel.address, make.label(HOST), get(HOST))
        self.trial = TrialControls(make, panel.trial)
        self.status = make.view("Fallback Status", panel.built_status, lines=3)
        with make.row():
            self.refresh = make.button("Refresh", elem_id=REFRESH_ID)
            self.undo = make.button("Undo Last Change")
            self.reset = make.button("Reset to Defaults")
        # Empty until the page is loaded: Z-Waif's start need not wait for what nobody sees yet.
        self.live = make.gradio.HTML(value="", elem_id=LIVE_ID)
        self.advanced = AdvancedControls(make, panel.advanced, panel.changes)
        self.seen = make.gradio.Textbox(value="", visible=False, interactive=True)

    def wire(self) -> None:
        make, panel, status = self._make, self._panel, self.status
        values = [self.enabled, self.models.list, self.address.box, *self.advanced.by_name.values()]
        make.on(self.toggle.click, panel.toggle, self.seen, [self.enabled, status, self.seen])
        self.models.wire(make, status)
        self.address.wire(make, status, self.seen)
        self.trial.wire(make, status)
        self.advanced.wire(make, status, self.seen)
        make.on(self.undo.click, panel.undo, None, [*values, self.seen, status])
        make.on(self.reset.click, panel.reset, None, [*values, self.seen, status])
        make.on(self.refresh.click, panel.refresh, self.seen, [*values, self.seen, self.live], queue=False)
        self._follow_the_page(values)

    def _follow_the_page(self, values: list[Any]) -> None:
        make, panel, context = self._make, self._panel, import_module(f"{self._make.gradio.__name__}.context").Context
        page, tab = context.root_block, context.block
        for twin in self._older_switches(page):
            make.on(twin.change, bool, twin, self.enabled)
        make.on(page.load, panel.opened, None, [*values, self.seen, self.live, self.models.info])
        make.on(page.load, panel.opened_status, None, self.status)
        make.on(page.load, None, None, None, js=EVERY_SECOND)
        while tab is not None and not hasattr(tab, "select"):
            tab = tab.parent
        if tab is not None:
            make.on(tab.select, panel.look, self.seen, [self.models.list, self.status])

    def _older_switches(self, page: Any) -> list[Any]:
        """v1.14-R4 has switches of its own for the same flag; ours follows their clicks.

        Not the other way round: a new value shown in one of them makes R4 rewrite ``.env`` in place, from two threads.
        """
        boxes = [block for block in page.blocks.values() if isinstance(block, self._make.gradio.Checkbox)]
        return [box for box in boxes if box is not self.enabled and box.label == self.enabled.label]


def _downloader(host: Host) -> Download:
    """Into the Hugging Face cache; a model that lies in Z-Waif's own folders is not fetched again."""

    def download(name: str, say: Any, *, report: Any, stop: Any) -> Path:
        from zwaif_fallback.download import download as fetch

        model_dir = str(host.settings.get("FALLBACK_MODEL_DIR"))
        return fetch(name, say, tree=host.tree, model_dir=model_dir, report=report, stop=stop)

    return download
