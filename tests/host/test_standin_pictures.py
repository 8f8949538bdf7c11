"""Pictures while the server is down, as the host lives through them: real processes, real (tiny) models."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.vision_models import make_captioner, square
from tests.host.test_standin_outage import BOTH_WAYS, Stage, nothing_left_behind

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    return make_captioner(tmp_path_factory.mktemp("captioner"))


@pytest.fixture(scope="module", params=["Oobabooga", "Ollama"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, captioner: Path) -> Iterator[Stage]:
    if request.param == "Ollama":
        pytest.importorskip("ollama")
    made = Stage(tmp_path_factory.mktemp("pictures"), request.param, API_FALLBACK_VISION_MODEL=str(captioner))
    made.fails_with("refused")
    yield made
    made.close()


def looked_at(stage: Stage, data: bytes, stream: bool) -> str:
    """What the local model was told last when the host showed it a picture."""
    stage.do(fresh=stream)
    state = stage.do(picture=base64.b64encode(data).decode(), run="/image")
    nothing_left_behind(state)
    assert state["history"][-1][1].strip()
    assert [answer["why"] for answer in state["answers"]] == ["image"]
    assert not state["torch"], "torch is imported in the workers only"
    return str(state["told"])


@BOTH_WAYS
@pytest.mark.parametrize("color", ["red", "blue"])
def test_the_local_model_is_told_what_the_picture_shows(stage: Stage, color: str, stream: bool) -> None:
    told = looked_at(stage, square(color), stream)
    assert told.endswith(f"[The picture shows: a {color} square on white]")
    assert "cannot see" not in told


def test_a_damaged_picture_is_answered_as_without_eyes(stage: Stage) -> None:
    told = looked_at(stage, square("red")[:60], stream=True)
    assert "you cannot see pictures just now" in told
