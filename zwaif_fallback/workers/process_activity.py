"""Whether a process is working, seen from outside: waiting for one should not depend on how fast the computer is."""

from __future__ import annotations

from collections.abc import Callable


class ProcessActivity:
    """Watches the CPU time and memory of a process and its children.

    Memory counts too: a file mapped from a slow disk is read without CPU time, and while llama.cpp does that, no Python
    thread can report progress.

    Args:
        pid: called at each check, as a worker's process is known only once it runs.
        least: the share of one processor that counts as work; a process that only polls uses some, too.
    """

    def __init__(self, pid: Callable[[], int], least: float = 0.002) -> None:
        self._pid = pid
        self._least = least
        self._seen, self._memory = self._now()
        self._begun = self._seen
        self._idle = 0.0

    @property
    def work(self) -> float:
        """Seconds of CPU time from the creation of this object to the last check."""
        return self._seen - self._begun

    def idle_for(self, step: float) -> float:
        """Check, and return for how many seconds there has been no work. Call it every ``step`` seconds."""
        now, memory = self._now()
        works = now > self._seen + self._least * step or memory != self._memory
        self._idle = 0.0 if works else self._idle + step
        self._seen, self._memory = now, memory
        return self._idle

    def stirred(self) -> None:
        """The process reported progress itself."""
        self._idle = 0.0

    def _now(self) -> tuple[float, int]:
        """Return CPU seconds and bytes of memory, summed over all processes."""
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
                continue  # it has just exited
        return seconds, memory
