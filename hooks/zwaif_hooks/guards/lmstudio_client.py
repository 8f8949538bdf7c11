"""The ``lmstudio`` library's one default client, which all callers of a process share and any failure may poison.

After a failure the library goes on refusing every call, though LM Studio is back, so a failed client has to be
forgotten. To forget one closes it, and with it every reply that others are getting through it.
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
"""Names of the exceptions that tell of the connection and not of one reply (none is ever imported)."""


def is_out_of_reach(error: BaseException) -> bool:
    """Whether the connection failed, and so everything that goes through it."""
    return type(error).__name__ in OUT_OF_REACH or isinstance(error, OSError)


class DefaultClient:
    """What we need of it. Thread-safe; the lock is held while a client is made (a second) or closed, never for more."""

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
        """The client is there, and stays while others need it; where its user fails, it is forgotten.

        Raises:
            Exception: the library's own, when LM Studio is not there.
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
                self._users += Counter()  # without what is at zero

    def is_kept(self) -> bool:
        """Whether there is a client from before, whose connection may have died at rest."""
        return self._current() is not None

    def heard(self) -> None:
        """Something came through it."""
        self._heard += 1

    def doubted(self) -> Callable[[], None]:
        """To be called when whoever asks gives up: where nothing was heard since, the client is forgotten.

        A connection whose other end went away without a word (the computer of LM Studio was put to sleep) is noticed
        by the library most of a minute later.
        """
        heard, client = self._heard, self._current()

        def forget() -> None:
            with self._lock:
                if client is not None and self._current() is client and self._heard == heard:
                    self._forget()

        return forget

    def has_unloaded(self, key: str) -> bool:
        """Whether LM Studio says what it has in memory, and ``key`` is not there."""
        find = getattr(self._sync, "list_loaded_models", None)
        if find is None or not key:
            return False
        try:
            with self.used():
                return all(model.identifier != key for model in find("llm"))
        except Exception:  # it is gone again, or does not know the question: the probe itself will tell
            return False

    def _greeted(self) -> Any:
        """The library gives LM Studio one second to say that it is LM Studio; a busy machine may need the next one."""
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
        """Make the next call start with a new client, for the same configured host."""
        reset = getattr(self._sync, "_reset_default_client", None)
        if reset is None or self._current() is None:
            return
        host = getattr(self._sync, "_default_api_host", None)
        reset()
        if host is not None and self._sync is not None:
            self._sync.configure_default_client(host)
