"""``download``: download a model, by default the best for this computer."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from zwaif_fallback.cli import console
from zwaif_fallback.cli.options import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_PROBLEM,
    Arguments,
    command,
    with_json,
    with_zwaif,
)

if TYPE_CHECKING:
    from zwaif_fallback.downloads.transfer import Progress

PLAIN_STEPS = 20
"""Most progress lines of a download on a console that cannot draw a bar."""
_STOPPED = "Stopped. Run the same command again to continue the download."


def add(commands: Any) -> None:
    fetch = with_zwaif(command(commands, "download", _download, "download a model from Hugging Face"))
    fetch.add_argument("--to", metavar="FOLDER", help="folder to put it in (default: Hugging Face's cache)")
    fetch.add_argument("--yes", action="store_true", help="download the best for this computer without asking")
    fetch.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="a name or number from the list of models, owner/name, or owner/name:file.gguf (default: the best for "
        "this computer)",
    )
    with_json(fetch)


def _download(parsed: Arguments) -> int:
    from zwaif_fallback.errors import FallbackError

    run = _download_for_scripts if parsed.json else _download_for_people
    try:
        run(parsed)
    except KeyboardInterrupt:
        return _report_failure(parsed, _STOPPED, EXIT_INTERRUPTED)
    except FallbackError as error:
        if not parsed.json:
            raise
        return _report_failure(parsed, str(error), EXIT_PROBLEM)
    return EXIT_OK


def _download_for_people(parsed: Arguments) -> None:
    tree = _tree(parsed)
    if model := _model_to_download(parsed, tree, console.say):
        with _progress() as report:
            place = _fetch(parsed, model, tree, console.say, report)
        console.say(_what_next(model, place, tree))
    else:
        console.say("Nothing was downloaded.")


def _download_for_scripts(parsed: Arguments) -> None:
    """Print one JSON object at the end; progress goes to standard error."""
    started, received = time.monotonic(), [0]
    show = _plain_progress(sys.stderr)

    def report(now: Progress) -> None:
        received.append(now.done)
        show(now)

    def say(line: str) -> None:
        console.say(line, stream=sys.stderr)

    tree = _tree(parsed)
    model = _model_to_download(parsed, tree, say)
    path = _fetch(parsed, model, tree, say, report)
    seconds = round(time.monotonic() - started, 3) if received[-1] else 0.0
    console.say_json({"model": parsed.model or model, "path": str(path), "bytes": received[-1], "seconds": seconds})


def _tree(parsed: Arguments) -> Path | None:
    from zwaif_fallback.zwaif_tree import zwaif_folder

    return zwaif_folder(parsed.zwaif)


def _model_to_download(parsed: Arguments, tree: Path | None, say: Callable[[str], None]) -> str:
    """Return the model to download: the given one, or the best for this computer. Empty if the user declines.

    Raises:
        FallbackError: No model fits, or there is nobody to ask.
    """
    from zwaif_fallback.choosing.auto import Constraints, is_auto
    from zwaif_fallback.choosing.suggestions import nothing_here, recommended
    from zwaif_fallback.errors import FallbackError
    from zwaif_fallback.zwaif_tree import model_setting, settings_store

    if parsed.model and not is_auto(parsed.model):
        return model_setting(parsed.model, tree, os.environ)
    constraints = Constraints.of(settings_store(tree, os.environ).get, tree)
    best = recommended(constraints)
    if best is None:
        raise nothing_here(constraints)
    offer, better = best.offer, best.better
    if better:
        say(f"The best for this computer: {better.short}, {better.title}. It {_no_engine()}")
    first = "Without that" if better else "The best for this computer"
    say(f"{first}: {offer.short}, {offer.title}. Download: {offer.download_gb:.2g} GB.")
    note = f" {offer.note}." if offer.note else ""
    say(f"{offer.quality}. {offer.use}. {best.fit.text}. Licence: {offer.licence}.{note}")
    if parsed.yes:
        return offer.name
    if parsed.json or not _can_ask():
        raise FallbackError("To download it: zwaif-fallback download --yes. To see the others: zwaif-fallback models")
    answer = _ask("Press Enter to download it, n to cancel, or type a name or number from zwaif-fallback models: ")
    if answer.casefold() in ("n", "no"):
        return ""
    return offer.name if answer.casefold() in ("", "y", "yes") else model_setting(answer, tree, os.environ)


def _can_ask() -> bool:
    """Whether there is somebody to answer a question."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _ask(question: str) -> str:
    """Ask the user; the end of the input counts as ``n``."""
    try:
        return input(question).strip()
    except EOFError:
        console.say()
        return "n"


def _no_engine() -> str:
    from zwaif_fallback.choosing.memory_fit import NO_ENGINE

    return NO_ENGINE


def _fetch(
    parsed: Arguments, model: str, tree: Path | None, say: Callable[[str], None], report: Callable[[Progress], None]
) -> Path:
    from zwaif_fallback.choosing.memory_fit import abilities
    from zwaif_fallback.downloads.download import download
    from zwaif_fallback.models.name_syntax import file_in_repository
    from zwaif_fallback.zwaif_tree import settings_store

    if file_in_repository(model)[0] and not abilities().gguf:
        say(f"{model} {_no_engine()}")
    model_dir = str(settings_store(tree, os.environ).get("FALLBACK_MODEL_DIR"))
    folder = Path(parsed.to).expanduser() if parsed.to else None
    return download(model, say, tree=tree, model_dir=model_dir, folder=folder, report=report)


def _what_next(model: str, place: Path, tree: Path | None) -> str:
    """Say whether the new model will answer, or how to choose it; empty if it is no chat model."""
    from zwaif_fallback.choosing.listing import listed_now
    from zwaif_fallback.zwaif_tree import env_values, settings_store

    listed = listed_now(settings_store(tree, os.environ).get, tree, env_values(tree, os.environ))
    row = next((row for row in listed["found"] if row["usable"] and Path(row["path"]).samefile(place)), None)
    if row is None:
        return ""
    if row["chosen"]:
        return "It will answer whenever the LLM server does not. To try it: zwaif-fallback chat"
    return f"To choose it: zwaif-fallback settings set API_FALLBACK_MODEL {row['short']}"


def _report_failure(parsed: Arguments, why: str, status: int) -> int:
    if parsed.json:
        console.say_json({"model": parsed.model or "", "error": why})
    else:
        console.error(why)
    return status


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """Show a progress bar, or now and then a line on a console that cannot draw one."""
    if console.is_plain(sys.stdout):
        yield _plain_progress(sys.stdout)
        return
    from rich import progress as bars

    shown = bars.Progress(
        bars.TextColumn("{task.description}"), bars.BarColumn(), bars.TextColumn("{task.fields[line]}"), transient=True
    )
    with shown:
        task = shown.add_task("", total=None, line="")
        yield lambda now: shown.update(task, description=now.file, completed=now.done, total=now.total, line=now.line)


def _plain_progress(out: TextIO) -> Callable[[Progress], None]:
    last = -1

    def report(now: Progress) -> None:
        nonlocal last
        step = int(now.share * PLAIN_STEPS)
        if step > last:
            last = step
            console.say(f"{now.file}: {now.line}", stream=out)

    return report
