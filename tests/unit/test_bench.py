"""Measuring a model, and remembering what was measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers import HELPERS
from zwaif_fallback import demo
from zwaif_fallback.choosing import no_model_chosen
from zwaif_fallback.choosing.no_model_chosen import AnsweringModel
from zwaif_fallback.cli import main, measure_model
from zwaif_fallback.cli.bench import rows
from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.local.model import LocalModel
from zwaif_fallback.models import measurements
from zwaif_fallback.models.measurements import Measurement
from zwaif_fallback.settings import SETTINGS
from zwaif_hooks.host.settings_store import SettingsStore

SCRIPTED = [sys.executable, str(HELPERS / "scripted_worker.py")]
ONE = Measurement("owner/model", 1.0, "transformers", "cpu", "bfloat16", 2.0, 400, 0.5, 0.1, 30.0, 10**9)


# --- measuring --------------------------------------------------------------------------------------------------------


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    place = tmp_path / "data" / "benchmarks.json"
    monkeypatch.setattr(measurements, "path", lambda: place)
    monkeypatch.chdir(tmp_path)
    return place


def test_a_real_model_is_measured_shown_and_remembered(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["bench", str(demo.MODEL), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    one = measurements.read()[str(demo.MODEL)]
    assert Measurement(**told) == one
    assert (one.engine, one.device) == ("transformers", "cpu")
    assert one.prompt_tokens > 300 and one.load_seconds > 0
    assert one.first_token_cold > 0 and one.first_token_warm > 0 and one.tokens_per_second > 0
    weights = (demo.MODEL / "model.safetensors").stat().st_size
    assert one.peak_memory > weights and one.graphics_memory == 0


def test_a_model_that_says_too_little_has_no_speed() -> None:
    with closing(LocalModel(command=SCRIPTED)) as local:
        one = measure_model.measure(local, LoadOptions("/any"), lambda line: None, now=lambda: 5.0)
    assert (one.tokens_per_second, one.measured_at, one.engine) == (0.0, 5.0, "scripted")
    assert "Speed" not in dict(rows(one))


def test_a_model_that_is_not_here_is_refused_before_anything_is_loaded(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["bench", "two words"]) == 1
    assert "There is no model called" in capsys.readouterr().err
    assert not data.exists()
    with closing(LocalModel()) as local, pytest.raises(ModelNotFound, match="zwaif-fallback download"):
        measure_model.measure(local, LoadOptions("someone/absent"), lambda line: None)


def test_without_a_choice_the_found_model_that_answers_is_measured(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured_model = list[str]()

    def measure(local: object, options: LoadOptions, say: object) -> Measurement:
        measured_model.append(options.model)
        return Measurement(options.model, 1.0, "gguf", "cpu", "Q8_0", 1.0, 100, 1.0, 0.1, 30.0, 10**9)

    answers = AnsweringModel("somewhere/companion", "companion", "companion answers, which was found on this computer.")
    monkeypatch.setattr(measure_model, "measure", measure)
    monkeypatch.setattr(no_model_chosen, "answering", lambda setting, chosen, constraints: None if chosen else answers)
    assert main.main(["bench", "--json"]) == 0
    assert measured_model == ["somewhere/companion"] and answers.notice in capsys.readouterr().err


def test_the_options_are_those_of_the_settings() -> None:
    environ = {"API_FALLBACK_DEVICE": "cpu", "API_FALLBACK_CONTEXT_WINDOW": "512", "API_FALLBACK_THREADS": "2"}
    options = LoadOptions.from_settings(SettingsStore(SETTINGS, None, environ).get, "owner/model")
    assert options == LoadOptions("owner/model", device="cpu", context_window=512, threads=2, llama_server="auto")


def test_the_table_for_people() -> None:
    shown = dict(rows(replace(ONE, graphics_memory=2 * 10**9)))
    assert shown["First word, new chat (400 tokens)"] == "0.50 s" and shown["Speed"] == "30.0 tokens a second"
    assert shown["Peak memory"] == "1.00 GB" and shown["Graphics memory"] == "2.00 GB"


# --- remembering ------------------------------------------------------------------------------------------------------


def test_the_last_measurement_of_each_model_counts(data: Path) -> None:
    assert measurements.read() == {}
    other = replace(ONE, model="other/model")
    for one in (ONE, other, replace(ONE, tokens_per_second=31.0)):
        measurements.remember(one)
    assert measurements.read() == {"other/model": other, "owner/model": replace(ONE, tokens_per_second=31.0)}
    assert [entry.name for entry in data.parent.iterdir()] == ["benchmarks.json"], "nothing half written is left"


@pytest.mark.parametrize("text", ["{", "null", '[{"model": "x"}, 3]', '[{"model": "x", "measured_at": "soon"}]'])
def test_what_cannot_be_understood_is_left_out_and_kept(text: str, data: Path) -> None:
    data.parent.mkdir()
    data.write_text(text, encoding="utf-8")
    assert measurements.read() == {}
    measurements.remember(ONE)
    assert measurements.read() == {ONE.model: ONE}
    assert data.with_name("benchmarks.json.damaged").read_text(encoding="utf-8") == text


def test_what_a_newer_version_adds_does_no_harm(data: Path) -> None:
    measurements.remember(ONE)
    (entry,) = json.loads(data.read_text(encoding="utf-8"))
    data.write_text(json.dumps([{**entry, "watts": 65}]), encoding="utf-8")
    assert measurements.read() == {ONE.model: ONE}


def test_the_memory_of_what_the_worker_starts_counts() -> None:
    code = "held = bytearray(b'x' * 50_000_000); print('ready', flush=True); input()"
    before = measure_model._peak_memory(os.getpid())
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert measure_model._peak_memory(os.getpid()) >= before + 50_000_000
        child.communicate(b"\n")
