"""The whole story on one page: every hook that this plugin implements, in the order in which they run.

1. Z-Waif starts. Add our settings and say whether the fallback can answer.
2. The LLM server works. With ``API_FALLBACK_PRELOAD = warm``, let the local model read along.
3. The server is late. Get the local model ready, in case the server fails.
4. The server fails. Say so, load the local model, and reply: the second server, the local model, or last words.
5. The reply is complete. Say who replied, and read ahead for the next one.
6. The server is back. Say so.
"""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from zwaif_fallback.answering.outages import Outages
from zwaif_fallback.models import plugin_engines
from zwaif_fallback.settings import RESTART, SETTINGS
from zwaif_hooks import log
from zwaif_hooks.failover import failure_messages
from zwaif_hooks.failover.breaker import HARD
from zwaif_hooks.failover.takeover import MEANWHILE
from zwaif_hooks.host.settings_store import SettingsStore
from zwaif_hooks.host_handle import Host
from zwaif_hooks.messages import Answer, AnswerRecord, ChatRequest, FailureKind, ModelInfo, PrimaryFailure, PromptFormat
from zwaif_hooks.specs import hookimpl

if TYPE_CHECKING:  # Z-Waif's start waits for this module, so the rest is imported later, in a background thread
    from pathlib import Path

    from zwaif_fallback.answering.contracts import SecondServer
    from zwaif_fallback.answering.service import FallbackService
    from zwaif_fallback.restart.llm_server import Server
    from zwaif_fallback.restart.restarter import Restarter

_lock = threading.RLock()
_service: FallbackService | None = None
_host: Host | None = None
_restarter: Restarter | None = None
_outages = Outages()


# --- 1. Z-Waif starts -------------------------------------------------------------------------------------------------


@hookimpl
def zwaif_started(host: Host) -> None:
    """Add the settings first, because ``.env`` decides the rest."""
    host.settings.extend(SETTINGS)
    ours = service(host)
    plugin_engines.models()  # an engine with a mistake is reported now, not in an outage
    host.settings.subscribe(ours.setting_changed)
    host.settings.subscribe(_setting_changed)
    if host.settings.get("API_FALLBACK_ENABLED"):
        ours.prepare()
    ours.stand_by(host.records.under_way)


@hookimpl(tryfirst=True)
def register_settings_ui(gradio: Any, host: Host) -> None:
    """Build the section; it stands before those of other plugins."""
    from zwaif_fallback.ui import section

    host.settings.extend(SETTINGS)
    section.build(gradio, host, service(host).controls, _outages, restarting=_restarting)


# --- 2. and 3. The server works, or is late ---------------------------------------------------------------------------


@hookimpl
def primary_answered(describe: Callable[[], ChatRequest], reply: str) -> None:
    service().primary_answered(describe, reply)
    if _restarter is not None:
        _restarter.primary_answered()


@hookimpl
def primary_late(primary: str, describe: Callable[[], ChatRequest], delivered: str) -> None:
    service().primary_late(primary, describe, delivered)


# --- 4. The server fails ----------------------------------------------------------------------------------------------


@hookimpl
def primary_failed(primary: str, failure: PrimaryFailure) -> None:
    _outages.began(primary, failure_messages.what(failure))
    remedy = f". {failure_messages.remedy(failure)}" if failure_messages.remedy(failure) else ""
    log.say(f"{primary} {failure_messages.what(failure)}: replies come from the fallback until it is back{remedy}")
    _note(primary, failure)
    _preload(failure)
    restarter().primary_failed(primary)


@hookimpl(trylast=True)
def on_primary_failure(request: ChatRequest, failure: PrimaryFailure) -> Answer:
    """Runs last, so that any other plugin may answer instead."""
    return service().answer(request, failure)


@hookimpl(trylast=True)
def say_while_waiting(request: ChatRequest) -> str | None:
    return service().while_waiting(request)


@hookimpl(trylast=True)
def prompt_format(model: ModelInfo) -> PromptFormat:
    """For other plugins that need a prompt. Our own replies ask only other plugins (``_ask_other_plugins``)."""
    from zwaif_fallback.prompt import formats

    return formats.own(model)


# --- 5. The reply is complete -----------------------------------------------------------------------------------------


@hookimpl
def fallback_answered(record: AnswerRecord) -> None:
    failure = record.failure
    if record.answered_by == MEANWHILE:
        waited = f"{record.first_text_after:.0f} s"
        log.say(f"No reply was ready after {waited}, so only a short line was said. The next message should get one")
        service().prepare_next(record.request, record.text)
        return
    service().answered(record)
    log.say(
        f"Successfully used fallback API: {record.answered_by} answered, as {record.request.primary} "
        f"{failure_messages.what(failure)} (first words after {record.first_text_after:.1f} s)"
    )
    if failure.kind not in HARD:  # a failure that starts an outage was logged by primary_failed
        _note(record.request.primary, failure)
    service().turn_over(record.request, failure.delivered + record.text)


# --- 6. The server is back --------------------------------------------------------------------------------------------


@hookimpl
def primary_recovered(primary: str, outage_seconds: float) -> None:
    _outages.ended(primary, outage_seconds)
    log.say(f"{primary} is back after {outage_seconds:.0f} s and gets the next message")
    service().outage_over()
    restarter().primary_recovered(primary)


# --- the parts --------------------------------------------------------------------------------------------------------


def _preload(failure: PrimaryFailure) -> None:
    """Load the local model; in another thread if plugins must be asked first, because a reply waits for this one."""
    if _host is not None and _host.plugins.wants("will_answer"):
        threading.Thread(target=service().preload, args=(failure,), name="zwaif-will-answer", daemon=True).start()
    else:
        service().preload()


def _note(primary: str, failure: PrimaryFailure) -> None:
    if failure.kind is not FailureKind.OPEN:
        log.note(f"{primary}: {failure.kind.value} after {failure.elapsed:.1f} s: {failure.cause}")


def service(host: Host | None = None) -> FallbackService:
    """Return this process's service. It is made on first use; ``.env`` counts from when Z-Waif has started."""
    global _service, _host
    with _lock:
        _host = host or _host
        if _service is None:
            _service = _make()
            atexit.register(_service.close)
        if host is not None:
            _service.attach(host.settings, host.tree)
            plugin_engines.use(host.plugins.engines)
        return _service


def forget() -> None:
    """Close the service; the next use makes a new one. For tests, and for a process that exits early."""
    global _service, _host, _restarter
    with _lock:
        for part in (_service, _restarter):
            if part is not None:
                atexit.unregister(part.close)
                part.close()
        _service = _host = _restarter = None
        plugin_engines.use(tuple)


def restarter() -> Restarter:
    """Return what starts the LLM server again. It is made on first use."""
    global _restarter
    with _lock:
        if _restarter is None:
            from zwaif_fallback.restart.restarter import Restarter, Tools

            _restarter = Restarter(_llm_server, Tools(log.say), lambda: _host.tree if _host else None)
            atexit.register(_restarter.close)
        return _restarter


def _llm_server(address: str) -> Server | None:
    from zwaif_fallback.restart.llm_server import llm_server

    return llm_server(address, str(service().setting(RESTART)), _host.tree if _host else None)


def _restarting() -> str:
    return _restarter.line() if _restarter is not None else ""


def _setting_changed(name: str, value: object) -> None:
    if name == RESTART:
        restarter().setting_changed()


def _make() -> FallbackService:
    from zwaif_fallback.answering.service import Collaborators, FallbackService
    from zwaif_fallback.local.model import LocalModel
    from zwaif_fallback.pictures.captioner import PictureCaptioner

    settings = _host.settings if _host else SettingsStore(SETTINGS)
    local = LocalModel(hang_timeout=float(settings.get("API_FALLBACK_ENGINE_TIMEOUT")), say=log.say)
    captioner = PictureCaptioner(log.report, places=_places)
    parts = Collaborators(settings, local, _second_server, log.say, _ask_other_plugins, _others_answer, captioner)
    return FallbackService(parts)


def _places(model: str) -> list[Path]:
    """Where to look for a vision model; the same places as for the local model."""
    from zwaif_fallback.choosing.resolve_name import places

    tree = _host.tree if _host else None
    return places(model, tree, str(service().setting("FALLBACK_MODEL_DIR")))


def _second_server(address: str, model: str) -> SecondServer:
    """Return the second server, with the same deadlines as the primary."""
    from zwaif_fallback.answering.second_server import Deadlines, second_server

    names = ("CONNECT", "FIRST_TOKEN", "STALL")
    seconds = [float(service().setting(f"API_FALLBACK_{name}_TIMEOUT")) for name in names]
    return second_server(service().setting, address, model, Deadlines(*seconds))


def _ask_other_plugins(model: ModelInfo) -> Iterable[PromptFormat]:
    """Return the formats of other plugins for a model."""
    if _host is None:  # Z-Waif has not started
        return ()
    return _host.plugins.prompt_formats(model, without=sys.modules[__name__])


def _others_answer(request: ChatRequest | None, failure: PrimaryFailure | None) -> bool:
    """Return whether another plugin says that it is going to answer."""
    return _host is not None and _host.plugins.someone_will_answer(request, failure, without=sys.modules[__name__])
