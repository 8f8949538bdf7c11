"""The syntax of model names; :mod:`zwaif_fallback.models.find_by_name` finds the files they mean.

A module of its own because Z-Waif's start waits for it.
"""

from __future__ import annotations

import re
from pathlib import Path

_SCHEME = re.compile(r"(ollama|lmstudio):(.+)", re.IGNORECASE)
_IN_REPOSITORY = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*):(?P<file>[^:\\]+)", re.ASCII)
_REPOSITORY = re.compile(r"(?=.{3,96}\Z)[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?<![.-])", re.ASCII)
_FILE = re.compile(r"(?:[A-Za-z0-9][\w.-]*/){0,3}[A-Za-z0-9][\w.-]*\.gguf", re.ASCII | re.IGNORECASE)
_QUANTIZED = re.compile(r"\.?(?:I?Q\d\w*|TQ\d_\d|MXFP4\w*|B?F16|F32)", re.IGNORECASE)
_LOOKS_LIKE_PATH = re.compile(r"^(?:[./~]|[A-Za-z]:)|\\")
_PATH_LIKE = re.compile(r"[A-Za-z]:[\\/]|[\\/.~]|.*\\|.*/.*/|.*\.gguf$", re.IGNORECASE)


def program_of(name: str) -> tuple[str, str]:
    """Split ``ollama:llama3.2:3b`` into ``("ollama", "llama3.2:3b")``; two empty strings for any other name."""
    match = _SCHEME.fullmatch(name.strip())
    return (match[1].lower(), match[2].strip()) if match else ("", "")


def file_in_repository(name: str) -> tuple[str, str]:
    """Split ``owner/name:file.gguf`` into repository and file pattern; two empty strings for any other name.

    The part after the colon is a file, a pattern (``*Q4_K_M*``) or a quantization (``Q4_K_M``).
    """
    match = _IN_REPOSITORY.fullmatch(name.strip())
    if match is None or program_of(name)[0]:
        return "", ""
    wanted = match["file"].strip()
    if _QUANTIZED.fullmatch(wanted):
        wanted = f"*{wanted}*.gguf"
    return match["repo"], wanted


def is_repository(name: str) -> bool:
    """Return whether ``owner/name`` is a valid repository name on the Hugging Face hub."""
    forbidden = "--" in name or ".." in name or name.endswith(".git")
    return _REPOSITORY.fullmatch(name) is not None and not forbidden


def is_hub_name(name: str) -> bool:
    """Return whether this is exactly ``owner/name`` or ``owner/name:file.gguf``, as the hub spells it."""
    repository, colon, file = name.partition(":")
    return is_repository(repository) and (not colon or (_FILE.fullmatch(file) is not None and ".." not in file))


def is_path(model: str) -> bool:
    """Return whether a resolved model is a path on this computer and not a hub id (``owner/name``)."""
    return bool(_LOOKS_LIKE_PATH.search(model)) or Path(model).exists()


def looks_like_path(name: str) -> bool:
    """Return whether a user's text is meant as a path, existing or not (older releases stored GGUF paths)."""
    return bool(_PATH_LIKE.match(name.strip().strip("\"'")))
