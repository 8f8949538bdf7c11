"""Checks what would start the LLM server again (``API_FALLBACK_RESTART``)."""

from __future__ import annotations

from zwaif_fallback.addresses import is_this_machine
from zwaif_fallback.answering.who_speaks import server_program
from zwaif_fallback.doctor.findings import Finding, ok, skipped
from zwaif_fallback.doctor.situation import Situation
from zwaif_fallback.models.program_folders import this_machine
from zwaif_fallback.restart.start_command import OFF, NoStartCommand, start_command
from zwaif_fallback.settings import RESTART
from zwaif_hooks.failover.start_check import configured_primary

_NOT_STARTED = "The LLM server is not started again when it ends."


def check_restart(here: Situation) -> Finding:
    setting = here.text(RESTART)
    if setting.casefold() == OFF:
        return skipped("off: you start the LLM server yourself")
    kind, address = configured_primary(here.env)
    if kind.casefold() != "lmstudio" and not is_this_machine(address):
        return Finding(
            "warning",
            f"{RESTART} is {setting}, but the LLM server is on another computer ({address})",
            _NOT_STARTED,
            f"Set {RESTART} to off.",
        )
    try:
        command = start_command(setting, kind, this_machine(), here.tree)
    except NoStartCommand as problem:
        return Finding("warning", f"{RESTART} is {setting}, but nothing can be started", _NOT_STARTED, f"{problem}.")
    return ok(f"when {server_program(here.env)} has ended, this starts it again: {command}")
