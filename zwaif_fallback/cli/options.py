"""What all commands share: exit statuses, common options, the way a parser is made."""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Callable
from typing import Any

EXIT_OK, EXIT_PROBLEM, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
"""Done; something is wrong; the command line makes no sense; stopped with Ctrl+C."""

ZWAIF = "Z-Waif's folder (default: the current folder, if it is one). It is read or copied, never changed"
ZWAIF_COPIED = "your Z-Waif's folder: a copy of it is played with. Without it, a small stand-in plays Z-Waif"
ZWAIF_CHANGED = "Z-Waif's folder (default: the current folder, if it is one). Its .env is changed"
PLUGINS_DIR = "also load the plugins in single files (NAME.py) of this folder, in place of ZWAIF_PLUGINS_DIR"
DEBUG = "show the full traceback of an error"

Arguments = argparse.Namespace
Run = Callable[[Arguments], int]
Formatter = functools.partial(argparse.HelpFormatter, width=100, max_help_position=30)


def command(commands: Any, name: str, run: Run | None, help: str) -> argparse.ArgumentParser:
    """Add a command. Without ``run`` it only groups other commands and prints its own help."""
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=help, description=help[0].upper() + help[1:] + ".", formatter_class=Formatter
    )
    made.set_defaults(run=functools.partial(_with_plugin_engines, run) if run else lambda parsed: show_help(made))
    # SUPPRESS: a default here would overwrite the one of `zwaif-fallback --debug COMMAND`.
    made.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=DEBUG)
    return made


def _with_plugin_engines(run: Run, parsed: Arguments) -> int:
    """Run a command, which can find the models of plugins' engines."""
    from zwaif_fallback.cli import console
    from zwaif_fallback.zwaif_tree import plugin_engines_found

    folders = getattr(parsed, "zwaif", None), os.environ, getattr(parsed, "plugins_dir", None)
    with console.only_json(getattr(parsed, "json", False)), plugin_engines_found(*folders):
        return run(parsed)


def with_zwaif(command: argparse.ArgumentParser, help: str = ZWAIF) -> argparse.ArgumentParser:
    command.add_argument("--zwaif", metavar="FOLDER", help=help)
    return command


def with_json(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument("--json", action="store_true", help="print JSON, for scripts")
    return command


def with_plugins_dir(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument("--plugins-dir", metavar="DIR", help=PLUGINS_DIR)
    return command


def show_help(parser: argparse.ArgumentParser) -> int:
    parser.print_help()
    return EXIT_USAGE


def version() -> str:
    """Return the version of the installed package. A checkout that was never installed has none."""
    from importlib import metadata

    try:
        return metadata.version("zwaif-fallback")
    except metadata.PackageNotFoundError:
        return "not installed"
