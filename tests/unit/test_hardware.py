"""A machine without a card is an ordinary machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

from zwaif_fallback import hardware


def test_cards_are_read_from_the_driver_s_table() -> None:
    table = "NVIDIA GeForce RTX 4090, 24564, 20000\nOdd, name, 8192, 100\nBroken, [N/A], [N/A]\n"
    first, second = hardware.parse_gpus(table)
    assert (first.name, first.free) == ("NVIDIA GeForce RTX 4090", 20000 * 1024 * 1024)
    assert second.name == "Odd, name"
    assert hardware.Memory(1, 1, (first, second)).best_gpu == first


def test_without_the_driver_there_is_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware.shutil, "which", lambda name: None)
    assert hardware.gpus_now() == ()
    assert hardware.Memory(1, 1).best_gpu is None


def test_a_driver_that_fails_is_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware.shutil, "which", lambda name: sys.executable)
    assert hardware.gpus_now() == ()

    def hang(*args: object, **kwargs: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 5)

    monkeypatch.setattr(hardware.subprocess, "run", hang)
    assert hardware.gpus_now() == ()


def test_this_machine() -> None:
    now = hardware.memory_now()
    assert 0 < now.ram_free <= now.ram_total
    assert hardware.cpu_cores() >= 1
