"""The command ``zwaif-fallback``.

Exit status: 0 all is well, 1 something is not (one line says what, and what to do), 2 the command makes no sense.
``ZWAIF_DEBUG=1`` in the environment shows tracebacks.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zwaif_fallback import model_files
from zwaif_fallback.cli_tree import Misuse, needed_folder, store_of, zwaif_folder
from zwaif_fallback.errors import FallbackError
from zwaif_hooks.host import envfile
from zwaif_hooks.host.settings import SettingProblem

WELL, NOT_WELL, MISUSED = 0, 1, 2

_Arguments = argparse.Namespace
_Formatter = functools.partial(argparse.HelpFormatter, width=100, max_help_position=30)
_MANUAL = """# The command line

`zwaif-fallback` is on the path of the environment the package is installed in; `python -m zwaif_fallback` is the same.
It exits with 0 when all is well, with 1 when something is not (one line says what, and what to do), and with 2 when the
command makes no sense. `ZWAIF_DEBUG=1` in the environment shows what is behind an error.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    _survive_any_console()
    parsed = parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except BrokenPipeError:
        return _reader_left()
    except KeyboardInterrupt:
        return _fail("Stopped.", NOT_WELL)
    except (FallbackError, SettingProblem, envfile.EnvFileError) as error:
        return _fail(str(error), MISUSED if isinstance(error, Misuse) else NOT_WELL)
    except Exception as error:  # the last place where it can be said in one line; nothing is hidden from ZWAIF_DEBUG
        return _fail(f"Unexpected {type(error).__name__}: {error}. ZWAIF_DEBUG=1 shows the details.", NOT_WELL)


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser("zwaif-fallback", description=_DESCRIPTION, formatter_class=_Formatter)
    top.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    top.set_defaults(run=lambda parsed: _show_help(top))
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    _with_zwaif(
        _command(commands, "demo", _demo, "play a chat through an outage of the server and back"), _ZWAIF_COPIED
    )
    _with_zwaif(_command(commands, "test", _test, "check settings, model, Z-Waif, model switching and the web page"))
    fetch = _with_zwaif(_command(commands, "download", _download, "bring a model from Hugging Face to this computer"))
    fetch.add_argument("model", metavar="MODEL", help="a name of the list, or owner/name on Hugging Face")
    _with_json(_with_zwaif(_command(commands, "status", _status, "what would happen if the LLM server failed now")))
    _with_json(_with_zwaif(_command(commands, "models", _models, "the models offered, and which are on this computer")))
    _add_settings(_command(commands, "settings", None, "show or change settings"))
    return top


def as_markdown() -> str:
    """The text of ``docs/cli.md``."""
    return _MANUAL + "".join(_section(each) for each in _all_parsers(parser()))


_DESCRIPTION = "Keeps a Z-Waif companion talking from a local model when its LLM server is down."
_ZWAIF = "Z-Waif's folder; the working directory where that is one. It is read or copied, never changed"
_ZWAIF_COPIED = "Z-Waif's folder, which is copied first; without it, a stand-in for Z-Waif is used"
_ZWAIF_CHANGED = "Z-Waif's folder; the working directory where that is one. The line in its .env is changed"


class _Version(argparse.Action):
    """Looks the version up only when it is asked for: that reads the environment's package data."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from zwaif_fallback.cli_status import version

        _print(f"zwaif-fallback {version()}")
        parser.exit()


# --- commands ---------------------------------------------------------------------------------------------------------


def _demo(parsed: _Arguments) -> int:
    from zwaif_fallback.demo import demo

    return demo.run(Path(parsed.zwaif).expanduser() if parsed.zwaif else None)


def _test(parsed: _Arguments) -> int:
    from zwaif_fallback import selfcheck

    return selfcheck.run(zwaif_folder(parsed.zwaif))


def _download(parsed: _Arguments) -> int:
    from zwaif_fallback.download import download

    tree = zwaif_folder(parsed.zwaif)
    model_dir = str(store_of(tree, os.environ).get("FALLBACK_MODEL_DIR"))
    try:
        download(parsed.model, _print, tree=tree, model_dir=model_dir)
    except KeyboardInterrupt:
        return _fail("Stopped. The same command goes on where this one ended.", NOT_WELL)
    return WELL


def _status(parsed: _Arguments) -> int:
    from zwaif_fallback import cli_status

    facts = cli_status.status_facts(zwaif_folder(parsed.zwaif), os.environ)
    _tell(facts, cli_status.status_lines, parsed.json)
    return WELL if cli_status.can_answer(facts) else NOT_WELL


def _models(parsed: _Arguments) -> int:
    from zwaif_fallback import cli_status

    _tell(cli_status.model_facts(zwaif_folder(parsed.zwaif), os.environ), cli_status.model_lines, parsed.json)
    return WELL


def _settings_show(parsed: _Arguments) -> int:
    from zwaif_fallback import cli_status

    tree = zwaif_folder(parsed.zwaif)
    _tell(cli_status.settings_facts(tree, os.environ), cli_status.settings_lines, parsed.json)
    problems = store_of(tree, os.environ).problems()
    for problem in problems:
        _print(problem, sys.stderr)
    return NOT_WELL if problems else WELL


def _settings_set(parsed: _Arguments) -> int:
    tree = needed_folder(parsed.zwaif)
    store = store_of(tree, {})
    setting = store.setting(parsed.key.upper())
    value = setting.parse(parsed.value)
    _refuse_nonsense(setting.name, str(value), tree, str(store.get("FALLBACK_MODEL_DIR")))
    envfile.write(tree / ".env", setting.name, setting.text(value))
    _print(f"{setting.name} = {setting.text(value)}".rstrip() + f"   (in {tree / '.env'})")
    if setting.name in os.environ:
        _print(f"{setting.name} is also set as an environment variable, which counts more: remove it there.")
    return WELL


def _refuse_nonsense(name: str, text: str, tree: Path, model_dir: str) -> None:
    """What every type of setting lets through, and the plugin could not use.

    Raises:
        FallbackError: with the remedy; nothing was changed.
    """
    from zwaif_fallback.ui import host_problem

    if name == "API_FALLBACK_MODEL":
        model_files.resolve(text, tree, model_dir)
    if name == "API_FALLBACK_HOST" and (problem := host_problem(text)):
        raise FallbackError(problem)


# --- the parser's parts -----------------------------------------------------------------------------------------------


def _command(commands: Any, name: str, run: Callable[[_Arguments], int] | None, help: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=help, description=help[0].upper() + help[1:] + ".", formatter_class=_Formatter
    )
    made.set_defaults(run=run or (lambda parsed: _show_help(made)))
    return made


def _with_zwaif(command: argparse.ArgumentParser, help: str = _ZWAIF) -> argparse.ArgumentParser:
    command.add_argument("--zwaif", metavar="FOLDER", help=help)
    return command


def _with_json(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument("--json", action="store_true", help="print it as JSON, for programs")
    return command


def _add_settings(command: argparse.ArgumentParser) -> None:
    parts = command.add_subparsers(title="commands", metavar="COMMAND")
    _with_json(_with_zwaif(_command(parts, "show", _settings_show, "every setting, its value and where that is from")))
    change = _command(parts, "set", _settings_set, "change a setting in Z-Waif's .env")
    change.add_argument("key", metavar="KEY", help="its name, for example API_FALLBACK_MODEL")
    change.add_argument("value", metavar="VALUE", help='the new value; "" means the default')
    _with_zwaif(change, _ZWAIF_CHANGED)


def _all_parsers(top: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """A parser and those of its commands, in the order in which help lists them."""
    actions = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    return [top, *(each for action in actions for child in action.choices.values() for each in _all_parsers(child))]


def _section(command: argparse.ArgumentParser) -> str:
    return f"\n## {command.prog}\n\n```text\n{command.format_help().rstrip()}\n```\n"


def _show_help(of: argparse.ArgumentParser) -> int:
    of.print_help()
    return MISUSED


# --- the console ------------------------------------------------------------------------------------------------------


def _survive_any_console() -> None:
    """A character that the console cannot show (cp1252, say) becomes a question mark, not an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _print(line: str, stream: Any = None) -> None:
    print(line, file=stream or sys.stdout, flush=True)


def _tell(facts: Any, lines: Callable[[Any], list[str]], as_json: bool) -> None:
    for line in [json.dumps(facts, indent=2)] if as_json else lines(facts):
        _print(line)


def _fail(line: str, status: int) -> int:
    """One line on the console's error side; called while the exception is being handled."""
    if os.environ.get("ZWAIF_DEBUG", "").strip() in ("1", "ON", "on"):
        traceback.print_exc()
    _print(line, sys.stderr)
    return status


def _reader_left() -> int:
    """``zwaif-fallback … | head``: nobody reads on, and Python would complain about it once more while it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return NOT_WELL


if __name__ == "__main__":
    sys.exit(main())
