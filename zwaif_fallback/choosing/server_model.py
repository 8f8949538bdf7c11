"""Find the model of Z-Waif's own server as a file on this computer: it sounds the same and needs no download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zwaif_fallback.models.find_by_name import matches_lmstudio
from zwaif_fallback.models.name_syntax import program_of
from zwaif_fallback.models.ollama_store import full_name
from zwaif_fallback.models.program_folders import LMSTUDIO, OLLAMA
from zwaif_fallback.models.search import FoundModel


def served_name(values: Mapping[str, str]) -> str:
    """Return the model that Z-Waif requests, as ``ollama:NAME`` or ``lmstudio:NAME``; empty if only the server knows.

    Args:
        values: Z-Waif's ``.env``: ``API_TYPE``, ``ZW_OLLAMA_MODEL``, ``ZW_LMSTUDIO_MODEL``.
    """
    keys = {"ollama": "ZW_OLLAMA_MODEL", "lmstudio": "ZW_LMSTUDIO_MODEL"}
    program = values.get("API_TYPE", "").strip().casefold()
    model = values.get(keys.get(program, ""), "").strip().strip("\"'").strip()
    return f"{program}:{model}" if model else ""


def served_model(values: Mapping[str, str], models: Sequence[FoundModel]) -> FoundModel | None:
    """Return the server's model among those found; None if it is not on this computer."""
    program, wanted = program_of(served_name(values))
    if program == "ollama":
        name = full_name(wanted)
        return next((one for one in models if one.source == OLLAMA and full_name(one.name) == name), None)
    if program == "lmstudio":
        relative = ((one, program_of(one.setting)[1]) for one in models if one.source == LMSTUDIO)
        return next((one for one, path in relative if one.facts.usable and matches_lmstudio(wanted, path)), None)
    return None
