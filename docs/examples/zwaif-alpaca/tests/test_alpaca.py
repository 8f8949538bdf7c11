"""The local model gets Alpaca's format, and its reply ends where the user's turn would begin."""

from __future__ import annotations

import zwaif_alpaca

from zwaif_fallback.testing import FakeModel
from zwaif_hooks import ModelInfo
from zwaif_hooks.testing import FakeHost


def talk(model: FakeModel) -> str:
    host = FakeHost()
    host.load(zwaif_alpaca)
    model.attach(host)
    reply = host.ask("How are you?")
    assert host.errors == []
    return reply.text


def test_a_listed_model_gets_the_format_and_never_speaks_for_the_user() -> None:
    model = FakeModel("I am fine. ### Instruction: And you?", info=ModelInfo("hub/MythoMax-13b"))
    assert talk(model).strip() == "I am fine."
    assert model.prompts[-1].endswith("How are you?\n\n### Response:\n")


def test_another_model_keeps_its_own_format() -> None:
    model = FakeModel("I am fine.", info=ModelInfo("hub/phi-2", "phi"))
    talk(model)
    assert "###" not in model.prompts[-1]
