"""What every command is made of: its parser, the options they share, and the exit statuses."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

WELL, NOT_WELL, MISUSED, STOPPED = 0, 1, 2, 130
"""Exit statuses: as asked; something is not well; the command makes no sense; ended with Ctrl+C."""

ZWAIF = "Z-Waif's folder; the working directory where that is one. It is read or copied, never changed"
ZWAIF_COPIED = "Z-Waif's folder, which is copied first; without it, a stand-in for Z-Waif is used"
ZWAIF_CHANGED = "Z-Waif's folder; the working directory where that is one. The line in its .env is changed"

Arguments = argparse.Namespace
Run = Callable[[Arguments], int]
Formatter = functools.partial(argparse.HelpFormatter, width=100, max_help_position=30)


def command(commands: Any, name: str, run: Run | None, help: str) -> argparse.ArgumentParser:
    """A command; without ``run`` it shows its own help, as one does that has commands of its own."""
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=help, description=help[0].upper() + help[1:] + ".", formatter_class=Formatter
    )
    made.set_defaults(run=run or (lambda parsed: show_help(made)))
    # Suppressed: without a default here, `zwaif-fallback --debug COMMAND` keeps what was said before the command.
    made.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=DEBUG)
    return made


DEBUG = "show what is behind an error, traceback included"


def with_zwaif(command: argparse.ArgumentParser, help: str = ZWAIF) -> argparse.ArgumentParser:
    command.add_argument("--zwaif", metavar="FOLDER", help=help)
    return command


def with_json(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument("--json", action="store_true", help="print it as JSON, for programs")
    return command


def show_help(of: argparse.ArgumentParser) -> int:
    of.print_help()
    return MISUSED
