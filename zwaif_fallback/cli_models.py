"""``models`` and ``download``."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from zwaif_fallback import cli_console as console
from zwaif_fallback.cli_parts import NOT_WELL, STOPPED, WELL, Arguments, command, with_json, with_zwaif

if TYPE_CHECKING:
    from zwaif_fallback.models.listing import Row
    from zwaif_fallback.transfer import Progress

PLAIN_STEPS = 20
"""Lines a download writes at most where no bar can be drawn."""
_STOPPED = "Stopped. The same command goes on where this one ended."


def add(commands: Any) -> None:
    listing = with_zwaif(command(commands, "models", _models, "the models on this computer, and those to download"))
    listing.add_argument("--all", action="store_true", help="also what cannot be used, and what could not be read")
    with_json(listing)
    fetch = with_zwaif(command(commands, "download", _download, "bring a model from Hugging Face to this computer"))
    fetch.add_argument("--to", metavar="FOLDER", help="where to put it; without it, Hugging Face's own cache")
    fetch.add_argument("model", metavar="MODEL", help="a name of the list, owner/name, or owner/name:file.gguf")
    with_json(fetch)


def _models(parsed: Arguments) -> int:
    from zwaif_fallback.cli_tree import env_values, store_of, zwaif_folder
    from zwaif_fallback.models.auto import Wishes
    from zwaif_fallback.models.listing import model_list
    from zwaif_fallback.models.unchosen import is_chosen

    tree = zwaif_folder(parsed.zwaif)
    get = store_of(tree, os.environ).get
    chosen = is_chosen(env_values(tree, os.environ))
    listed = model_list(str(get("API_FALLBACK_MODEL")), Wishes.of(get, tree), named=chosen)
    if parsed.json:
        console.say_json(listed)
    else:
        _show(listed, parsed.all)
    return WELL


def _show(listed: Row, everything: bool) -> None:
    found = [row for row in listed["found"] if everything or row["usable"]]
    console.say("On this computer", "bold")
    if found:
        heading = ("", "Write as API_FALLBACK_MODEL", "From", "Size", "Kind", "Window", "Disk", "Now")
        console.table(heading, [_found_row(row) for row in found], ("green", "bold"))
    else:
        console.say("No model was found.")
    console.say()
    console.say("To download", "bold")
    heading = ("", "Name", "Size", "Download", "Window", "Licence", "Quality", "Now")
    console.table(heading, [_offered_row(row) for row in listed["offered"] if not row["here"]], ("green", "bold"))
    console.say()
    for line in _closing_lines(listed, everything):
        console.say(line)


def _found_row(row: Row) -> tuple[str, ...]:
    mark = "*" if row["chosen"] else "=" if row["served"] else ""
    now = row["fit"] if row["usable"] else row["problem"]
    kind = f"{row['format']} {row['quantization']}".strip()
    return (
        mark,
        row["setting"],
        row["source"],
        _billions(row["parameters"]),
        kind if row["chat_template"] else f"{kind}, no chat format",
        f"{row['context_window']:,}" if row["context_window"] else "",
        _gigabytes(row["size_bytes"]),
        now,
    )


def _offered_row(row: Row) -> tuple[str, ...]:
    return (
        "*" if row["chosen"] else "",
        row["name"],
        _billions(row["parameters"]),
        _gigabytes(row["download_bytes"]),
        f"{row['context_window']:,}",
        row["licence"],
        row["quality"],
        row["fit"],
    )


def _closing_lines(listed: Row, everything: bool) -> Iterator[str]:
    notice = listed["chosen"]["notice"]
    yield f"* {'answers' if notice else 'is chosen'}, = is what Z-Waif's server runs."
    if notice:
        yield notice
    elif listed["auto"]:
        yield f"API_FALLBACK_MODEL = auto would take {listed['auto']['setting']}: {listed['auto']['why']}."
    unusable = sum(not row["usable"] for row in listed["found"])
    if everything:
        yield from (f"Left out: {line}" for line in listed["skipped"])
    elif unusable or listed["skipped"]:
        yield f"{unusable + len(listed['skipped'])} more cannot be used; --all says why."
    yield "To choose one: zwaif-fallback settings set API_FALLBACK_MODEL NAME"
    yield "To bring one here: zwaif-fallback download NAME"


def _billions(parameters: int) -> str:
    if not parameters:
        return ""
    return f"{parameters / 1e9:.1f}B" if parameters >= 95e6 else f"{parameters / 1e6:.1f}M"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 5e7 else f"{size / 1e6:.1f} MB"


def _download(parsed: Arguments) -> int:
    from zwaif_fallback.errors import FallbackError

    bring = _bring_for_programs if parsed.json else _bring
    try:
        bring(parsed)
    except KeyboardInterrupt:
        return _not_brought(parsed, _STOPPED, STOPPED)
    except FallbackError as error:
        if not parsed.json:
            raise
        return _not_brought(parsed, str(error), NOT_WELL)
    return WELL


def _bring(parsed: Arguments) -> None:
    with _progress() as report:
        _fetch(parsed, console.say, report)


def _bring_for_programs(parsed: Arguments) -> None:
    """One object on standard output at the end; lines for people go to standard error meanwhile."""
    started, brought = time.monotonic(), [0]
    show = _plain_progress(sys.stderr)

    def report(now: Progress) -> None:
        brought.append(now.done)
        show(now)

    path = _fetch(parsed, lambda line: console.say(line, stream=sys.stderr), report)
    seconds = round(time.monotonic() - started, 3) if brought[-1] else 0.0
    console.say_json({"model": parsed.model, "path": str(path), "bytes": brought[-1], "seconds": seconds})


def _fetch(parsed: Arguments, say: Callable[[str], None], report: Callable[[Progress], None]) -> Path:
    from zwaif_fallback.cli_tree import store_of, zwaif_folder
    from zwaif_fallback.download import download

    tree = zwaif_folder(parsed.zwaif)
    model_dir = str(store_of(tree, os.environ).get("FALLBACK_MODEL_DIR"))
    folder = Path(parsed.to).expanduser() if parsed.to else None
    return download(parsed.model, say, tree=tree, model_dir=model_dir, folder=folder, report=report)


def _not_brought(parsed: Arguments, why: str, status: int) -> int:
    if parsed.json:
        console.say_json({"model": parsed.model, "error": why})
    else:
        console.complain(why)
    return status


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """A bar where the console can draw one, a line now and then where it cannot."""
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
