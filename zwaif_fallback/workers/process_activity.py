"""Whether a process gets on, seen from outside: who waits for it waits as long as that, however slow the computer."""

from __future__ import annotations

from collections.abc import Callable


class ProcessActivity:
    """Whether a process, or one that it started, is doing anything: its CPU time or its memory moves.

    A file mapped from a slow disk comes in without CPU time, and llama.cpp lets no thread of Python's speak meanwhile.

    Args:
        pid: asked each time, as a worker tells its own once it runs.
        least: the share of a processor that counts as work; a process that polls needs some, too.
    """

    def __init__(self, pid: Callable[[], int], least: float = 0.002) -> None:
        self._pid = pid
        self._least = least
        self._seen, self._memory = self._now()
        self._begun = self._seen
        self._idle = 0.0

    @property
    def work(self) -> float:
        """Seconds of CPU time since this object was made, up to the last look."""
        return self._seen - self._begun

    def idle_for(self, step: float) -> float:
        """Call every ``step`` seconds; returns the seconds without work so far."""
        now, memory = self._now()
        works = now > self._seen + self._least * step or memory != self._memory
        self._idle = 0.0 if works else self._idle + step
        self._seen, self._memory = now, memory
        return self._idle

    def stirred(self) -> None:
        """It gave a sign of life by itself."""
        self._idle = 0.0

    def _now(self) -> tuple[float, int]:
        """Seconds of CPU time, bytes of memory, of all of them together."""
        import psutil  # late, as in hardware

        seconds, memory = 0.0, 0
        try:
            process = psutil.Process(self._pid())
            family = [process, *process.children(recursive=True)]
        except psutil.Error:
            return seconds, memory
        for member in family:
            try:
                times = member.cpu_times()
                seconds += times.user + times.system
                memory += member.memory_info().rss
            except psutil.Error:
                continue  # it has just ended
        return seconds, memory
