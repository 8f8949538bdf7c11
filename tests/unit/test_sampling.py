"""Sampling from the three kinds of request, presets included."""

from __future__ import annotations

import pytest

from zwaif_hooks.host.sampling import sampling_from
from zwaif_hooks.messages import Sampling


@pytest.fixture
def tree(tmp_path):
    presets = tmp_path / "OOBA_Presets"
    presets.mkdir()
    (presets / "Mine.yaml").write_text(
        "temperature: 1.17\ndynatemp_low: 1.04\nmin_p: 0.03\ntop_k: 72\nrepetition_penalty: 1.1\n"
        "repetition_penalty_range: 1920\npresence_penalty: 0.05\ndynamic_temperature: true\n"
    )
    return tmp_path


def test_oobabooga_reads_the_preset_file(tree):
    assert sampling_from("oobabooga", {"preset": "Mine", "max_tokens": 300}, tree) == Sampling(
        temperature=1.17, min_p=0.03, top_k=72, repetition_penalty=1.1, repetition_range=1920, presence_penalty=0.05
    )


def test_fields_in_the_body_win_over_the_preset(tree):
    body = {"preset": "Mine", "temperature": 0.8, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.2, "min_p": None}
    result = sampling_from("oobabooga", body, tree)
    assert (result.temperature, result.top_p, result.top_k, result.repetition_penalty) == (0.8, 0.9, 40, 1.2)
    assert result.min_p == 0.03, "a null says nothing"


@pytest.mark.parametrize("name", [None, "", "Gone", "../Mine", "/etc/passwd", 7, "Mine.yaml"])
def test_a_preset_that_is_not_there_says_nothing(tree, name):
    assert sampling_from("oobabooga", {"preset": name}, tree) == Sampling()


def test_a_broken_preset_is_said_in_one_line(tree, capsys):
    (tree / "OOBA_Presets" / "Broken.yaml").write_text("temperature: [1\n")
    assert sampling_from("oobabooga", {"preset": "Broken"}, tree) == Sampling()
    sampling_from("oobabooga", {"preset": "Broken"}, tree)
    out = capsys.readouterr().out
    assert out.count("Broken.yaml is not valid YAML (line ") == 1


def test_ollama_options(tree):
    options = {
        "temperature": 1.05,
        "min_p": 0.047,
        "top_p": 0.89,
        "top_k": 72,
        "repeat_penalty": 1.079,
        "repeat_last_n": -1,
        "frequency_penalty": 0.03,
        "presence_penalty": 0.03,
        "seed": 7,
        "stop": ["x"],
        "num_predict": 110,
    }
    assert sampling_from("ollama", options, tree) == Sampling(1.05, 0.89, 72, 0.047, 1.079, -1, 0.03, 0.03, 7)


def test_ollamas_range_of_zero_switches_the_penalty_off():
    result = sampling_from("ollama", {"repeat_penalty": 1.3, "repeat_last_n": 0}, None)
    assert (result.repetition_penalty, result.repetition_range) == (1.0, None)


def test_lmstudio_config():
    config = {"temperature": 0.77, "minPSampling": 0.047, "topKSampling": 67, "repeatPenalty": 1.1, "maxTokens": 450}
    assert sampling_from("lmstudio", config, None) == Sampling(
        temperature=0.77, min_p=0.047, top_k=67, repetition_penalty=1.1
    )


@pytest.mark.parametrize("backend", ["oobabooga", "ollama", "lmstudio"])
@pytest.mark.parametrize(
    "fields",
    [
        None,
        {},
        "text",
        {"temperature": "hot", "top_k": [1]},
        {"temperature": float("nan"), "top_k": float("inf")},
        {"temperature": True},
        {"seed": -1},
    ],
)
def test_nonsense_is_left_out(backend, fields):
    assert sampling_from(backend, fields, None) == Sampling()
