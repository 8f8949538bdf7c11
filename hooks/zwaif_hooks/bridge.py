"""Attaches everything to Z-Waif. ``TARGETS`` is the table of what is attached to which module."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from dotenv import dotenv_values

from zwaif_hooks import log
from zwaif_hooks.background.deferred import deferred
from zwaif_hooks.failover.learned import LearnedFile
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.failover.start_check import check_at_start, configured_primary, find_lmstudio
from zwaif_hooks.guards import http, lmstudio, ollama, sse_client, v1_14_r4_pictures
from zwaif_hooks.host import debug_tab, known_parts
from zwaif_hooks.host_handle import Host
from zwaif_hooks.messages import PrimaryFailure
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.runtime import Runtime
from zwaif_hooks.turn_log import TurnLog, path_for

if TYPE_CHECKING:
    from zwaif_hooks.startup import ImportWatcher

STOP_SECONDS = 2.0
"""How long Z-Waif's end waits for the plugins."""
LAST_CALLS_SECONDS = 1.0
"""The part of that time in which plugins hear of the last turn, before ``zwaif_stopping``."""


class Target(NamedTuple):
    """A module of Z-Waif's process, and what to do once it has been imported."""

    module: str
    attach: Callable[[Bridge, ModuleType], None]


class Bridge:
    """All parts of this package in one running Z-Waif."""

    def __init__(self, tree: Path) -> None:
        from zwaif_hooks.guard_settings import GUARD_SETTINGS
        from zwaif_hooks.host.settings_store import SettingsStore

        self.settings = SettingsStore(GUARD_SETTINGS, tree / ".env")
        self.plugins = PluginManager(log.report, self.settings.text_of)
        self.primaries = PrimaryRegistry(self._primary_changed)
        self.records = TurnLog(path_for(tree))
        self.learned = LearnedFile(path_for(tree, "learned", "json"), self.primaries)
        self.host = Host(tree, self.settings, self.primaries, self.plugins, self.records)
        self.runtime = Runtime(
            tree,
            self.settings,
            self.plugins,
            self.primaries,
            log.say,
            log.report,
            records=self.records,
            learned=self.learned,
        )
        self.runtime.start_plugins = self.start_plugins
        self._started = False

    def start_plugins(self) -> None:
        """Tell the plugins that Z-Waif is up, once, in a background thread.

        Called when Z-Waif's controller has been imported, or before the first message to a server if there is no
        controller of that name.
        """
        if self._started:
            return
        self._started = True
        threading.Thread(target=self._start_and_stay, name="zwaif-plugins", daemon=True).start()

    def _start_and_stay(self) -> None:
        """Start the plugins, and leave a thread that waits for the end: Python 3.12 starts none while it ends."""
        self._start()
        threading.Thread(target=self._wait_for_the_end, name="zwaif-end", daemon=True).start()

    def _wait_for_the_end(self) -> None:
        ends, told = threading.Event(), threading.Event()

        def end() -> None:
            ends.set()
            if not told.wait(STOP_SECONDS):
                self.plugins.name_unfinished("zwaif_stopping")

        atexit.register(end)  # runs before what the plugins registered while they started
        ends.wait()
        if deferred.catch_up(LAST_CALLS_SECONDS / 2):
            self.plugins.catch_up(LAST_CALLS_SECONDS / 2)
        self.plugins.hook.zwaif_stopping()
        told.set()

    def _start(self) -> None:
        self.settings.reload()
        self.learned.restore()
        if line := known_parts.line(known_parts.missing(self.host.tree)):
            log.say(line)
        self.plugins.start(self.host)
        if line := self.plugins.line_of_the_healthy():
            log.say(line)
        for line in self.settings.mistyped():
            log.say(f"{line} (in Z-Waif's .env)")
        if not self.runtime.enabled:
            log.say("Fallback is switched off (API_FALLBACK_ENABLED = OFF): Z-Waif runs as if it were not installed")
            return
        kind, name = configured_primary(dict(dotenv_values(self.host.tree / ".env")) | dict(os.environ))
        if line := find_lmstudio() if kind == "LMStudio" else check_at_start(kind, self.primaries.get(name)):
            log.say(line)
        self.learned.resume_outages()

    def _primary_changed(self, name: str, failure: PrimaryFailure | None, seconds: float) -> None:
        deferred.defer(self.learned.save)
        if failure is not None:
            self.plugins.hook.primary_failed(primary=name, failure=failure)
        else:
            self.plugins.hook.primary_recovered(primary=name, outage_seconds=seconds)


def open_bridge(tree: str, watcher: ImportWatcher) -> Bridge:
    """Start the bridge. Called by the start-up watcher just before the first module of a Z-Waif tree is executed."""
    log.watch_console()
    log.also_tell(debug_tab.add_line)
    bridge = Bridge(Path(tree))
    bridge.plugins.discover()
    bridge.plugins.register_settings(bridge.settings)
    for target in TARGETS:
        watcher.after_import(target.module, lambda module, attach=target.attach: attach(bridge, module))  # type: ignore[misc]
    return bridge


def _guard_requests(bridge: Bridge, module: ModuleType) -> None:
    http.install(module, bridge.runtime)


def _guard_ollama(bridge: Bridge, module: ModuleType) -> None:
    ollama.install(module, bridge.runtime)


def _guard_lmstudio(bridge: Bridge, module: ModuleType) -> None:
    lmstudio.install(module, bridge.runtime)


def _let_streams_be_iterated(bridge: Bridge, module: ModuleType) -> None:
    sse_client.install(module)


def _guard_r4_pictures(bridge: Bridge, module: ModuleType) -> None:
    if _is_zwaifs(bridge, module):
        v1_14_r4_pictures.install(module, bridge.runtime)


def _bind_settings(bridge: Bridge, module: ModuleType) -> None:
    if _is_zwaifs(bridge, module):
        bridge.settings.bind(module)


def _add_settings_tab(bridge: Bridge, module: ModuleType) -> None:
    demo = getattr(module, "demo", None)
    gradio = sys.modules.get("gradio")
    if not _is_zwaifs(bridge, module) or gradio is None or not hasattr(demo, "blocks"):
        return
    from zwaif_hooks.host.webui import add_to_settings_tab

    add_to_settings_tab(demo, gradio, bridge.plugins.builders(gradio, bridge.host))


def _controller_is_up(bridge: Bridge, module: ModuleType) -> None:
    if _is_zwaifs(bridge, module) and hasattr(module, "send_via_oogabooga"):
        bridge.start_plugins()


def _is_zwaifs(bridge: Bridge, module: ModuleType) -> bool:
    """Return whether a module is Z-Waif's own. The file decides, because the module names are generic."""
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve().is_relative_to(bridge.host.tree.resolve())


TARGETS = (
    Target("requests.sessions", _guard_requests),
    Target("ollama._client", _guard_ollama),
    Target("lmstudio", _guard_lmstudio),
    Target("sseclient", _let_streams_be_iterated),
    Target("API.fallback_api", _guard_r4_pictures),
    Target("utils.settings", _bind_settings),
    Target("utils.web_ui", _add_settings_tab),
    Target("API.api_controller", _controller_is_up),
    Target("API.Oogabooga_Api_Support", _controller_is_up),
)
