"""Whether a server marks the end of its replies, and so whether a reply that just ends was cut."""

from __future__ import annotations

from collections.abc import Callable

from zwaif_hooks.reply.false_replies import ends_a_sentence
from zwaif_hooks.stream import UnmarkedEnd

FEWEST_UNMARKED = 5
"""Replies without a mark, one after the other and by a server that never gave one, before that is believed to be its
way."""


class EndHistory:
    """Whether a server says that a reply is finished: a finish reason, ``[DONE]``, ``done``.

    Nearly all do, so a reply that just ends was cut, by whatever runs the model. A server of somebody's own may know no
    such mark; the end of its answer is then the end of its reply.
    """

    def __init__(self) -> None:
        self._marks = self._is_well = self._omits_marks = False
        self._unmarked = 0

    def observe(self, reason: str) -> None:
        """A whole reply, and the finish reason that it came with."""
        self._marks = self._is_well = self._marks or bool(reason)

    def failed(self, error: BaseException | None) -> None:
        """A reply failed. By anything but an end without a mark: then such ends may be its faults, too."""
        if not isinstance(error, UnmarkedEnd):
            self._is_well = self._omits_marks = False
            self._unmarked = 0

    def is_whole(self, reply: str, end: UnmarkedEnd, marks_now: Callable[[], bool]) -> bool:
        """Whether an answer that ended without a mark is a whole reply.

        Args:
            marks_now: asks the server something neutral; True where that answer ends as it should, so that the server
                is alive and this reply was its own. Called where nothing else tells.
        """
        if not reply.strip():
            return False
        if end.is_framed and not self._omits_marks:
            self._unmarked += 1
            is_its_way = self._unmarked > FEWEST_UNMARKED and not self._marks
            if not is_its_way and ends_a_sentence(reply):  # of a server that is well it tells of the next ones, too
                self._omits_marks = self._is_well
                return True
            self._omits_marks = is_its_way or marks_now()
        return self._omits_marks or not (end.knows_marks or self._marks)
