"""``models`` and ``download``."""

from __future__ import annotations

import os
from typing import Any

from zwaif_fallback import cli_console as console
from zwaif_fallback.cli_parts import STOPPED, WELL, Arguments, command, with_json, with_zwaif


def add(commands: Any) -> None:
    with_json(with_zwaif(command(commands, "models", _models, "the models offered, and which are on this computer")))
    fetch = with_zwaif(command(commands, "download", _download, "bring a model from Hugging Face to this computer"))
    fetch.add_argument("model", metavar="MODEL", help="a name of the list, or owner/name on Hugging Face")


def _models(parsed: Arguments) -> int:
    from zwaif_fallback import cli_status
    from zwaif_fallback.cli_tree import zwaif_folder

    rows = cli_status.model_facts(zwaif_folder(parsed.zwaif), os.environ)
    if parsed.json:
        console.say_json(rows)
    else:
        for line in cli_status.model_lines(rows):
            console.say(line)
    return WELL


def _download(parsed: Arguments) -> int:
    from zwaif_fallback.cli_tree import store_of, zwaif_folder
    from zwaif_fallback.download import download

    tree = zwaif_folder(parsed.zwaif)
    model_dir = str(store_of(tree, os.environ).get("FALLBACK_MODEL_DIR"))
    try:
        download(parsed.model, console.say, tree=tree, model_dir=model_dir)
    except KeyboardInterrupt:
        console.complain("Stopped. The same command goes on where this one ended.")
        return STOPPED
    return WELL
