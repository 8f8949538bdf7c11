"""Decoding with a captured step gives the text of decoding without one, also where capture or replay fails.

A card records the step as a CUDA graph; here it is run again on the same buffers.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.helpers.step_recorders import LostKernels, RerunRecorder
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadOptions
from zwaif_fallback.engines import decoding_graphs
from zwaif_fallback.engines.decoding_graphs import reason_against, recorder_for
from zwaif_fallback.engines.transformers import TransformersEngine
from zwaif_fallback.errors import EngineError
from zwaif_fallback.models.slots import REPLY, STEP, slots_for
from zwaif_hooks.messages import Sampling

pytestmark = pytest.mark.slow

GREEDY = Sampling(temperature=0, repetition_penalty=1.0)
PROMPT = "<|user|>\nHello there, how are you?</s>\n<|assistant|>\n"
STORY = "The quick brown fox jumps over the lazy dog. "
TinyModel = Callable[..., Path]


def loaded(folder: Path, recorder: Any = None, **options: Any) -> TransformersEngine:
    engine = TransformersEngine(recorder)
    engine.load(LoadOptions(model=str(folder), device="cpu", dtype="float32", quantization="none", **options))
    return engine


def pieces(engine: TransformersEngine, prompt: str = PROMPT, max_tokens: int = 120, **more: Any) -> list[str]:
    more.setdefault("sampling", GREEDY)
    return list(engine.generate(Generation(prompt, max_tokens=max_tokens, **more)))


@pytest.fixture(autouse=True)
def spoken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights write no sentences: a reply is being spoken as soon as its first text was taken."""
    monkeypatch.setattr("zwaif_fallback.engines.transformers._SPOKEN", re.compile("."))


@pytest.mark.parametrize("kind", ["llama", "mistral", "phi", "qwen2", "gemma"])
def test_every_architecture_writes_the_same(tiny_model: TinyModel, kind: str) -> None:
    recorder = RerunRecorder()
    engine, plain = loaded(tiny_model(kind), recorder), loaded(tiny_model(kind))
    assert reason_against(engine._model) == ""
    assert pieces(engine) == pieces(plain)
    assert recorder.captures == 1
    assert recorder.replays > 100


def test_every_length_of_prompt_and_every_change_of_buffers(tiny_model: TinyModel) -> None:
    folder = tiny_model()
    recorder = RerunRecorder()
    engine, plain = loaded(folder, recorder), loaded(folder)
    for words in (1, 7, 25, 26, 27, 28, 29, 30):
        prompt = (STORY * words)[: 46 * words]
        assert pieces(engine, prompt, 200) == pieces(plain, prompt, 200), words
    assert recorder.captures > 1, "the buffers never grew"


def test_a_reply_outgrows_its_buffers_and_ends_with_the_window(tiny_model: TinyModel) -> None:
    folder = tiny_model()
    recorder = RerunRecorder()
    engine, plain = loaded(folder, recorder), loaded(folder)
    for each in (engine, plain):
        each._window = 2 * STEP + 100  # beyond the model's own, so that one reply fills two sizes of buffers
    stats = GenerationStats()
    text = "".join(engine.generate(Generation(PROMPT, 5000, sampling=GREEDY), stats))
    assert text == "".join(pieces(plain, max_tokens=5000))
    assert stats.prompt_tokens + stats.generated_tokens == 2 * STEP + 100
    assert recorder.captures == 3


def test_turns_of_a_chat_keep_their_cache_and_their_step(tiny_model: TinyModel) -> None:
    folder = tiny_model()
    recorder = RerunRecorder()
    engine, plain = loaded(folder, recorder), loaded(folder)
    prompt = STORY * 4 + PROMPT
    for turn in range(4):
        stats = GenerationStats()
        text = "".join(engine.generate(Generation(prompt, 30, sampling=GREEDY), stats))
        assert text == "".join(pieces(loaded(folder), prompt, 30)), turn
        assert turn == 0 or stats.reused_tokens > 40
        prompt += text + f"</s>\n<|user|>\nAnd {turn}?</s>\n<|assistant|>\n"
    assert recorder.captures == 1
    other = "Another conversation altogether. " + STORY
    for asked in (other, PROMPT, other, PROMPT):
        assert pieces(engine, asked, 40) == pieces(plain, asked, 40)


def test_sampling_penalties_and_stops_are_the_same(tiny_model: TinyModel) -> None:
    recorder = RerunRecorder()
    engine, plain = loaded(tiny_model(), recorder), loaded(tiny_model())
    for seed in range(3):
        sampling = Sampling(temperature=1.0, top_p=0.9, top_k=50, repetition_penalty=1.2, seed=seed)
        assert pieces(engine, sampling=sampling) == pieces(plain, sampling=sampling)
    stop = "".join(pieces(plain))[30:34]
    assert "".join(pieces(engine, stop=(stop,))) == "".join(pieces(plain, stop=(stop,)))
    assert recorder.replays > 200


def test_a_healed_word_is_the_same(tiny_model: TinyModel) -> None:
    recorder = RerunRecorder()
    engine, plain = loaded(tiny_model(), recorder), loaded(tiny_model())
    pieces(engine), pieces(plain)
    for said in ("Once upon a ti", "Hel", "The quick br"):
        before = recorder.replays
        assert pieces(engine, PROMPT + said, heal=len(said)) == pieces(plain, PROMPT + said, heal=len(said))
        assert recorder.replays > before


def test_cancel_and_closing_stop_within_one_token_of_a_captured_step(tiny_model: TinyModel) -> None:
    recorder = RerunRecorder()
    engine = loaded(tiny_model(), recorder)
    whole = pieces(engine)
    for stop in (engine.cancel, lambda: None):
        stats = GenerationStats()
        reply = engine.generate(Generation(PROMPT, 120, sampling=GREEDY), stats)
        for _ in range(20):
            next(reply)
        made, replays = stats.generated_tokens, recorder.replays
        stop()
        if stop == engine.cancel:
            list(reply)
        reply.close()  # type: ignore[attr-defined]
        assert stats.finish_reason == "cancelled"
        assert stats.generated_tokens <= made + 1
        assert recorder.replays <= replays + 1
        assert pieces(engine) == whole


def test_nothing_is_captured_before_the_reply_is_spoken(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    recorder = RerunRecorder()
    engine = loaded(tiny_model(), recorder)
    pieces(engine, max_tokens=0)
    reply = engine.generate(Generation(PROMPT, 400, sampling=GREEDY))
    said = ""
    for piece in reply:
        said += piece
        if recorder.captures:
            break
    taken = said[: -len(piece)]
    assert any(end in taken for end in ".!?\n") or len(taken) >= 200
    engine.cancel()


@pytest.mark.parametrize("recorder", [RerunRecorder(fail_capture=True), LostKernels()], ids=["error", "lost kernels"])
def test_a_failed_capture_costs_no_token(
    tiny_model: TinyModel, recorder: Any, caplog: pytest.LogCaptureFixture
) -> None:
    engine, plain = loaded(tiny_model(), recorder), loaded(tiny_model())
    with caplog.at_level(logging.INFO, logger=decoding_graphs.__name__):
        assert [pieces(engine), pieces(engine)] == [pieces(plain), pieces(plain)]
    assert [line.startswith("Decoding as a graph did not work (") for line in caplog.messages] == [True]


@pytest.mark.parametrize("fail_at", [1, 2, 3, 40])
def test_a_failed_replay_costs_no_token(tiny_model: TinyModel, fail_at: int, caplog: pytest.LogCaptureFixture) -> None:
    recorder = RerunRecorder(fail_at=fail_at)
    engine, plain = loaded(tiny_model(), recorder), loaded(tiny_model())
    with caplog.at_level(logging.INFO, logger=decoding_graphs.__name__):
        assert [pieces(engine), pieces(engine)] == [pieces(plain), pieces(plain)]
    assert recorder.replays == fail_at
    assert sum("did not work" in line for line in caplog.messages) == 1


def test_positions_beyond_a_sliding_window_are_read_without_a_step(tiny_model: TinyModel) -> None:
    recorder = RerunRecorder()
    engine = loaded(tiny_model("mistral"), recorder)
    plain = loaded(tiny_model("mistral"))
    for each in (engine, plain):
        each._model.config.sliding_window = 90
        each._take(each._model, each._tokenizer)
    assert pieces(engine) == pieces(plain)
    assert recorder.captures == 1
    assert recorder.replays <= 90 - engine.count_tokens([PROMPT])[0]


def test_a_window_that_is_stated_but_not_used_ends_no_step(tiny_model: TinyModel) -> None:
    recorder = RerunRecorder()
    engine = loaded(tiny_model("qwen2"), recorder)
    config = engine._model.config
    config.use_sliding_window, config.sliding_window = False, 40
    engine._take(engine._model, engine._tokenizer)
    pieces(engine)
    assert recorder.replays > 60


def test_memory_that_runs_out_in_the_middle_costs_no_token(
    tiny_model: TinyModel, caplog: pytest.LogCaptureFixture
) -> None:
    engine, plain = loaded(tiny_model()), loaded(tiny_model())
    before = pieces(engine, STORY)
    forward, calls = engine._model.forward, list[int]()

    def full(*args: Any, **more: Any) -> Any:
        calls.append(more["input_ids"].shape[1])
        if len(calls) == 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")
        return forward(*args, **more)

    engine._model.forward = full
    with caplog.at_level(logging.INFO, logger="zwaif_fallback.engines.transformers"):
        assert pieces(engine) == pieces(plain)
    assert sum("Memory ran out" in line for line in caplog.messages) == 1
    assert pieces(engine, STORY) == before
    engine._model.forward = forward


def test_memory_that_stays_out_ends_the_reply(tiny_model: TinyModel) -> None:
    engine = loaded(tiny_model())
    pieces(engine, max_tokens=3)

    def full(*args: Any, **more: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")

    engine._model.forward = full
    with pytest.raises(EngineError, match="ran out of memory"):
        pieces(engine)


class CardThatWaits:
    """Stands in for ``torch.cuda``; what waits in a step fails in its debug mode."""

    def __init__(self) -> None:
        self.mode, self.stream_now, self.graphs = "default", "the usual one", 0
        self.Stream = lambda: SimpleNamespace(wait_stream=lambda other: None)

    def current_stream(self) -> Any:
        return SimpleNamespace(wait_stream=lambda other: None)

    @contextlib.contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        self.stream_now = stream
        yield

    def device(self, device: Any) -> Any:
        return contextlib.nullcontext()

    def set_stream(self, stream: Any) -> None:
        self.stream_now = "the usual one"

    def get_sync_debug_mode(self) -> str:
        return self.mode

    def set_sync_debug_mode(self, mode: str) -> None:
        self.mode = mode

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def CUDAGraph(self) -> None:
        self.graphs += 1


def test_a_step_that_waits_for_the_card_is_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    card = CardThatWaits()
    monkeypatch.setattr(torch, "cuda", card)

    def step() -> None:
        if card.mode == "error":
            raise RuntimeError("called a synchronizing CUDA operation")

    with pytest.raises(RuntimeError, match="synchronizing"):
        decoding_graphs.CudaRecorder("cuda:1").capture(step)
    assert (card.mode, card.stream_now, card.graphs) == ("default", "the usual one", 0)


def test_models_whose_step_depends_on_the_length_are_decoded_as_before(tiny_model: TinyModel) -> None:
    assert "static cache" in reason_against(loaded(tiny_model("gpt2"))._model)
    assert "sliding window" in reason_against(loaded(tiny_model("gemma2"))._model)
    model = loaded(tiny_model())._model
    assert recorder_for(model) is None, "on a processor nothing is captured"
    model.config.rope_scaling = {"rope_type": "dynamic", "factor": 2.0}
    assert "position encoding" in reason_against(model)
    model.config.rope_scaling = {"rope_type": "llama3"}
    assert reason_against(model) == ""
    model.config._attn_implementation = "flash_attention_2"
    assert "mask" in reason_against(model)
    model.model.layers[1].to("meta")
    assert "several devices" in reason_against(model)


def test_cudnn_s_attention_is_off_where_torch_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    was = torch.backends.cuda.cudnn_sdp_enabled()
    try:
        torch.backends.cuda.enable_cudnn_sdp(True)
        decoding_graphs.disable_cudnn_attention()
        assert not torch.backends.cuda.cudnn_sdp_enabled()
    finally:
        torch.backends.cuda.enable_cudnn_sdp(was)
    monkeypatch.setattr(torch.backends, "cuda", SimpleNamespace())
    decoding_graphs.disable_cudnn_attention()


def test_the_room_of_a_cache_is_a_whole_number_of_steps_with_a_reply_in_it() -> None:
    for tokens in (1, STEP - REPLY, STEP - REPLY + 1, 2048, 8191):
        assert slots_for(tokens) % STEP == 0
        assert REPLY <= slots_for(tokens) - tokens < REPLY + STEP
