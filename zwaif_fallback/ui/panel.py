"""What each control of the section does, and how open windows are kept up to date."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zwaif_fallback.addresses import HOST
from zwaif_fallback.answering.outages import Outages
from zwaif_fallback.choosing.auto import env_values, is_auto
from zwaif_fallback.ui import advanced
from zwaif_fallback.ui.advanced import Advanced
from zwaif_fallback.ui.components import paragraph, problem, text_of
from zwaif_fallback.ui.fallback_host import FallbackHost
from zwaif_fallback.ui.live_status import LiveStatus
from zwaif_fallback.ui.model_actions import ModelActions
from zwaif_fallback.ui.model_download import Download, ModelDownload
from zwaif_fallback.ui.model_list import ModelList
from zwaif_fallback.ui.service_protocol import Service
from zwaif_fallback.ui.setting_edits import ENABLED, MODEL, Seen, SettingEdits
from zwaif_fallback.ui.test_reply import TestReply
from zwaif_hooks import turn_log
from zwaif_hooks.failover.start_check import configured_primary
from zwaif_hooks.host_handle import Host


class Panel:
    """What each control does. A problem becomes a line next to the control, never an exception on Z-Waif's console."""

    def __init__(
        self,
        host: Host,
        service: Service,
        outages: Outages | None = None,
        *,
        unchanged: Callable[[], Any] = lambda: None,
        update: Callable[..., Any] = dict,
        download: Download | None = None,
        model_list: ModelList | None = None,
    ) -> None:
        """
        Args:
            unchanged: Returns the update that leaves a component alone, so nobody's typing is overwritten.
            update: ``gradio.update``.
        """
        self._unchanged, self._update, self._service = unchanged, update, service
        self.model_list = model_list or ModelList(host.settings, host.tree)
        self.plugins = advanced.by_plugin(host.settings.table)
        of_plugins = [one.name for settings in self.plugins.values() for one in settings if one.on_page]
        names = [ENABLED, MODEL, HOST, *advanced.names(), *of_plugins]
        picked = lambda: self.model_list.selected(service)  # noqa: E731
        self.edits = SettingEdits(host.settings, names, tree=host.tree, picked=picked)
        self._built = {name: self.edits.get(name) for name in names}
        """The values that the page was built with."""
        self.model_download = ModelDownload(download or _downloader(host))
        self.models = ModelActions(service, self.model_list, self.edits, self.model_download, unchanged)
        self.fallback_host = FallbackHost(self.edits, lambda: _main_servers(host))
        self.test_reply = TestReply(service, self.models.model_to_test, self.model_list.display_name)
        self.advanced = Advanced(self.edits, update)
        self.live = LiveStatus(
            host.primaries,
            host.records,
            outages or Outages(),
            service,
            self.model_list,
            self.edits.get,
            lambda: env_values(host.tree),
            lambda: turn_log.read(turn_log.path_for(host.tree)),
        )

    def toggle(self, seen: Seen = "") -> tuple[bool, str, Seen, str]:
        """Flip the switch. Return its state, the problem, what the window has seen, and the live status."""
        wrong = self.edits.set(ENABLED, not self.edits.get(ENABLED))
        return self.edits.get(ENABLED), problem(wrong), self.edits.seen_with(seen, ENABLED), self.live.html()

    def undo(self) -> list[Any]:
        """Undo the last change. Return every value, what the window has seen, and the outcome."""
        said = self.edits.undo()
        return [*self._shown(), self.edits.seen_now(), paragraph(said)]

    def reset(self) -> list[Any]:
        said = self.edits.reset()
        return [*self._shown(), self.edits.seen_now(), paragraph(said)]

    def page_loaded(self) -> list[Any]:
        """Fill a page that was just loaded.

        Return the values that differ from those it was built with, what the window has seen, the live status, the
        state of the model, the information on the selected one, and the digest of the list of models. The other values
        stay: somebody may be typing.
        """
        values = [
            self._unchanged() if self.edits.get(name) == before and name != MODEL else self._shown_of(name)
            for name, before in self._built.items()
        ]
        picked = self.model_list.selected(self._service)[1]
        state, info = self.models.state(), self.models.info(picked)
        return [*values, self.edits.seen_now(), self.live.html(), state, info, self.model_list.digest(self._service)]

    def refresh(self, seen: Seen) -> list[Any]:
        """Return the values that were changed elsewhere since this window saw them; the others stay.

        A window that has seen nothing yet is filled by :meth:`page_loaded`.
        """
        known, now = self.edits.parse_seen(seen), dict(zip(self.edits.names, self.edits.values(), strict=True))
        updates = [
            self._shown_of(name) if known and value != known[name] else self._unchanged() for name, value in now.items()
        ]
        told = json.dumps(list(now.values())) if known else ""
        news = told if told != seen else self._unchanged()
        return [*updates, news, self.live.html(), self.models.state()]

    def tab_opened(self, model: object, seen: Seen = "", listed: str = "") -> list[Any]:
        """Update the list of models when the tab is opened, and keep the row that this window has selected.

        Return the list and its digest. Both stay if the window shows the same list already: an update would close the
        list, or shrink it to one row, under the hand of somebody who has just opened it. A window that has seen nothing
        yet is filled by :meth:`page_loaded`.
        """
        digest = self.model_list.digest(self._service)
        if not seen or digest == listed:
            return [self._unchanged(), self._unchanged()]
        choices, picked = self.model_list.choices(self._service), self.model_list.setting_for(text_of(model))
        return [self._update(choices=choices, value=choices[0][1] if is_auto(picked) else picked), digest]

    def _shown(self) -> list[Any]:
        return [self._shown_of(name) for name in self.edits.names]

    def _shown_of(self, name: str) -> Any:
        if name != MODEL:
            return self.edits.get(name)
        return self._update(
            choices=self.model_list.choices(self._service), value=self.model_list.selected(self._service)[1]
        )


def _main_servers(host: Host) -> list[str]:
    """Return all addresses of Z-Waif's own LLM server: from ``.env``, and as it was contacted."""
    kind, address = configured_primary(env_values(host.tree))
    named = [] if kind == "LMStudio" else [address]  # LM Studio is found by its library, not by an address
    return [*named, *(one.name for one in host.primaries.statuses())]


def _downloader(host: Host) -> Download:
    """Return a function that downloads to the Hugging Face cache, unless Z-Waif's folders have the model."""

    def download(name: str, say: Any, *, report: Any, stop: Any) -> Path:
        from zwaif_fallback.downloads.download import download as fetch

        model_dir = str(host.settings.get("FALLBACK_MODEL_DIR"))
        return fetch(name, say, tree=host.tree, model_dir=model_dir, report=report, stop=stop)

    return download
