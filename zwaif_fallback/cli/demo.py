"""``demo``: a chat that loses its LLM server and gets it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zwaif_fallback.cli.options import ZWAIF_COPIED, Arguments, command, with_zwaif


def add(commands: Any) -> None:
    with_zwaif(command(commands, "demo", _demo, "watch a chat lose its LLM server and go on"), ZWAIF_COPIED)


def _demo(parsed: Arguments) -> int:
    from zwaif_fallback.demo import play

    return play.run(Path(parsed.zwaif).expanduser() if parsed.zwaif else None)
