"""Print lines, tables and JSON: with colours if the console can show them, otherwise plain.

Plain is for pipes and files, ``TERM=dumb``, ``NO_COLOR``, and encodings without line-drawing characters (cp1252, for
example). rich is imported only when needed: its import takes longer than most commands.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO

from zwaif_hooks.masking import masked

_DRAWN = "─│…•"
"""Characters that rich draws tables and lists with. An encoding without them gets plain text."""

_INDENT = " " * 4
_json_out: TextIO | None = None
"""Where JSON goes while ``sys.stdout`` is redirected."""


def replace_unprintable() -> None:
    """Print a question mark for a character that the console cannot show, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def is_plain(stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Whether ``stream`` gets plain text, without colours and boxes."""
    environ = os.environ if environ is None else environ
    if environ.get("NO_COLOR") or environ.get("TERM", "").lower() in ("dumb", "unknown"):
        return True
    try:
        _DRAWN.encode(getattr(stream, "encoding", None) or "ascii")
        return not stream.isatty()
    except (UnicodeError, LookupError, ValueError):  # ValueError: a closed stream
        return True


def say(line: str = "", style: str = "", stream: TextIO | None = None) -> None:
    """Print one line. ``style`` is a rich style (``bold``, ``red``, ``dim`` …), ignored on a plain console."""
    out, line = stream or sys.stdout, masked(line)
    if not style or is_plain(out):
        print(f"{line}\n", end="", file=out, flush=True)  # in one write: other threads may print at the same time
    else:
        _rich(out).print(line, style=style, soft_wrap=True)


def error(line: str) -> None:
    """Print one line on standard error."""
    say(line, "bold red", sys.stderr)


def say_json(data: Any, indent: int | None = 2) -> None:
    print(masked(json.dumps(data, indent=indent, ensure_ascii=True)), file=_json_out or sys.stdout, flush=True)


@contextmanager
def only_json(wanted: bool) -> Iterator[None]:
    """Keep standard output for :func:`say_json`: all else, such as what plugins print, goes to standard error."""
    global _json_out
    if not wanted:
        yield
        return
    _json_out = sys.stdout
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _json_out = None


def table(heading: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str] = (), names: int = 1) -> None:
    """Print a table, or one block per row if the console is too narrow for it. No cell is ever cut.

    Args:
        styles: The rich style of each column.
        names: How many of the first columns name the row; they become the heading of its block.
    """
    lines = columns([heading, *rows])
    width = _width(sys.stdout)
    if width and max(map(len, lines)) > width:
        for row in rows:
            say("  ".join(cell for cell in row[:names] if cell), "bold")
            for line in _described(heading[names:], row[names:], width - len(_INDENT)):
                say(f"{_INDENT}{line}")
        return
    if is_plain(sys.stdout):
        for line in lines:
            say(line)
        return
    from rich.table import Table

    drawn = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for index, name in enumerate(heading):
        drawn.add_column(name, style=styles[index] if index < len(styles) else "", no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    _rich(sys.stdout).print(drawn)


def _described(heading: Sequence[str], row: Sequence[str], width: int) -> list[str]:
    """Return the cells of a row, each with its column's name, as lines of at most ``width`` characters."""
    parts = [f"{name} {cell}" for name, cell in zip(heading, row, strict=True) if cell]
    return textwrap.wrap("; ".join(parts), max(width, 20), break_long_words=False, break_on_hyphens=False)


def _width(stream: TextIO) -> int:
    """Return the width of the console in characters; 0 for pipes and files."""
    try:
        return shutil.get_terminal_size().columns if stream.isatty() else 0
    except ValueError:  # a closed stream
        return 0


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as plain lines with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _rich(stream: TextIO) -> Any:
    from rich.console import Console

    return Console(file=stream, markup=False, emoji=False, highlight=False)
