"""The whole story on one page.

Z-Waif starts: we add our settings, look whether the local model is on this computer, and say so. The LLM server fails a
request: the chain answers from the fallback host, the local model, or with a last word, and goes on where the server
stopped. An outage begins: the local model is loaded before the next message needs it. The server is back: we say so.
"""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from zwaif_fallback.answering.outages import Outages
from zwaif_fallback.settings import SETTINGS
from zwaif_hooks import log
from zwaif_hooks.failover import failure_messages
from zwaif_hooks.failover.breaker import HARD
from zwaif_hooks.failover.takeover import MEANWHILE
from zwaif_hooks.handle import Host
from zwaif_hooks.host.settings import SettingsStore
from zwaif_hooks.messages import Answer, AnswerRecord, ChatRequest, FailureKind, Message, ModelInfo, PrimaryFailure
from zwaif_hooks.specs import hookimpl

if TYPE_CHECKING:  # Z-Waif's start waits for this module; what does the work is imported in a thread of ours
    from pathlib import Path

    from zwaif_fallback.answering.contracts import SecondServer
    from zwaif_fallback.answering.service import FallbackService

_lock = threading.RLock()
_service: FallbackService | None = None
_host: Host | None = None
_outages = Outages()


@hookimpl
def zwaif_started(host: Host) -> None:
    """Settings first, so that ``.env`` counts; then see what there is to answer with."""
    host.settings.extend(SETTINGS)
    made = service(host)
    host.settings.subscribe(made.setting_changed)
    if host.settings.get("API_FALLBACK_ENABLED"):
        made.prepare()
    made.stand_by(host.records.under_way)


@hookimpl(trylast=True)
def on_primary_failure(request: ChatRequest, failure: PrimaryFailure) -> Answer:
    return service().answer(request, failure)


@hookimpl(trylast=True)
def say_while_waiting(request: ChatRequest) -> str | None:
    return service().while_waiting(request)


@hookimpl(trylast=True)
def format_prompt(messages: Sequence[Message], model: ModelInfo, partial: str) -> str:
    """For other plugins, which may ask for a prompt; our own replies do not go through the hook."""
    from zwaif_fallback.prompt import formats

    return formats.write(messages, model, partial)


@hookimpl
def register_settings_ui(gradio: Any, host: Host) -> None:
    from zwaif_fallback.ui import section

    host.settings.extend(SETTINGS)
    section.build(gradio, host, service(host).controls, _outages)


@hookimpl
def fallback_answered(record: AnswerRecord) -> None:
    failure = record.failure
    if record.answered_by == MEANWHILE:
        waited = f"{record.first_text_after:.0f} s"
        log.say(f"No reply was ready after {waited}, so only a short line was said. The next message should get one")
        service().prepare_next(record.request, record.text)
        return
    line = (
        f"Successfully used fallback API: {record.answered_by} answered, as {record.request.primary} "
        f"{failure_messages.what(failure)} (first words after {record.first_text_after:.1f} s)"
    )
    service().answered(record)
    log.say(line)
    if failure.kind not in HARD:
        _note(record.request.primary, failure)
    service().turn_over(record.request, failure.delivered + record.text)


@hookimpl
def primary_answered(describe: Callable[[], ChatRequest], reply: str) -> None:
    service().primary_answered(describe, reply)


@hookimpl
def primary_late(primary: str, describe: Callable[[], ChatRequest], delivered: str) -> None:
    service().primary_late(primary, describe, delivered)


@hookimpl
def primary_failed(primary: str, failure: PrimaryFailure) -> None:
    _outages.began(primary, failure_messages.what(failure))
    remedy = f". {failure_messages.remedy(failure)}" if failure_messages.remedy(failure) else ""
    log.say(f"{primary} {failure_messages.what(failure)}: replies come from the fallback until it is back{remedy}")
    _note(primary, failure)
    service().preload()


@hookimpl
def primary_recovered(primary: str, outage_seconds: float) -> None:
    _outages.ended(primary, outage_seconds)
    log.say(f"{primary} is back after {outage_seconds:.0f} s and gets the next message")
    service().outage_over()


def _note(primary: str, failure: PrimaryFailure) -> None:
    if failure.kind is not FailureKind.OPEN:
        log.note(f"{primary}: {failure.kind.value} after {failure.elapsed:.1f} s: {failure.cause}")


def service(host: Host | None = None) -> FallbackService:
    """The one service of this process; made on first use, with ``.env`` values from when Z-Waif has started."""
    global _service, _host
    with _lock:
        _host = host or _host
        if _service is None:
            _service = _make()
            atexit.register(_service.close)
        if host is not None:
            _service.attach(host.settings, host.tree)
        return _service


def forget() -> None:
    """End the service; the next use makes a new one. For tests, and for leaving a process early."""
    global _service, _host
    with _lock:
        if _service is not None:
            atexit.unregister(_service.close)
            _service.close()
        _service = _host = None


def _make() -> FallbackService:
    from zwaif_fallback.answering.service import Collaborators, FallbackService
    from zwaif_fallback.local.model import LocalModel
    from zwaif_fallback.pictures.captioner import PictureCaptioner

    settings = _host.settings if _host else SettingsStore(SETTINGS)
    local = LocalModel(hang_timeout=float(settings.get("API_FALLBACK_ENGINE_TIMEOUT")), say=log.say)
    captioner = PictureCaptioner(log.report, places=_places)
    return FallbackService(Collaborators(settings, local, _second_server, log.say, _ask_other_plugins, captioner))


def _places(model: str) -> list[Path]:
    """Where the model that looks at pictures may be, as for the one that replies."""
    from zwaif_fallback.choosing.resolve_name import places

    tree = _host.tree if _host else None
    return places(model, tree, str(service().setting("FALLBACK_MODEL_DIR")))


def _second_server(address: str, model: str) -> SecondServer:
    """Another server is given as much time as the primary."""
    from zwaif_fallback.answering.second_server import Deadlines, second_server

    names = ("CONNECT", "FIRST_TOKEN", "STALL")
    seconds = [float(service().setting(f"API_FALLBACK_{name}_TIMEOUT")) for name in names]
    return second_server(service().setting, address, model, Deadlines(*seconds))


def _ask_other_plugins(messages: Sequence[Message], model: ModelInfo, partial: str) -> str | None:
    """The prompt of the first other plugin that writes one (hook ``format_prompt``)."""
    if _host is None:  # Z-Waif has not started
        return None
    return _host.plugins.format_prompt(messages, model, partial, without=sys.modules[__name__])
