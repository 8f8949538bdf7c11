"""From Z-Waif's wish to the numbers of the model that speaks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from zwaif_fallback.engine_types import LoadedModel
from zwaif_fallback.local.sampling_params import Mood, hotter, is_small, mood_of, sampling_for
from zwaif_fallback.models import catalogue
from zwaif_fallback.models.catalogue import Offer
from zwaif_hooks.messages import ModelInfo, Sampling

STANDARD = Sampling(temperature=1.17, min_p=0.03, top_k=72, repetition_penalty=1.1, repetition_range=1920, seed=4)


def model(parameters: float = 1.1e9, **advice: float) -> LoadedModel:
    return LoadedModel(ModelInfo("m"), "gguf", parameters=int(parameters), advice=Sampling(**advice))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "asked, mood",
    [
        (None, Mood.STANDARD),
        (1.17, Mood.STANDARD),  # Oobabooga, Standard
        (1.21, Mood.STANDARD),  # Tempered
        (1.31, Mood.HOT),  # Blazing
        (1.05, Mood.STANDARD),  # Ollama, level 0
        (1.27, Mood.HOT),  # level 2
        (0.77, Mood.STANDARD),  # LM Studio, level 0
        (1.67, Mood.HOT),  # level 2
        (0.7, Mood.STANDARD),  # v1.14-R4
        (0.3, Mood.CALM),
        (0.0, Mood.CALM),
    ],
)
def test_moods_of_the_presets_as_shipped(asked: float | None, mood: Mood) -> None:
    assert mood_of(Sampling(temperature=asked)) is mood


def test_numbers_that_z_waif_sends_are_not_the_model_s() -> None:
    asked = replace(STANDARD, frequency_penalty=0.1, presence_penalty=0.1, top_p=0.5)
    assert sampling_for(model(), asked) == sampling_for(model(), Sampling(seed=4))


def test_the_smaller_the_cooler() -> None:
    sizes = [135e6, 0.6e9, 1.1e9, 3e9, 7e9, 24e9]
    made = [sampling_for(model(size), STANDARD) for size in sizes]
    temperatures = [sampling.temperature or 0 for sampling in made]
    cuts = [sampling.min_p or 0 for sampling in made]
    assert temperatures == sorted(set(temperatures)) and cuts == sorted(set(cuts), reverse=True)
    assert temperatures[0] <= 0.35 and cuts[0] >= 0.1


def test_a_model_of_unknown_size_is_taken_for_one_as_the_default_is() -> None:
    assert sampling_for(model(0), STANDARD) == sampling_for(model(1.1e9), STANDARD)


def test_mood_moves_the_temperature() -> None:
    calm, standard, hot = (sampling_for(model(), Sampling(temperature=t)).temperature or 0 for t in (0.2, 1.0, 1.5))
    assert calm < standard < hot < 1


def test_what_the_makers_publish_counts_as_far_as_the_size_can_bear() -> None:
    large = sampling_for(model(24e9, temperature=0.15, top_p=0.9, top_k=20), STANDARD)
    assert (large.temperature, large.top_p, large.top_k) == (0.15, 0.9, 20)
    tiny = sampling_for(model(135e6, temperature=1.0, top_k=64), STANDARD)
    assert (tiny.temperature, tiny.top_k) == (sampling_for(model(135e6), STANDARD).temperature, 64)


def test_the_catalogue_counts_before_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    offer = Offer("m", "M", sampling={"temperature": 0.25, "top_p": 0.8}, covers=("m",))
    monkeypatch.setattr(catalogue, "OFFERS", (offer,))
    made = sampling_for(model(temperature=0.1), STANDARD)
    assert (made.temperature, made.top_p) == (0.25, 0.8)


def test_the_user_s_temperature_overrules_them_all() -> None:
    made = sampling_for(model(135e6, temperature=0.1), Sampling(temperature=1.5), 0.9)
    assert made == replace(sampling_for(model(135e6), STANDARD), temperature=0.9, seed=None)


def test_a_second_try_is_hotter_and_another_one() -> None:
    first = sampling_for(model(), STANDARD)
    second = hotter(first, 0)
    third = hotter(second, 1)
    assert first.temperature < second.temperature < third.temperature  # type: ignore[operator]
    assert len({first.seed, second.seed, third.seed}) == 3


@pytest.mark.parametrize("parameters, small", [(135e6, True), (1.1e9, True), (0, True), (3e9, False)])
def test_which_models_are_helped_to_the_words(parameters: float, small: bool) -> None:
    assert is_small(model(parameters)) is small
