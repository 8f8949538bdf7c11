"""Whether a server marks the end of its replies, and so whether a reply that just ends was cut."""

from __future__ import annotations

from collections.abc import Callable

from zwaif_hooks.reply.false_replies import ends_a_sentence
from zwaif_hooks.stream import UnmarkedEnd

FEWEST_UNMARKED = 5
"""Unmarked replies in a row after which a server that never marked an end is believed to mark none."""


class EndHistory:
    """Whether a server marks the end of a reply: a finish reason, ``[DONE]``, ``done``.

    Nearly all do, so a reply that just ends was cut, for example because the model's process died. A home-made server
    may not know such marks; then the end of its answer is the end of its reply.
    """

    def __init__(self) -> None:
        self._marks = self._is_well = self._omits_marks = False
        self._unmarked = 0

    @property
    def unmarked(self) -> int:
        """Unmarked replies in a row, of a server that never marked an end."""
        return 0 if self._marks else self._unmarked

    @unmarked.setter
    def unmarked(self, seen: int) -> None:
        self._unmarked = seen

    def observe(self, reason: str) -> None:
        """Add a whole reply with its finish reason."""
        self._marks = self._is_well = self._marks or bool(reason)

    def failed(self, error: BaseException | None) -> None:
        """Add a failed reply. After any failure but an unmarked end, unmarked ends may be failures as well."""
        if not isinstance(error, UnmarkedEnd):
            self._is_well = self._omits_marks = False
            self._unmarked = 0

    def is_whole(self, reply: str, end: UnmarkedEnd, marks_now: Callable[[], bool]) -> bool:
        """Return whether an answer that ended without a mark is a whole reply.

        Args:
            marks_now: probe the server; True if that answer has a marked end, so the server is alive and this reply was
                complete. Called only if nothing else decides.
        """
        if not reply.strip():
            return False
        if end.is_framed and not self._omits_marks:
            self._unmarked += 1
            is_its_way = self._unmarked > FEWEST_UNMARKED and not self._marks
            if not is_its_way and ends_a_sentence(
                reply
            ):  # a server that is well will end its next replies like this, too
                self._omits_marks = self._is_well
                return True
            self._omits_marks = is_its_way or marks_now()
        return self._omits_marks or not (end.knows_marks or self._marks)
