"""The command ``zwaif-fallback``: what it can do, and what becomes of an error. Each command has a file of its own.

Nothing heavy is imported before a command runs, so that ``--help`` and completion answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from zwaif_fallback.cli import bench, chat, console, doctor, download, models, settings
from zwaif_fallback.cli.options import (
    DEBUG,
    MISUSED,
    NOT_WELL,
    STOPPED,
    WELL,
    ZWAIF_COPIED,
    Arguments,
    Formatter,
    command,
    show_help,
    with_json,
    with_zwaif,
)

_DESCRIPTION = "Keeps a Z-Waif companion talking from a local model when its LLM server is down."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    console.survive_any_console()
    parsed = parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except BrokenPipeError:
        return _reader_left()
    except KeyboardInterrupt:
        console.complain("Stopped.")
        return STOPPED
    except Exception as error:  # the last place where it can be said in one line; nothing is hidden from --debug
        if isinstance(error, OSError) and not _is_read():
            return _reader_left()
        if parsed.debug or os.environ.get("ZWAIF_DEBUG", "").strip().lower() in ("1", "on"):
            traceback.print_exc()
        line, status = _explained(error)
        console.complain(line)
        return status


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser("zwaif-fallback", description=_DESCRIPTION, formatter_class=Formatter)
    top.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    top.add_argument("--debug", action="store_true", help=DEBUG)
    top.set_defaults(run=lambda parsed: show_help(top))
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    with_zwaif(command(commands, "demo", _demo, "play a chat through an outage of the server and back"), ZWAIF_COPIED)
    checks = command(commands, "test", _test, "check settings, model, Z-Waif, model switching and the web page")
    with_json(with_zwaif(checks))
    doctor.add(commands)
    with_json(with_zwaif(command(commands, "status", _status, "what would happen if the LLM server failed now")))
    chat.add(commands)
    models.add(commands)
    download.add(commands)
    bench.add(commands)
    settings.add(commands)
    return top


def as_markdown() -> str:
    """The text of ``docs/cli.md``."""
    from zwaif_fallback.cli import manual

    return manual.page(parser())


class _Version(argparse.Action):
    """Looks the version up only when it is asked for: that reads the environment's package data."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from zwaif_fallback.cli.status import version

        console.say(f"zwaif-fallback {version()}")
        parser.exit()


def _demo(parsed: Arguments) -> int:
    from zwaif_fallback.demo import play

    return play.run(Path(parsed.zwaif).expanduser() if parsed.zwaif else None)


def _test(parsed: Arguments) -> int:
    from zwaif_fallback.cli import selftest
    from zwaif_fallback.zwaif_tree import zwaif_folder

    return selftest.run(zwaif_folder(parsed.zwaif), as_json=parsed.json)


def _status(parsed: Arguments) -> int:
    from zwaif_fallback.cli import status as cli_status
    from zwaif_fallback.zwaif_tree import zwaif_folder

    facts = cli_status.status_facts(zwaif_folder(parsed.zwaif), os.environ)
    if parsed.json:
        console.say_json(facts)
    else:
        for line in cli_status.status_lines(facts):
            console.say(line)
    return WELL if cli_status.can_answer(facts) else NOT_WELL


def _explained(error: Exception) -> tuple[str, int]:
    """One line and the exit status."""
    from zwaif_fallback.errors import FallbackError
    from zwaif_fallback.zwaif_tree import UsageError
    from zwaif_hooks.host.env_file import EnvFileError
    from zwaif_hooks.host.settings import SettingProblem

    if isinstance(error, (FallbackError, SettingProblem, EnvFileError)):
        return str(error), MISUSED if isinstance(error, UsageError) else NOT_WELL
    return f"Unexpected {type(error).__name__}: {error}. --debug shows the details.", NOT_WELL


def _is_read() -> bool:
    """Whether anybody reads what is printed: of a pipe without a reader Windows says "Invalid argument", no more."""
    try:
        print(end="", flush=True)
    except OSError:
        return False
    return True


def _reader_left() -> int:
    """``zwaif-fallback … | head``: nobody reads on, and Python would complain about it once more while it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return NOT_WELL


if __name__ == "__main__":
    sys.exit(main())
