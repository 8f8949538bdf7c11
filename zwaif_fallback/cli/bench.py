"""``bench``: measure a model on this computer."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from zwaif_fallback.cli import console
from zwaif_fallback.cli.options import EXIT_OK, Arguments, command, with_json, with_zwaif

if TYPE_CHECKING:
    from zwaif_fallback.models.measurements import Measurement


def add(commands: Any) -> None:
    bench = command(commands, "bench", _bench, "measure how fast a model is on this computer")
    bench.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="a name or number from the list of models, or a folder (default: the chosen model)",
    )
    with_json(with_zwaif(bench))


def _bench(parsed: Arguments) -> int:
    from zwaif_fallback.choosing.auto import Constraints
    from zwaif_fallback.choosing.no_model_chosen import answering, is_chosen
    from zwaif_fallback.choosing.resolve_name import is_on_this_machine
    from zwaif_fallback.choosing.suggestions import nothing_here
    from zwaif_fallback.cli import measure_model
    from zwaif_fallback.engine_types import LoadOptions
    from zwaif_fallback.local.model import LocalModel
    from zwaif_fallback.models import measurements
    from zwaif_fallback.zwaif_tree import env_values, model_setting, settings_store, zwaif_folder

    tree = zwaif_folder(parsed.zwaif)
    store = settings_store(tree, os.environ)
    name = model_setting(parsed.model, tree, os.environ) if parsed.model else str(store.get("API_FALLBACK_MODEL"))
    named = bool(parsed.model) or is_chosen(env_values(tree, os.environ))
    found = answering(name, named, Constraints.of(store.get, tree))
    if not named and not found.notice and not is_on_this_machine(found.model):
        raise nothing_here(Constraints.of(store.get, tree))
    if found.notice:
        _progress(found.notice)
    with closing(LocalModel(hang_timeout=float(store.get("API_FALLBACK_ENGINE_TIMEOUT")))) as local:
        one = measure_model.measure(local, LoadOptions.from_settings(store.get, found.model), _progress)
    place = measurements.remember(one)
    if parsed.json:
        console.say_json(asdict(one))
        return EXIT_OK
    console.table(("What", "Measured"), rows(one), ("bold",))
    console.say()
    console.say(f"Saved to {place}. Programs that were busy at the same time make the figures worse.", "dim")
    return EXIT_OK


def _progress(line: str) -> None:
    """Print progress on standard error; a script may be reading the result from standard output."""
    console.say(line, "dim", sys.stderr)


def rows(one: Measurement) -> list[tuple[str, str]]:
    """Return the lines of the table. What is unknown is left out."""
    shown = [
        ("Model", one.model),
        ("Runs on", f"{one.device}, {one.form} ({one.engine})"),
        ("Load time", f"{one.load_seconds:.1f} s"),
        *((f"  {step}", f"{seconds:.2f} s") for step, seconds in one.load_steps.items()),
        (f"First word, new chat ({one.prompt_tokens} tokens)", f"{one.first_token_cold:.2f} s"),
        ("First word, next message", f"{one.first_token_warm:.2f} s"),
        ("Speed", f"{one.tokens_per_second:.1f} tokens a second" if one.tokens_per_second else ""),
        ("Peak memory", f"{one.peak_memory / 1e9:.2f} GB" if one.peak_memory else ""),
        ("Graphics memory", f"{one.graphics_memory / 1e9:.2f} GB" if one.graphics_memory else ""),
    ]
    return [(name, value) for name, value in shown if value]
