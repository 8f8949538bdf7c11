"""Tells this package's own errors from those of the server: an error of ours says nothing about the server."""

from __future__ import annotations

from types import TracebackType

OURS = "zwaif_hooks"
_CLIENTS = ("requests", "urllib3", "http", "httpx", "httpcore", "httpx_ws", "ollama", "lmstudio")
_BELOW = ("anyio", "h11", "msgspec", "pydantic", "pydantic_core", "socket", "ssl", "wsproto")
LIBRARIES = frozenset({*_CLIENTS, *_BELOW})
"""Packages whose exceptions may be caused by a server's odd answer."""


def is_internal_error(error: BaseException | None) -> bool:
    """Return whether ``error`` is a bug in this package, and not raised by a client library, the system or a lack of
    memory. Decided by its class, and by the innermost frame that belongs to this package or a library.
    """
    if not isinstance(error, Exception) or isinstance(error, (OSError, MemoryError)):
        return False
    if _package(type(error).__module__) in LIBRARIES:
        return False
    return _raised_in(error.__traceback__) == OURS


def _raised_in(traceback: TracebackType | None) -> str:
    found = ""
    while traceback is not None:
        package = _package(str(traceback.tb_frame.f_globals.get("__name__")))
        if package == OURS or package in LIBRARIES:
            found = package
        traceback = traceback.tb_next
    return found


def _package(module: str) -> str:
    return module.partition(".")[0]
