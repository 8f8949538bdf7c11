"""A worker that ended is started again, and asked once more."""

from __future__ import annotations

from typing import Any

import pytest

from zwaif_fallback.errors import WorkerDied, WorkerHung
from zwaif_fallback.local.worker_restart import WorkerRestart


class Worker:
    def __init__(self, alive: bool = True) -> None:
        self.alive = alive


def restarting(current: Worker | None, *starts: Worker | WorkerHung) -> tuple[WorkerRestart, list[object]]:
    """With what the starts come to, one after the other; and all that were used."""
    used, left = list[object](), list(starts)

    def start() -> Any:
        used.append(left.pop(0))
        if isinstance(used[-1], WorkerHung):
            raise used[-1]
        return used[-1]

    return WorkerRestart(lambda: current, start, 1.0, lambda: WorkerHung("hung"), lambda _, error: error), used  # type: ignore[arg-type, return-value]


def test_a_worker_that_died_is_started_again_and_asked_once_more() -> None:
    gone, new = Worker(alive=False), Worker()
    asked = list[Any]()

    def ask(worker: Any) -> str:
        asked.append(worker)
        if len(asked) == 1:
            raise WorkerDied("it ended while it was asked")
        return "told"

    restart, _ = restarting(gone, Worker(), new)
    assert restart.twice(ask) == "told"
    assert asked[1] is new


def test_a_worker_that_ends_twice_is_not_asked_a_third_time() -> None:
    def ask(worker: object) -> str:
        asked.append(worker)
        raise WorkerDied("again")

    asked = list[object]()
    with pytest.raises(WorkerDied, match="again"):
        restarting(Worker())[0].twice(ask)
    assert len(asked) == 2


def test_a_restart_that_hangs_is_not_tried_again() -> None:
    """It took as long as a load may take."""
    restart, used = restarting(None, WorkerHung("it did not finish loading"), Worker())
    with pytest.raises(WorkerHung, match="did not finish loading"):
        restart.twice(lambda worker: "told")
    assert len(used) == 1
