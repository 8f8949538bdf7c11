"""Models that hung: each is refused until its files change or the user asks for it again."""

from __future__ import annotations

from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.errors import WorkerHung
from zwaif_fallback.local.model_files import FileStates, file_states
from zwaif_fallback.models import plugin_engines

HANGS = 2
"""Replies in a row that may hang before the model is given up."""
AGAIN = "It is tried again when its files change, or when you load it."


class HungModels:
    """Counts hangs, and remembers which models were given up and why."""

    def __init__(self) -> None:
        self._hangs = 0
        """Since the last complete reply."""
        self._given_up: dict[LoadOptions, tuple[FileStates, str]] = {}

    def refuse(self, options: LoadOptions) -> None:
        """Raise WorkerHung if this model was given up and its files have not changed since."""
        states, why = self._given_up.get(options, ((), ""))
        if not why:
            return
        if states == file_states(options):
            raise WorkerHung(why)
        self.forget()

    def give_up(self, options: LoadOptions, why: str) -> None:
        self._given_up[options] = (file_states(options), why)

    def hung_in_a_reply(self, options: LoadOptions | None, seconds: float) -> WorkerHung:
        """Count a reply that made no progress for ``seconds``; return the error to raise."""
        self._hangs += 1
        who = plugin_engines.who_runs(options.model if options is not None else "")
        what = f"{who} made no progress for {seconds:.0f} s"
        if self._hangs < HANGS or options is None:
            return WorkerHung(f"{what} and was ended; it starts again with the next reply.")
        why = f"{what}, {self._hangs} times in a row, and was ended. {AGAIN}"
        self.give_up(options, why)
        return WorkerHung(why)

    def completed_a_reply(self) -> None:
        self._hangs = 0

    def forget(self) -> None:
        """Give every model another chance."""
        self._given_up.clear()
        self._hangs = 0
