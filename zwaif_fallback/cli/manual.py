"""The page ``docs/cli.md``, made of the parsers' own help."""

from __future__ import annotations

import argparse

_MANUAL = """# The command line

`zwaif-fallback` is on the path of the environment the package is installed in; `python -m zwaif_fallback` is the same.

| Exit status | Meaning |
|---|---|
| 0 | all is well |
| 1 | something is not; one line says what, and what to do |
| 2 | the command makes no sense; the usage is shown |
| 130 | ended with Ctrl+C |

Results go to standard output, errors to standard error, without a traceback unless `--debug` (or `ZWAIF_DEBUG=1` in the
environment) asks for it. Where there is `--json`, standard output holds JSON and nothing else. Colours and tables
appear on a console that can show them; a pipe, `NO_COLOR`, `TERM=dumb` or an old code page gets plain text.
"""
_NOTES = {
    "doctor": """
Each line is one thing that can be wrong. `problem`: the fallback or Z-Waif will not work, or not as told to. `warning`:
it works, but worse than it could. `skipped`: there is nothing to look at. Libraries are imported in a process of their
own, so that a broken one is a line and no crash; each server is asked for one word. Nothing is changed.
""",
    "chat": """
Ctrl+C stops the reply that is being written; at the prompt it ends the chat, as the end of the input does. The
replies go to standard output, who gave them and in what time to standard error; with `--json` each is one line of JSON.
The exit status is 1 when the last reply was none, or a last word.
""",
    "download": """
With `--json` one object comes at the end: `model`, `path`, `bytes` and `seconds` (both 0 where the model was here
already), or `model` and `error`, with exit status 1. Progress goes to standard error then.
""",
    "set": """
With `--json` (here, with `enable` and with `disable`): `name`, `value`, the `text` that counts, what was `written` into
the `file` (empty means the default), what was there `before` (`null`: no line), and whether the environment has
`overruled` it.
""",
    "bench": """
The first turn's prompt is about as long as a character card; the second goes on in the same conversation. What was
measured is kept in `benchmarks.json`, in your own folder for data (Linux: `~/.local/share/zwaif-fallback`).
""",
}
"""What help texts are too short for, by command."""


def as_markdown() -> str:
    """Return the text of ``docs/cli.md``."""
    from zwaif_fallback.cli.main import parser

    return _MANUAL + "".join(_section(each) for each in _all_parsers(parser()))


def _all_parsers(top: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """A parser and those of its commands, in the order in which help lists them."""
    actions = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    return [top, *(each for action in actions for child in action.choices.values() for each in _all_parsers(child))]


def _section(command: argparse.ArgumentParser) -> str:
    note = _NOTES.get(command.prog.rpartition(" ")[2], "")
    return f"\n## {command.prog}\n\n```text\n{command.format_help().rstrip()}\n```\n{note}"
