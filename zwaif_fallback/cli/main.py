"""The command ``zwaif-fallback``. Each command has its own file; here are the list of them and the handling of errors.

Heavy modules are imported when a command runs, so ``--help`` and shell completion answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

from zwaif_fallback.cli import bench, chat, console, demo, doctor, download, models, plugins, settings, status, test
from zwaif_fallback.cli.options import (
    DEBUG,
    EXIT_INTERRUPTED,
    EXIT_PROBLEM,
    EXIT_USAGE,
    Formatter,
    show_help,
    version,
)

_COMMANDS = (demo, test, doctor, status, chat, models, download, bench, settings, plugins)
_DESCRIPTION = "Keeps your Z-Waif companion talking from a local model when its LLM server is down."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    console.replace_unprintable()
    parsed = parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except BrokenPipeError:
        return _reader_left()
    except KeyboardInterrupt:
        console.error("Stopped.")
        return EXIT_INTERRUPTED
    except Exception as error:  # the last place to turn an error into one line; --debug shows all of it
        if isinstance(error, OSError) and not _has_reader():
            return _reader_left()
        if parsed.debug or os.environ.get("ZWAIF_DEBUG", "").strip().lower() in ("1", "on"):
            traceback.print_exc()
        line, status = _explained(error)
        console.error(line)
        return status


def parser() -> argparse.ArgumentParser:
    """Return the parser with all commands and their options."""
    top = argparse.ArgumentParser("zwaif-fallback", description=_DESCRIPTION, formatter_class=Formatter)
    top.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    top.add_argument("--debug", action="store_true", help=DEBUG)
    top.set_defaults(run=lambda parsed: show_help(top))
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    for module in _COMMANDS:
        module.add(commands)
    return top


class _Version(argparse.Action):
    """Looks the version up only on request: that reads the environment's package metadata."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        console.say(f"zwaif-fallback {version()}")
        parser.exit()


def _explained(error: Exception) -> tuple[str, int]:
    """Return an error as one line, and the exit status."""
    from zwaif_fallback.errors import FallbackError
    from zwaif_fallback.zwaif_tree import UsageError
    from zwaif_hooks.host.env_file import EnvFileError
    from zwaif_hooks.host.settings_store import SettingProblem

    if isinstance(error, (FallbackError, SettingProblem, EnvFileError)):
        return str(error), EXIT_USAGE if isinstance(error, UsageError) else EXIT_PROBLEM
    return f"Unexpected {type(error).__name__}: {error}. Run it again with --debug for the details.", EXIT_PROBLEM


def _has_reader() -> bool:
    """Whether anybody reads our output: Windows reports a closed pipe as nothing but "Invalid argument"."""
    try:
        print(end="", flush=True)
    except OSError:
        return False
    return True


def _reader_left() -> int:
    """Handle ``zwaif-fallback … | head``: Python would report the closed pipe once more while it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_PROBLEM


if __name__ == "__main__":
    sys.exit(main())
