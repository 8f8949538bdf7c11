"""The default client of the ``lmstudio`` library, which all callers in the process share.

After a failure the library refuses every call although LM Studio is back, so a failed client must be forgotten. That
closes it, and with it every other reply that comes through it.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from zwaif_hooks.network.connect import listens

DEFAULT_NAME = "LM Studio"
OUT_OF_REACH = frozenset({"LMStudioClientError", "LMStudioRuntimeError", "LMStudioWebsocketError"})
"""Names of the exceptions about the connection, not about one reply (matched by name, so that nothing is imported)."""


def is_out_of_reach(error: BaseException) -> bool:
    """Return whether the connection failed, and so everything that goes through it."""
    return type(error).__name__ in OUT_OF_REACH or isinstance(error, OSError)


class DefaultClient:
    """The shared client. Thread-safe; the lock is held only while a client is made (a second) or closed."""

    def __init__(self, module: ModuleType) -> None:
        self._sync = sys.modules.get(f"{module.__name__}.sync_api")
        self._lock = threading.RLock()
        self._users: Counter[int] = Counter()
        self._heard = 0

    def address(self) -> str:
        client = getattr(self._sync, "_default_client", None)
        host = getattr(client, "_api_host", None) or getattr(self._sync, "_default_api_host", None)
        return str(host or DEFAULT_NAME)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep the client while it is used; forget it if its user fails and nobody else needs it.

        Raises:
            Exception: the library's own, if LM Studio is down.
        """
        with self._lock:
            client = self._greeted()
            self._users[id(client)] += 1
        try:
            yield
        except Exception as error:
            with self._lock:
                alone = self._users[id(client)] == 1
                if self._current() is client and (alone or is_out_of_reach(error)):
                    self._forget()
            raise
        finally:
            with self._lock:
                self._users[id(client)] -= 1
                self._users += Counter()  # drop the entries at zero

    def is_kept(self) -> bool:
        """Return whether there is an earlier client, whose connection may have died while idle."""
        return self._current() is not None

    def heard(self) -> None:
        """Note that something came through the client."""
        self._heard += 1

    def doubted(self) -> Callable[[], None]:
        """Return a callback for a caller that gives up: it forgets the client if nothing was received since now.

        The library needs most of a minute to notice that the other end is gone (LM Studio's computer was put to sleep).
        """
        heard, client = self._heard, self._current()

        def forget() -> None:
            with self._lock:
                if client is not None and self._current() is client and self._heard == heard:
                    self._forget()

        return forget

    def has_unloaded(self, key: str) -> bool:
        """Return whether LM Studio lists the models in its memory, and ``key`` is not among them."""
        find = getattr(self._sync, "list_loaded_models", None)
        if find is None or not key:
            return False
        try:
            with self.used():
                return all(model.identifier != key for model in find("llm"))
        except Exception:  # it is down again, or does not know this request: the probe decides
            return False

    def _greeted(self) -> Any:
        """Get the client in up to two tries: LM Studio has one second to answer, and a busy machine may need two."""
        try:
            return self._got()
        except Exception as error:
            if not is_out_of_reach(error) or not self.address().rpartition(":")[2].isdigit():
                raise
            if not listens(self.address()):
                raise
        return self._got()

    def _got(self) -> Any:
        get = getattr(self._sync, "get_default_client", None)
        if get is None:
            return None
        try:
            return get()
        except Exception:
            self._forget()
            raise

    def _current(self) -> Any:
        return getattr(self._sync, "_default_client", None)

    def _forget(self) -> None:
        """Make the next call use a new client for the same configured host."""
        reset = getattr(self._sync, "_reset_default_client", None)
        if reset is None or self._current() is None:
            return
        host = getattr(self._sync, "_default_api_host", None)
        reset()
        if host is not None and self._sync is not None:
            self._sync.configure_default_client(host)
