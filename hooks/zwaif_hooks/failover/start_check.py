"""Which LLM server Z-Waif is set to use, and whether it is there when Z-Waif starts."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

from zwaif_hooks.failover.breaker import Primary, listens
from zwaif_hooks.messages import FailureKind, PrimaryFailure

DEFAULT_PORTS = {"oobabooga": 5000, "ollama": 11434}


def configured_primary(environ: Mapping[str, str | None]) -> tuple[str, str]:
    """Kind and ``host:port`` of the server that ``.env`` names (before v1.9 it is always Oobabooga at port 5000)."""
    kind = (environ.get("API_TYPE") or "").strip() or "Oobabooga"
    named = environ.get("OLLAMA_HOST" if kind == "Ollama" else "HOST_PORT")
    port = DEFAULT_PORTS.get(kind.lower(), 5000)
    return kind, _host_and_port((named or "").strip(), port)


def check_at_start(kind: str, primary: Primary) -> str:
    """One line for the user; empty for a server that is not there, as the outage that then begins has its own.

    Only a connection is tried: the first real message shows whether it can speak.
    """
    if listens(primary.name):
        return f"{kind} at {primary.name} accepts connections"
    primary.failed(PrimaryFailure(FailureKind.REFUSED, f"nothing listens at {primary.name}"))
    return ""


def find_lmstudio() -> str:
    """One line for the user. The library knows the ports LM Studio may listen on, and asks them."""
    lmstudio = sys.modules.get("lmstudio")
    find = getattr(getattr(lmstudio, "Client", None), "find_default_local_api_host", None)
    found = find() if find is not None else None
    if found:
        return f"LM Studio at {found} accepts connections"
    return "LM Studio is not there yet: replies come from the fallback until it is"


def _host_and_port(named: str, port: int) -> str:
    host = None
    with contextlib.suppress(ValueError):  # what cannot be an address cannot be a server either
        parts = urlsplit(named if "//" in named else f"//{named}")
        host = parts.hostname
        port = parts.port or port
    if host is None or host == "0.0.0.0":  # an address to listen on, which Ollama users put into the same variable
        host = "127.0.0.1"
    return f"{host}:{port}"
