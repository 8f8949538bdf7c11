"""Alpaca's chat format, for local models that were trained on it and have no template of their own."""

from __future__ import annotations

from collections.abc import Sequence

import zwaif_hooks as zw

MODELS = zw.Setting("ALPACA_MODELS", "alpaca, mythomax, airoboros", "Words of the names of models with this format.")
HEADINGS = {"system": "", "user": "### Instruction:\n", "assistant": "### Response:\n"}
hosts: list[zw.Host] = []


@zw.hookimpl
def register_settings() -> zw.Setting:
    return MODELS


@zw.hookimpl
def zwaif_started(host: zw.Host) -> None:
    hosts[:] = [host]


@zw.hookimpl
def prompt_format(model: zw.ModelInfo) -> zw.PromptFormat | None:
    listed = str(hosts[0].settings.get(MODELS.name) if hosts else MODELS.default)
    if not any(word.strip().lower() in model.name.lower() for word in listed.split(",") if word.strip()):
        return None
    return zw.PromptFormat(render, stops=("### Instruction:", "### Response:"))


def render(messages: Sequence[zw.Message], partial: str) -> str:
    """Each turn under its heading, and the beginning of the next reply."""
    turns = "".join(f"{HEADINGS[one.role]}{one.content}\n\n" for one in messages)
    return f"{turns}{HEADINGS['assistant']}{partial}"
