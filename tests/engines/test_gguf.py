"""The GGUF engine on two real tiny models, in this process: what it says, where it stops, what it keeps."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.engines.test_continuation import ASK, GREEDY, TALK, cuts
from tests.helpers import gguf_models, llama_program
from tests.helpers.gguf_models import SENTENCE
from tests.helpers.made_models import LLAMA, write_gguf
from zwaif_fallback import demo
from zwaif_fallback.engine_types import Engine, Generation, GenerationStats, LoadOptions
from zwaif_fallback.engines import gguf_server
from zwaif_fallback.engines.factory import make_engine
from zwaif_fallback.engines.gguf import GgufEngine
from zwaif_fallback.engines.gguf_request import advice_in, grammar_for, sampling_of
from zwaif_fallback.engines.gguf_server import Chunk
from zwaif_fallback.engines.transformers import TransformersEngine
from zwaif_fallback.errors import EngineError, ModelError
from zwaif_fallback.models import catalogue
from zwaif_fallback.models.facts import GGUF
from zwaif_fallback.prompt import formats
from zwaif_hooks.messages import Message, Sampling

pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.slow

PARROT_ASK = "<s>[INST] Hello [/INST]"
LONG = ASK.format("Hello there, how are you today? " * 120)


def loaded(file: Path, **options: Any) -> GgufEngine:
    engine = GgufEngine()
    engine.load(LoadOptions(str(file), threads=1, **({"device": "cpu"} | options)))
    return engine


@pytest.fixture(scope="module", params=["library", "program"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """How to load a model: in this process, or in another program for the graphics card."""
    if request.param == "library":
        return {"device": "cpu"}
    if sys.platform != "linux":
        pytest.skip("needs a program made of a script, and xllamacpp has no other use for one on macOS")
    program = llama_program.make_program(tmp_path_factory.mktemp("program"))
    return {"device": "auto", "llama_server": str(program)}


@pytest.fixture(scope="module")
def companion(companion_gguf: Path, server: dict[str, str]) -> Iterator[GgufEngine]:
    engine = loaded(companion_gguf, **server)
    yield engine
    engine.unload()


@pytest.fixture(scope="module")
def parrot(parrot_gguf: Path, server: dict[str, str]) -> Iterator[GgufEngine]:
    engine = loaded(parrot_gguf, **server)
    yield engine
    engine.unload()


def say(engine: Engine, prompt: str, stats: GenerationStats | None = None, **more: Any) -> str:
    more.setdefault("sampling", GREEDY)
    more.setdefault("max_tokens", 40)
    return "".join(engine.generate(Generation(prompt, **more), stats))


# What it says


def test_it_says_what_the_same_weights_say_in_transformers(companion: GgufEngine) -> None:
    other = TransformersEngine()
    other.load(LoadOptions(str(demo.MODEL), device="cpu", dtype="float32"))
    for asked, _ in TALK:
        assert say(companion, ASK.format(asked)) == say(other, ASK.format(asked))
    texts = ["Hello there", "\U0001f600 caf\u00e9", "<|user|>\nHi</s>", "", "half \ud83d of an emoji"]
    assert companion.count_tokens(texts) == other.count_tokens(texts)


@pytest.mark.parametrize(
    "template",
    [
        "",
        "{% for m in messages %}{{ m['content'] }{% endfor %}",
        "{% for m in messages %}{% no_such_tag m %}{% endfor %}",
        "{{ raise_exception('never') }}",
        "{{ '[INST] %s [/INST]' | format(messages[-1].content) }}",
        "{% for m in messages %}{% generation %}[INST] {{ m.content }} [/INST]{% endgeneration %}{% endfor %}",
        "{{ strftime_now('%d') }}{% for m in messages | rejectattr('role', 'eq', 't') %}{{ m.content }}{% endfor %}",
    ],
)
def test_whatever_its_template_is_a_file_loads_and_speaks(template: str, tmp_path: Path) -> None:
    """llama.cpp's own reader of templates cannot parse some of these, and none of them is given to it."""
    engine = loaded(gguf_models.make_parrot(tmp_path / "parrot.gguf", template=template))
    info = engine._info
    assert info.chat_template == template
    try:
        prompt = formats.render([Message("user", "Hello")], info)
    except ModelError:
        prompt = formats.by_family([Message("user", "Hello")], info)
    assert "Hello" in prompt
    assert say(engine, f"{prompt} [/INST]") == SENTENCE
    engine.unload()


def test_what_is_told_of_the_model(companion_gguf: Path, parrot_gguf: Path) -> None:
    engine = GgufEngine()
    lines: list[str] = []
    told = engine.load(LoadOptions(str(companion_gguf), device="cpu"), lines.append)
    assert (told.engine, told.device, told.quantization, told.notes) == ("gguf", "cpu", "F16", ())
    assert (told.info.context_window, told.info.bos_token, told.info.eos_token) == (2048, "<s>", "</s>")
    assert told.memory_bytes > 2_000_000 and "<|assistant|>" in told.info.chat_template
    assert lines == [f"Loading {companion_gguf} (F16 on cpu) …"]
    engine.unload()
    with pytest.raises(EngineError, match="No model is loaded"):
        engine.count_tokens(["a"])


def test_whole_characters_only(parrot: GgufEngine) -> None:
    stats = GenerationStats()
    pieces = list(parrot.generate(Generation(PARROT_ASK, 40, sampling=GREEDY), stats))
    assert "".join(pieces) == SENTENCE and stats.finish_reason == "stop"
    assert "\U0001f600" in pieces and stats.generated_tokens > len(pieces)


@pytest.mark.parametrize("limit", range(1, 10))
def test_a_character_that_is_not_finished_is_left_out(parrot: GgufEngine, limit: int) -> None:
    stats = GenerationStats()
    text = say(parrot, PARROT_ASK, stats, max_tokens=limit)
    assert SENTENCE.startswith(text) and "\ufffd" not in text
    assert (stats.generated_tokens, stats.finish_reason) == (limit, "length")


@pytest.mark.parametrize("stop", ["sun", "n, ", "\u00e9", "Morning"])
def test_stop_strings(companion: GgufEngine, parrot: GgufEngine, stop: str) -> None:
    for engine, prompt in ((companion, ASK.format("Good morning")), (parrot, PARROT_ASK)):
        whole, stats = say(engine, prompt), GenerationStats()
        assert say(engine, prompt, stats, stop=("nowhere", stop)) == whole.partition(stop)[0]
        assert stats.finish_reason == "stop"


def test_a_seed_repeats_itself_and_only_itself(companion: GgufEngine) -> None:
    hot = Sampling(temperature=1.8, top_k=0, top_p=1.0, min_p=0.0, seed=5)
    prompt = ASK.format("Tell me something")
    assert say(companion, prompt, sampling=hot) == say(companion, prompt, sampling=hot)
    others = {say(companion, prompt, sampling=replace(hot, seed=seed)) for seed in (None, 6, 7, 2**40)}
    assert len(others) > 1


def test_each_wish_for_sampling_is_told_in_llama_cpp_s_words() -> None:
    wish = Sampling(0.3, 0.8, 30, 0.02, 1.2, 64, 0.4, 0.5, 7)
    assert sampling_of(wish, 2048) == {
        "samplers": ["penalties", "top_k", "top_p", "min_p", "temperature"],
        "temperature": 0.3,
        "top_k": 30,
        "top_p": 0.8,
        "min_p": 0.02,
        "repeat_penalty": 1.2,
        "repeat_last_n": 64,
        "frequency_penalty": 0.4,
        "presence_penalty": 0.5,
        "seed": 7,
    }
    off = sampling_of(Sampling(0, 0, -1, 2.0, 0.0, -1, seed=-1), 2048)
    assert (off["top_p"], off["top_k"], off["min_p"], off["repeat_penalty"]) == (1.0, 0, 0.0, 1.0)
    assert (off["repeat_last_n"], off["seed"]) == (2048, -1)


def test_favoured_words_are_likelier(companion: GgufEngine) -> None:
    prompt = ASK.format("Good morning")
    plain = companion._request(Generation(prompt), [1], "")
    request = companion._request(Generation(prompt, favoured=("tea", "tea")), [1], "")
    (tokens,) = companion._loaded().tokens([" tea"])
    assert request["logit_bias"] == [[token, 2.0] for token in sorted(set(tokens))] and "logit_bias" not in plain
    assert say(companion, prompt, favoured=("tea",))


def test_a_file_says_how_its_makers_would_pick_words() -> None:
    stated = {"general.sampling.temp": 0.6, "general.sampling.top_k": 20, "general.sampling.top_p": 7.0}
    assert advice_in(stated) == Sampling(temperature=0.6, top_k=20)
    assert advice_in({"general.sampling.temp": float("nan"), "general.sampling.top_k": "many"}) == Sampling()


def test_every_wish_is_one_that_llama_cpp_takes(companion: GgufEngine) -> None:
    for sampling in (Sampling(0.3, 0.8, 30, 0.02, 1.2, 64, 0.4, 0.5, 7), Sampling(0, 0, -1, 2.0, 0.0, -1), Sampling()):
        assert say(companion, ASK.format("Good morning"), sampling=sampling)


# The prompt


@pytest.mark.parametrize("name", ["companion_gguf", "parrot_gguf"])
def test_our_prompt_is_the_one_that_llama_cpp_s_own_chat_makes(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = gguf_server._parameters

    def with_its_template(plan: Any, options: LoadOptions) -> Any:
        params = real(plan, options)
        params.use_jinja, params.chat_template = True, ""
        return params

    monkeypatch.setattr(gguf_server, "_parameters", with_its_template)
    engine = loaded(request.getfixturevalue(name))
    messages = [Message("user", "Hello"), Message("assistant", "there."), Message("user", "Hello there?")]
    plain = {"messages": [{"role": m.role, "content": m.content} for m in messages], "max_tokens": 1}
    usage: list[Any] = []
    engine._loaded()._server.handle_chat_completions(plain, usage.append)
    prompt = formats.render(messages, engine._info)
    stats = GenerationStats()
    say(engine, prompt, stats, max_tokens=1)
    engine.unload()
    assert stats.prompt_tokens == usage[0]["usage"]["prompt_tokens"]
    assert stats.reused_tokens == stats.prompt_tokens - 1, "not the same tokens"


def test_llama_cpp_does_not_try_out_the_template_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}"
    monkeypatch.setattr(gguf_models, "PARROT_TEMPLATE", endless)
    began = time.process_time()
    engine = loaded(gguf_models.make_parrot(tmp_path / "endless.gguf"))
    assert engine._info.chat_template == endless
    assert say(engine, PARROT_ASK) == SENTENCE
    engine.unload()
    assert time.process_time() - began < 10


def test_a_begin_token_is_there_once(parrot: GgufEngine) -> None:
    begun, plain = parrot.prompt_tokens(PARROT_ASK), parrot.prompt_tokens(PARROT_ASK.removeprefix("<s>"))
    assert begun == plain and begun.count(1) == 1


def test_a_growing_chat_is_read_once(companion: GgufEngine) -> None:
    prompt = ASK.format("Good morning")
    for _ in range(3):
        stats = GenerationStats()
        prompt += say(companion, prompt, stats)
        said = companion.count_tokens([prompt])[0]
        prompt += "</s>\n" + ASK.format("Good night")
    say(companion, prompt, stats)
    assert stats.reused_tokens >= said > 40
    assert stats.prefilled_tokens == stats.prompt_tokens > stats.reused_tokens


def test_reading_ahead_says_nothing_and_saves_the_reading(
    companion: GgufEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts_read: list[int] = []
    real = companion._loaded().complete

    def complete(body: Any, take: Callable[[Chunk], bool]) -> None:
        prompts_read.append(len(body["prompt"]))
        real(body, take)

    monkeypatch.setattr(companion._loaded(), "complete", complete)
    begin = "Quite another story. " + LONG
    for prompt, parts in ((begin, 5 if companion._rests else 1), (begin + " It goes on.", 1)):
        ahead, stats = GenerationStats(), GenerationStats()
        prompts_read.clear()
        assert say(companion, prompt, ahead, max_tokens=0) == ""
        assert (ahead.finish_reason, ahead.prefilled_tokens, len(prompts_read)) == (
            "length",
            ahead.prompt_tokens,
            parts,
        )
        say(companion, prompt, stats, max_tokens=1)
        assert stats.reused_tokens == stats.prompt_tokens - 1
    assert ahead.reused_tokens > 0.9 * ahead.prompt_tokens


def test_reading_ahead_ends_between_two_parts(companion: GgufEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def act(number: int, chunk: Chunk) -> None:
        if chunk.get("prompt_progress", {}).get("processed"):
            companion.cancel()

    Watched(companion, monkeypatch, act)
    stats = GenerationStats()
    assert say(companion, "Not this one either. " + LONG, stats, max_tokens=0) == ""
    assert stats.finish_reason == "cancelled" and stats.prefilled_tokens < stats.prompt_tokens


def test_a_summary_between_two_turns_costs_the_chat_nothing(companion: GgufEngine) -> None:
    stats = GenerationStats()
    say(companion, LONG[:2000])
    say(companion, "Something else. " * 60)
    say(companion, LONG[:2000] + " and more", stats)
    assert stats.reused_tokens > 0.9 * stats.prompt_tokens


def test_a_prompt_that_is_too_long_or_empty(companion_gguf: Path) -> None:
    engine = loaded(companion_gguf, context_window=512)
    size = engine.count_tokens([LONG])[0]
    with pytest.raises(EngineError, match=f"The prompt has {size} tokens and the model's window is 512: shorten"):
        say(engine, LONG)
    with pytest.raises(EngineError, match="The prompt is empty"):
        say(engine, "")
    stats = GenerationStats()
    say(engine, ASK.format("Hi"), stats, max_tokens=10_000, sampling=Sampling(temperature=3.0, top_p=1.0, top_k=0))
    assert stats.prompt_tokens + stats.generated_tokens <= 512
    engine.unload()


def test_llama_cpp_s_own_errors_are_errors(companion: GgufEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zwaif_fallback.engines.gguf.sampling_of", lambda sampling, window: {"top_k": "many"})
    with pytest.raises(EngineError, match=r"The local model failed while writing \(.*top_k"):
        say(companion, ASK.format("Hi"))


# Going on inside a word


def test_a_sentence_is_gone_on_with_wherever_it_was_cut(companion: GgufEngine) -> None:
    cases = [(ASK.format(asked), answer, at) for asked, answer in TALK for at in cuts(answer)]
    plain = sum(say(companion, ask + answer[:at]) == answer[at:] for ask, answer, at in cases)
    healed = [at for ask, answer, at in cases if say(companion, ask + answer[:at], heal=at) != answer[at:]]
    assert plain < 0.7 * len(cases), "it could do without"
    assert healed == []


def test_the_characters_that_were_there_stay_as_they_are(parrot: GgufEngine) -> None:
    for at in range(1, len(SENTENCE) + 1):
        assert SENTENCE[:at] + say(parrot, PARROT_ASK + SENTENCE[:at], heal=at) == SENTENCE


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_what_is_written_again_does_not_count(companion: GgufEngine, limit: int) -> None:
    ask, answer = ASK.format(TALK[0][0]), TALK[0][1]
    stats = GenerationStats()
    text = say(companion, ask + answer[:20], stats, heal=20, max_tokens=limit)
    assert answer[20:].startswith(text) and text
    assert (stats.generated_tokens, stats.finish_reason) == (limit, "length")


def test_a_finished_reply_may_end_behind_its_space(companion: GgufEngine) -> None:
    stats = GenerationStats()
    ask, answer = ASK.format(TALK[0][0]), TALK[0][1]
    assert say(companion, ask + answer + " ", stats, heal=len(answer) + 1) == ""
    assert stats.finish_reason == "stop"


@pytest.mark.parametrize("torn", ['say "', "a\\", "\U0001f600", "]] ::= x", "\t"])
def test_any_text_can_be_written_again(companion: GgufEngine, torn: str) -> None:
    say(companion, ASK.format("Hi") + torn, heal=len(torn))
    assert '"\\U' in grammar_for(torn)


def test_where_it_cannot_be_written_again_it_stays(companion: GgufEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = ASK.format("Good morning") + "Morning, sunsh"
    plain = say(companion, prompt)
    for broken in ("root ::= ", 'root ::= "zzz" .*'):
        monkeypatch.setattr("zwaif_fallback.engines.gguf.grammar_for", lambda torn, broken=broken: broken)
        assert say(companion, prompt, heal=14) == plain


# Stopping


class Watched:
    """llama.cpp's chunks as they pass; ``act`` is called for each."""

    def __init__(self, engine: GgufEngine, monkeypatch: pytest.MonkeyPatch, act: Callable[[int, Chunk], None]) -> None:
        self.chunks: list[Chunk] = []
        real = engine._loaded().complete

        def complete(body: Any, take: Callable[[Chunk], bool]) -> None:
            def watched(chunk: Chunk) -> bool:
                self.chunks.append(chunk)
                act(len(self.chunks), chunk)
                return take(chunk)

            real(body, watched)

        monkeypatch.setattr(engine._loaded(), "complete", complete)


def test_cancelled_while_the_prompt_is_read(companion: GgufEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def act(number: int, chunk: Chunk) -> None:
        if chunk.get("prompt_progress", {}).get("processed"):
            companion.cancel()

    watched = Watched(companion, monkeypatch, act)
    stats = GenerationStats()
    assert say(companion, "Never read before. " + LONG, stats) == ""
    assert stats.finish_reason == "cancelled"
    assert len(watched.chunks) == 2, "it went on reading"
    assert stats.prefilled_tokens < stats.prompt_tokens


def test_cancelled_between_two_tokens(companion: GgufEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[str] = []
    stats = GenerationStats()
    with_text: list[int] = []

    def act(number: int, chunk: Chunk) -> None:
        with_text.append(number) if chunk["choices"][0]["text"] else None
        if len(with_text) == 3:
            companion.cancel()

    Watched(companion, monkeypatch, act)
    pieces = list(companion.generate(Generation(ASK.format("Good morning"), 40, sampling=GREEDY), stats))
    assert len(pieces) == 2 and len(with_text) == 3 and stats.finish_reason == "cancelled"


def test_cancelled_before_it_began(companion: GgufEngine) -> None:
    stats = GenerationStats()
    pieces = companion.generate(Generation(ASK.format("Good morning"), 40, sampling=GREEDY), stats)
    companion.cancel()
    assert "".join(pieces) == "" and stats.finish_reason == "cancelled"
    assert say(companion, ASK.format("Good morning")) == TALK[1][1]


def test_a_reader_that_leaves_ends_it(companion: GgufEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    stats = GenerationStats()
    hot = Sampling(temperature=3.0, top_k=0, top_p=1.0)
    pieces = companion.generate(Generation(ASK.format("Good morning"), 1500, sampling=hot), stats)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert stats.finish_reason == "cancelled"
    assert not [thread for thread in threading.enumerate() if thread.name == "zwaif-llama"]


def test_tokens_are_counted_while_a_reply_is_written(companion: GgufEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[list[int]] = []
    Watched(companion, monkeypatch, lambda number, chunk: counts.append(companion.count_tokens(["Hello there"])))
    say(companion, ASK.format("Good morning"))
    assert len(counts) > 10 and set(map(tuple, counts)) == {(2,)}


# Which engine


def test_chosen_by_itself(companion_gguf: Path, tmp_path: Path, tiny_model: Callable[..., Path]) -> None:
    blob = tmp_path / "sha256-0123"
    blob.write_bytes(companion_gguf.read_bytes())
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "model.gguf").write_bytes(companion_gguf.read_bytes())
    for model in (companion_gguf, blob, tmp_path / "folder", tmp_path / "gone.GGUF"):
        assert isinstance(make_engine(LoadOptions(str(model))), GgufEngine)
    for name in (str(tiny_model()), "owner/name", "", "\0"):
        assert isinstance(make_engine(LoadOptions(name)), TransformersEngine)
    for model in (blob, tmp_path / "folder"):
        engine = loaded(model)
        assert say(engine, ASK.format("Good morning")) == TALK[1][1]
        engine.unload()


def test_without_the_extra(companion_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ModelError, match=r"one more package\. Run: pip install xllamacpp"):
        loaded(companion_gguf)


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("DLL load failed while importing xllamacpp: Modul nicht gefunden", "Install Microsoft's Visual C++"),
        ("libgomp.so.1: cannot open shared object file", "Run: pip uninstall -y xllamacpp. Then: pip install x"),
    ],
)
def test_an_extra_that_does_not_load_here(
    said: str, remedy: str, companion_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, *rest: Any) -> Any:
        if name == "xllamacpp":
            raise ImportError(said)
        return real(name, *rest)

    real = __import__
    monkeypatch.delitem(sys.modules, "xllamacpp")
    monkeypatch.setattr("builtins.__import__", refuse)
    with pytest.raises(ModelError, match=re.escape(f"cannot be loaded ({said}). {remedy}")):
        loaded(companion_gguf)


def test_what_llama_cpp_cannot_run_is_told_with_its_reason(companion_gguf: Path, tmp_path: Path) -> None:
    data = companion_gguf.read_bytes()
    strange = tmp_path / "strange.gguf"
    length = (5).to_bytes(8, "little")
    strange.write_bytes(data.replace(length + b"llama", length + b"lamma").replace(b"llama.", b"lamma."))
    with pytest.raises(ModelError, match=r"cannot run \(unknown model architecture: 'lamma'\).*--upgrade xllamacpp"):
        loaded(strange)
    strange.write_bytes(data.replace(b"blk.1.attn_q", b"blk.1.attn_x"))
    with pytest.raises(ModelError, match=r"cannot be loaded \(.*'blk.1.attn_q.weight' not found\)"):
        loaded(strange)


def test_a_model_that_cannot_go_back_reads_only_what_is_new(tmp_path: Path) -> None:
    """What Z-Waif tells before the newest words is gone in the next prompt. Other models forget just that."""
    engine = loaded(gguf_models.make_forward_only(tmp_path / "lfm2.gguf"))
    history, reused = "A long talk. " * 60, []
    for turn in range(4):
        stats = GenerationStats()
        say(engine, f"{history}[{turn} o'clock] How are you, {turn}?", stats, max_tokens=4)
        assert stats.prefilled_tokens == stats.prompt_tokens > 700
        reused.append(stats.reused_tokens / stats.prompt_tokens)
        history += f"How are you, {turn}? I am well, thank you. "
    assert reused[0] == 0
    assert all(share > 0.6 for share in reused[1:]), reused
    ahead, stats = GenerationStats(), GenerationStats()
    say(engine, history, ahead, max_tokens=0)
    say(engine, f"{history}[5 o'clock] Good night.", stats, max_tokens=4)
    assert stats.reused_tokens >= ahead.prompt_tokens - 4
    engine.unload()


ARCHITECTURES = sorted({offer.architecture for offer in catalogue.OFFERS if offer.format == GGUF})


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "nosuchmodel"])
def test_llama_cpp_knows_every_kind_of_model_that_is_offered(architecture: str, tmp_path: Path) -> None:
    """Of a file that has a header only it misses what belongs to that kind; of an unknown kind it says so."""
    own = {key.replace("llama.", f"{architecture}.", 1): value for key, value in LLAMA.items()}
    file = write_gguf(tmp_path / "header.gguf", {**own, "general.architecture": architecture})
    with pytest.raises(ModelError) as refused:
        loaded(file)
    unknown = "is of a kind that the installed xllamacpp cannot run" in str(refused.value)
    assert unknown == (architecture == "nosuchmodel"), refused.value
