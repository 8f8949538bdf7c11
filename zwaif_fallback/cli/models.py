"""``models``: list the models on this computer and those to download."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from zwaif_fallback.cli import console
from zwaif_fallback.cli.options import EXIT_OK, Arguments, command, with_json, with_zwaif

if TYPE_CHECKING:
    from zwaif_fallback.choosing.listing import Row


def add(commands: Any) -> None:
    listing = with_zwaif(command(commands, "models", _models, "list the models on this computer and those to download"))
    listing.add_argument("--all", action="store_true", help="include models that cannot be used, and say why")
    with_json(listing)


def _models(parsed: Arguments) -> int:
    from zwaif_fallback.choosing.auto import Constraints
    from zwaif_fallback.choosing.listing import listed_now
    from zwaif_fallback.choosing.memory_fit import NO_ENGINE
    from zwaif_fallback.choosing.suggestions import recommended, with_engine
    from zwaif_fallback.zwaif_tree import env_values, settings_store, zwaif_folder

    tree = zwaif_folder(parsed.zwaif)
    get = settings_store(tree, os.environ).get
    listed = listed_now(get, tree, env_values(tree, os.environ))
    constraints = Constraints.of(get, tree)
    best, better = recommended(constraints), with_engine(constraints)
    listed["recommended"] = {"name": best.offer.name, "short": best.offer.short, "text": best.text} if best else None
    listed["with_gguf"] = {"name": better.name, "short": better.short, "text": NO_ENGINE} if better else None
    if parsed.json:
        console.say_json(listed)
    else:
        _show(listed, parsed.all)
    return EXIT_OK


def _show(listed: Row, everything: bool) -> None:
    found = [row for row in listed["found"] if everything or row["usable"]]
    console.say("On this computer", "bold")
    if found:
        heading = ("", "Name", "From", "Size", "Kind", "Window", "Disk", "Speed here")
        console.table(heading, [_found_row(row) for row in found], ("green", "bold"), names=2)
    else:
        console.say("No models found.")
    console.say()
    console.say("To download", "bold")
    for line in _recommended(listed):
        console.say(line)
    heading = ("", "Name", "Size", "Download", "Window", "Licence", "Quality", "Speed here")
    offered = [_offered_row(row, listed) for row in listed["offered"] if not row["here"]]
    console.table(heading, offered, ("green", "bold"), names=2)
    console.say()
    for line in _closing_lines(listed, everything):
        console.say(line)


def _recommended(listed: Row) -> Iterator[str]:
    """Say which model is the best for this computer: without a model, nothing else matters yet."""
    if better := listed["with_gguf"]:
        yield f"The best for this computer: {better['short']}. It {better['text']}"
    if best := listed["recommended"]:
        first = "Without that" if better else "The best for this computer"
        yield f"{first}: {best['short']}, {best['text']}. To download it: zwaif-fallback download"


def _found_row(row: Row) -> tuple[str, ...]:
    from zwaif_fallback.downloads.transfer import byte_size

    mark = "*" if row["chosen"] else "=" if row["served"] else ""
    now = row["fit"] if row["usable"] else row["problem"]
    kind = f"{row['format']} {row['quantization']}".strip()
    return (
        f"{row.get('number', '')}{mark}",
        row["short"],
        row["source"],
        _billions(row["parameters"]),
        kind if row["chat_template"] else f"{kind}, no chat format",
        f"{row['context_window']:,}" if row["context_window"] else "",
        byte_size(row["size_bytes"]) if row["size_bytes"] else "",
        now,
    )


def _offered_row(row: Row, listed: Row) -> tuple[str, ...]:
    from zwaif_fallback.downloads.transfer import byte_size

    best = listed["with_gguf"] or listed["recommended"] or {"name": ""}
    mark = "*" if row["chosen"] and listed["chosen"]["named"] else "+" if row["name"] == best["name"] else ""
    return (
        f"{row['number']}{mark}",
        row["short"],
        _billions(row["parameters"]),
        byte_size(row["download_bytes"]),
        f"{row['context_window']:,}",
        row["licence"],
        row["quality"],
        row["fit"],
    )


def _closing_lines(listed: Row, everything: bool) -> Iterator[str]:
    notice = listed["chosen"]["notice"]
    yield f"Marks: * {'answers' if notice else 'chosen'}, = run by Z-Waif's LLM server, + best for this computer."
    if notice:
        yield notice
    elif listed["auto"]:
        yield f"API_FALLBACK_MODEL = auto would choose {listed['auto']['setting']}: {listed['auto']['why']}."
    unusable = sum(not row["usable"] for row in listed["found"])
    if everything:
        yield from (f"Left out: {line}" for line in listed["skipped"])
    elif unusable or listed["skipped"]:
        yield f"{unusable + len(listed['skipped'])} more cannot be used. To see why: zwaif-fallback models --all"
    yield "NAME is a name or number from this list:"
    yield "To choose a model: zwaif-fallback settings set API_FALLBACK_MODEL NAME"
    yield "To download one: zwaif-fallback download NAME (without NAME: the best for this computer)"


def _billions(parameters: int) -> str:
    if not parameters:
        return ""
    return f"{parameters / 1e9:.1f}B" if parameters >= 95e6 else f"{parameters / 1e6:.1f}M"
