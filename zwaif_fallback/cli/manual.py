"""Generates ``docs/cli.md`` from the help of the parsers."""

from __future__ import annotations

import argparse

_MANUAL = """# The command line

Run `zwaif-fallback` (or `python -m zwaif_fallback`) in the environment where the package is installed, best in
Z-Waif's folder.

| Exit status | Meaning |
|---|---|
| 0 | everything is fine |
| 1 | something is wrong; one line says what, and what to do |
| 2 | the command line makes no sense, or names a folder or plugin that is not there |
| 130 | stopped with Ctrl+C |

Results go to standard output and errors to standard error. A traceback is shown only with `--debug` or
`ZWAIF_DEBUG=1` in the environment. With `--json`, standard output holds JSON and nothing else. Colours and tables
appear on a console that can show them; pipes, `NO_COLOR`, `TERM=dumb` and old code pages get plain text.
"""
_NOTES = {
    "doctor": """
Each line is one check. `problem`: the fallback or Z-Waif will not work, or not as you set it. `warning`: it works,
but worse than it could. `skipped`: there is nothing to check. Libraries are imported in a separate process, so a
broken one cannot crash the command; each server is asked for one word. Nothing is changed.
""",
    "chat": """
Ctrl+C stops the current reply; at the prompt it ends the chat, as does the end of the input. Replies go to standard
output, as does what plugins print; who gave them, and how fast, goes to standard error. With `--json` each reply is
one line of JSON. The exit status is 1 if the last reply was empty or came from the last words. `--show-prompt` writes
the prompts of the local model to standard error, in the chat formats of plugins, with the texts that end the reply.
""",
    "download": """
With `--json` one object is printed at the end: `model`, `path`, `bytes` and `seconds` (both 0 if the model was
already here), or `model` and `error` with exit status 1. Progress then goes to standard error.
""",
    "set": """
With `--json` (here and for `enable` and `disable`): `name`, `value`, the value as `text`, what was `written` to the
`file` (empty means the default), what was there `before` (`null`: no line), and whether an environment variable
`overruled` it.
""",
    "bench": """
The prompt of the first reply is about as long as a character card; the second reply continues the same conversation.
Below the load time are its steps: starting the process, importing torch and transformers, creating what CUDA needs,
reading the weights, rounding them, the first token. Those that a model does not need are left out. Whenever a model is
loaded, a line with these steps is written to the log file.
The result is saved to `benchmarks.json` in your data folder (on Linux `~/.local/share/zwaif-fallback`), and the list
of models shows it.
""",
}
"""Notes by command, for what does not fit into its help."""


def as_markdown() -> str:
    """Return the text of ``docs/cli.md``."""
    from zwaif_fallback.cli.main import parser

    return _MANUAL + "".join(_section(each) for each in _all_parsers(parser()))


def _all_parsers(top: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return a parser and the parsers of its commands, in the order of the help."""
    actions = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    return [top, *(each for action in actions for child in action.choices.values() for each in _all_parsers(child))]


def _section(command: argparse.ArgumentParser) -> str:
    note = _NOTES.get(command.prog.rpartition(" ")[2], "")
    return f"\n## {command.prog}\n\n```text\n{command.format_help().rstrip()}\n```\n{note}"
