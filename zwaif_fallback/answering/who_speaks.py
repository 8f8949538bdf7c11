"""Says who speaks for the companion. The chat page, the Settings tab and ``status`` use the same sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zwaif_fallback.answering.last_words import LAST_WORDS
from zwaif_hooks.failover.start_check import configured_primary

_PROGRAMS = {"lmstudio": "LM Studio", "ollama": "Ollama", "oobabooga": "Oobabooga"}


def server_program(environ: Mapping[str, str | None]) -> str:
    """Return the name of the LLM server's program, such as ``Oobabooga``. ``environ`` is Z-Waif's ``.env``."""
    kind = configured_primary(environ)[0]
    return _PROGRAMS.get(kind.casefold(), kind)


def stand_in(answered_by: str, fallback_host: str, shown: Callable[[str], str]) -> str:
    """Return who spoke instead of the server, such as ``SmolLM2 135M Instruct on this computer``.

    Args:
        answered_by: from the turn's record; if it names several, the last one counts.
        fallback_host: ``API_FALLBACK_HOST``.
        shown: returns a model's display name.
    """
    name = answered_by.rpartition(", then ")[2]
    if name == LAST_WORDS:
        return "no model (last words only)"
    if fallback_host and name == fallback_host.strip():
        return f"the second server {name}"
    return f"{shown(name)} on this computer"


def signature(who: str, first: float | None, whole: float, stopped: bool = False) -> str:
    """Return who gave a reply and how fast, in brackets, to be shown below it.

    Args:
        who: Display name; empty if unknown.
        first: Seconds to the first word; None if there was no text.
        whole: Seconds to the end.
        stopped: Whether the user stopped the reply.
    """
    words = "no text" if first is None else f"first words after {first:.1f} s"
    return f"[{who or 'unknown'}: {words}, {'stopped' if stopped else 'finished'} after {whole:.1f} s]"


def while_down(answered_by: str, server: str, fallback_host: str, shown: Callable[[str], str]) -> str:
    """Return the line for the chat page.

    For example ``Answered by SmolLM2 135M Instruct on this computer while Oobabooga is down.``
    """
    if answered_by.endswith(LAST_WORDS):
        return f"{server} is down and no model is ready to answer. See API Fallback in the Settings tab."
    return f"Answered by {stand_in(answered_by, fallback_host, shown)} while {server} is down."
