"""Whether Z-Waif's own threads feel a generation: how late a thread comes that wants to run twenty times a second."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable

PERIOD = 0.05


def jitter(generate: Callable[[], object], seconds: float = 4.0) -> list[str]:
    """A table: lateness of the ticks without and with a generation running in the worker."""
    still = _late(lambda: time.sleep(seconds))
    busy = _late(generate)
    rows = [
        f"| {name} | {len(late)} | {statistics.median(late) * 1e3:.2f} | {max(late) * 1e3:.2f} |"
        for name, late in (("nothing runs", still), ("a reply is made", busy))
    ]
    return ["| 20 Hz ticks of the parent while | ticks | late, median ms | latest ms |", "|---|---|---|---|", *rows]


def _late(work: Callable[[], object]) -> list[float]:
    done, late = threading.Event(), list[float]()

    def tick() -> None:
        due = time.perf_counter() + PERIOD
        while not done.wait(max(0.0, due - time.perf_counter())):
            late.append(max(0.0, time.perf_counter() - due))
            due += PERIOD
        late.append(max(0.0, time.perf_counter() - due))

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        work()
    finally:
        done.set()
        ticker.join()
    return late
