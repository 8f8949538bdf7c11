"""Finds the LLM server that Z-Waif is set to use, and checks at start whether it is up."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

from zwaif_hooks.failover.breaker import Primary
from zwaif_hooks.messages import FailureKind, PrimaryFailure
from zwaif_hooks.network.connect import listens

DEFAULT_PORTS = {"oobabooga": 5000, "ollama": 11434}


def configured_primary(environ: Mapping[str, str | None]) -> tuple[str, str]:
    """Return kind and ``host:port`` of the server named in ``.env`` (before v1.9: always Oobabooga at port 5000)."""
    kind = (environ.get("API_TYPE") or "").strip() or "Oobabooga"
    named = environ.get("OLLAMA_HOST" if kind == "Ollama" else "HOST_PORT")
    port = DEFAULT_PORTS.get(kind.lower(), 5000)
    return kind, _host_and_port((named or "").strip(), port)


def check_at_start(kind: str, primary: Primary) -> str:
    """Return one line for the user; empty if the server is down, because the outage that begins then has its own line.

    Only a connection is tried: the first real message shows whether the server can generate.
    """
    if listens(primary.name):
        return f"{kind} at {primary.name} accepts connections"
    primary.failed(PrimaryFailure(FailureKind.REFUSED, f"nothing listens at {primary.name}"))
    return ""


def find_lmstudio() -> str:
    """Return one line for the user. The library knows the ports LM Studio may listen on, and tries them."""
    lmstudio = sys.modules.get("lmstudio")
    find = getattr(getattr(lmstudio, "Client", None), "find_default_local_api_host", None)
    found = find() if find is not None else None
    if found:
        return f"LM Studio at {found} accepts connections"
    return "LM Studio is not there yet: replies come from the fallback until it is"


def _host_and_port(named: str, port: int) -> str:
    host = None
    with contextlib.suppress(ValueError):  # not an address, so no server either
        parts = urlsplit(named if "//" in named else f"//{named}")
        host = parts.hostname
        port = parts.port or port
    if host is None or host == "0.0.0.0":  # an address to listen on; Ollama users set it in the same variable
        host = "127.0.0.1"
    return f"{host}:{port}"
