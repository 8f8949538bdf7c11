"""Who answers, and how one goes on where another stopped."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial

import pytest

from tests.helpers.scripted_engine import ScriptedEngine
from tests.unit.test_spoken_text import NOT_FOR_EARS
from zwaif_fallback.answering import local_tier
from zwaif_fallback.answering.chain import Chain
from zwaif_fallback.answering.last_words import LAST_WORDS, LastWords, LastWordsTier, built_in_text, parse
from zwaif_fallback.answering.local_tier import LocalTier
from zwaif_fallback.answering.second_server_tier import SecondServerTier
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel, LoadOptions
from zwaif_fallback.errors import EngineError, ModelNotFound, WorkerDied
from zwaif_fallback.local.sampling_params import sampling_for
from zwaif_fallback.prompt import formats
from zwaif_fallback.prompt.writer import PromptWriter
from zwaif_fallback.reply_stream import ReplyStream
from zwaif_hooks import log
from zwaif_hooks.messages import (
    Answer,
    ChatRequest,
    FailureKind,
    Message,
    ModelInfo,
    Persona,
    PrimaryFailure,
    PromptFormat,
    Purpose,
    Sampling,
)
from zwaif_hooks.stream import CancelScope

Script = Sequence[str | BaseException]
TINY = ModelInfo("tiny", "tinyllama", 2048, "", "<s>", "</s>")
HELLO = ChatRequest("oobabooga", (Message("user", "Hello"),), max_tokens=50)
LINES, ENDINGS, _ = parse(built_in_text())


def failure(delivered: str = "") -> PrimaryFailure:
    return PrimaryFailure(FailureKind.REFUSED, "connection refused", delivered)


class Model:
    """Speaks one script a generation, piece by piece; an exception in a script is raised there."""

    def __init__(self, *scripts: Script, info: ModelInfo | None = None) -> None:
        self.scripts = list(scripts)
        self.info = info or ModelInfo("tiny", "tinyllama", 2048, "", "<s>", "</s>")
        self.generations: list[Generation] = []
        self.closed = 0
        self.loads = 0
        self.tokens_a_piece = 2

    def ready(self) -> LoadedModel:
        self.loads += 1
        return LoadedModel(self.info, "scripted")

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]:
        self.generations.append(generation)
        script = self.scripts[min(len(self.generations), len(self.scripts)) - 1]
        try:
            for piece in script:
                if isinstance(piece, BaseException):
                    raise piece
                if stats is not None:
                    stats.generated_tokens += self.tokens_a_piece
                yield piece
        finally:
            self.closed += 1


class Host:
    name = "10.0.0.9:5000"

    def __init__(self, *script: str | BaseException) -> None:
        self.script = script
        self.messages: list[Message] = []

    def stream(
        self, messages: Sequence[Message], *, sampling: Sampling, stop: Sequence[str], max_tokens: int, partial: str
    ) -> Iterator[str]:
        self.messages = list(messages)
        for piece in self.script:
            if isinstance(piece, BaseException):
                raise piece
            yield piece


class Table:
    """A chain with everything it needs, and what it said."""

    def __init__(self, model: Model, host: Host | None = None, ready: Callable[[], LoadedModel] | None = None) -> None:
        self.said: list[str] = []
        self.longest = 0
        prompts = PromptWriter(model, longest=lambda: self.longest)
        local = LocalTier(model, ready or model.ready, prompts, self.said.append)
        second = [SecondServerTier(host.name, lambda: host)] if host else []
        tiers = [*second, local, LastWordsTier(LastWords(seed=1))]
        self.chain = Chain(lambda request: tiers, self.said.append)

    def text(self, request: ChatRequest = HELLO, delivered: str = "") -> str:
        self.answer: Answer = self.chain.answer(request, failure(delivered))
        self.pieces = list(self.answer.pieces)
        return "".join(self.pieces)


def test_the_host_goes_first_and_streams() -> None:
    model, host = Model(["no"]), Host("Hi", " there.")
    table = Table(model, host)
    assert table.text() == "Hi there." and len([p for p in table.pieces if p]) == 2
    assert table.answer.answered_by == "10.0.0.9:5000"
    assert not model.generations and not model.loads


def test_an_answer_that_waits_for_its_model_to_load_ends_at_once_and_the_load_goes_on() -> None:
    begun, release, loads = threading.Semaphore(0), threading.Event(), list[str]()
    model = Model(["Hi."])

    def load() -> LoadedModel:
        loads.append("begun")
        begun.release()
        assert release.wait(20)
        return model.ready()

    table = Table(model, ready=load)
    answers = [table.chain.answer(HELLO, failure()).pieces for _ in range(5)]
    readers = [threading.Thread(target=list, args=(pieces,), daemon=True) for pieces in answers]
    for reader in readers:
        reader.start()
    assert begun.acquire(timeout=20)
    for pieces, reader in zip(answers, readers, strict=True):
        pieces.close()  # type: ignore[union-attr]
        reader.join(20)
        assert not reader.is_alive()
    assert (table.said, loads) == ([], ["begun"]), "one load for the five"
    release.set()
    assert table.text() == "Hi."


def test_an_answer_that_nobody_wants_any_more_ends_at_once_and_without_a_word() -> None:
    """While the host is silent; nobody else is asked, and the user is told nothing."""
    asked, stopped = threading.Event(), threading.Event()

    class Silent(Host):
        def stream(self, messages: Sequence[Message], **wishes: object) -> Iterator[str]:  # type: ignore[override]
            return ReplyStream(self.silence)

        def silence(self, scope: CancelScope) -> Generator[str, None, None]:
            scope.on_cancel(stopped.set)
            asked.set()
            stopped.wait(20)
            yield from ()

    model = Model(["No."])
    table = Table(model, Silent())
    pieces = table.chain.answer(HELLO, failure()).pieces
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(pieces), daemon=True)
    reader.start()
    assert asked.wait(20)
    pieces.close()  # type: ignore[attr-defined]
    reader.join(20)
    assert stopped.is_set() and not reader.is_alive()
    assert (said, table.said, model.generations) == ([], [], [])


def test_nothing_is_done_before_the_answer_is_read() -> None:
    model = Model(["Hi."])
    answer = Table(model).chain.answer(HELLO, failure())
    assert not model.loads and answer.exact
    assert "".join(answer.pieces) == "Hi." and model.loads == 1


def test_the_local_model_answers_from_the_first_sentence() -> None:
    model = Model([" Hello", " Sam", ".", " How", " are you?"])
    table = Table(model)
    assert table.text() == "Hello Sam. How are you?"
    assert table.pieces == ["Hello Sam.", " How are you?"], "sentence by sentence"
    assert table.answer.answered_by == "tiny"
    assert table.said == []


def test_the_tokens_of_the_local_model_are_counted() -> None:
    table = Table(Model([" Hello", " Sam", "."]))
    table.text()
    assert table.answer.tokens == 6


def test_tokens_before_and_behind_a_restart_are_added() -> None:
    table = Table(Model([" Hello", WorkerDied("died")], [" Sam."]))
    assert table.text() == "Hello Sam."
    assert table.answer.tokens == 2 + 2


def test_last_words_are_no_tokens_and_a_host_does_not_count_its_own() -> None:
    silent = Table(Model([ModelNotFound("none")]))
    silent.text()
    assert (silent.answer.answered_by, silent.answer.tokens) == (LAST_WORDS, 0)
    both = Table(Model([" and you?"]), Host("I am fine", ConnectionResetError("gone")))
    both.text()
    assert both.answer.tokens is None


def test_a_host_that_breaks_off_is_followed_by_the_model_from_that_character() -> None:
    model, host = Model([" and you?"]), Host("I am fine", ConnectionResetError("gone"))
    table = Table(model, host)
    assert table.text() == "I am fine and you?"
    assert model.generations[0].prompt.endswith("<|assistant|>\nI am fine")
    assert table.answer.answered_by == "10.0.0.9:5000, then tiny"
    assert len(table.said) == 1 and "the next is tried" in table.said[0]
    assert "gone" not in table.said[0] and "gone" in log.log_path().read_text(encoding="utf-8")


def test_what_a_server_says_again_is_taken_out() -> None:
    table = Table(Model(["no"]), Host("Well, I think ", "that is good."))
    assert table.text(delivered="Well, I think") == " that is good."


def test_a_worker_that_dies_is_started_again_once_and_goes_on() -> None:
    model = Model(["One, two,", WorkerDied("The worker process ended (killed).")], [" three."])
    table = Table(model)
    assert table.text() == "One, two, three."
    assert model.loads == 2
    assert model.generations[1].prompt.endswith("One, two,")
    assert table.said == ["The worker process ended (killed). Starting it again."]


def test_only_a_dead_or_hung_worker_is_started_again() -> None:
    model = Model(["One, two,", EngineError("The prompt is too long.")])
    table = Table(model)
    assert table.text().startswith("One, two,")
    assert (model.loads, len(model.generations)) == (1, 1)
    assert table.said == ["The prompt is too long."]


def spoken_with(render: Callable[[Sequence[Message], str], str], window: int) -> Generation:
    """What a model with a window of that many words is asked, after a long conversation."""
    model = Model(["Hello."], info=ModelInfo("tiny", "tinyllama", window, "", "<s>", "</s>"))
    talk = tuple(Message("user" if turn % 2 == 0 else "assistant", "word " * 20) for turn in range(61))
    tier = LocalTier(model, model.ready, PromptWriter(model, lambda _: [PromptFormat(render)]), print)
    assert "".join(tier.speak(ChatRequest("oobabooga", talk, max_tokens=120), "", CancelScope())[1]) == "Hello."
    return model.generations[0]


@pytest.mark.parametrize("more", [0, 50, 260, 10_000])
def test_whatever_a_plugin_writes_the_prompt_fits_the_window(more: int) -> None:
    def written(messages: Sequence[Message], partial: str) -> str:
        return "style " * more + formats.render(messages, TINY, partial)

    generation = spoken_with(written, 512)
    assert len(generation.prompt.split()) + generation.max_tokens <= 512
    assert generation.prompt.startswith("style ") == (0 < more < 512)
    assert "word word" in generation.prompt


def test_a_plugin_that_writes_each_turn_longer_fits_too() -> None:
    def written(messages: Sequence[Message], partial: str) -> str:
        return formats.render([Message(m.role, f"{m.content} {m.content}") for m in messages], TINY, partial)

    generation = spoken_with(written, 512)
    assert len(generation.prompt.split()) + generation.max_tokens <= 512
    assert len(generation.prompt.split()) % 40 > 1, "as the plugin wrote it"


def test_a_worker_that_dies_twice_leaves_an_ending() -> None:
    model = Model(["One, two", WorkerDied("It died.")], [WorkerDied("It died again.")])
    table = Table(model)
    said = table.text()
    assert said.startswith("One, two") and said.removeprefix("One, two").strip() in ENDINGS
    assert table.answer.answered_by == "tiny, then last words"


def test_no_model_on_this_machine_leaves_a_line_and_says_why() -> None:
    def ready() -> LoadedModel:
        raise ModelNotFound("tiny is not on this computer yet.")

    table = Table(Model([]), ready=ready)
    assert table.text() in LINES
    assert table.said == ["tiny is not on this computer yet."]


@pytest.mark.parametrize("blank", [[], ["", " ", "\n"]])
def test_a_blank_reply_is_followed_by_the_next_tier(blank: list[str]) -> None:
    table = Table(Model(blank), Host(*blank))
    assert table.text() in LINES
    assert len(table.said) == 2 and all("empty reply" in line for line in table.said)


@pytest.mark.parametrize("nothing", [["\u200b"], ["*", "*"], ["<|im", "_end|>"], ["\ufffd", "\n"]])
def test_what_shows_nothing_is_no_beginning_of_a_reply(nothing: list[str]) -> None:
    model = Model(["Hello", " there."])
    table = Table(model, Host(*nothing))
    assert table.text() == "Hello there."
    assert table.answer.answered_by == "tiny"
    assert not model.generations[0].prompt.endswith("".join(nothing))


def test_nothing_to_add_to_a_whole_sentence_is_no_failure() -> None:
    table = Table(Model([]))
    assert table.text(delivered="That is all.") == ""
    assert table.said == []


def test_nothing_to_add_to_a_broken_sentence_is_ended() -> None:
    assert Table(Model([])).text(delivered="And then we").strip() in ENDINGS


def test_an_ordinary_reply_is_not_held_back() -> None:
    seen: list[str] = []
    request = ChatRequest("oobabooga", HELLO.messages, recent_replies=("Hello Sam.", "Good day."))
    model = Model(["Hello", " Sam. ", "I", " slept. ", "And you?"])
    for piece in Table(model).chain.answer(request, failure()).pieces:
        seen.append(piece)
    assert seen == ["Hello Sam. I slept.", " And you?"], "held only while it could become a recent reply"


@pytest.mark.parametrize("first", [["Hello ", "Sam."], ["Tom &am", "p; Jerry "], ["  Hello Sam.", "\n"]])
def test_a_repeated_reply_is_made_again_before_anything_is_said(first: list[str]) -> None:
    request = ChatRequest(
        "oobabooga", HELLO.messages, sampling=Sampling(seed=7), recent_replies=("Hello Sam.", "Tom & Jerry")
    )
    model = Model(first, first, ["Something new."])
    assert Table(model).text(request) == "Something new."
    temperatures = [g.sampling.temperature or 0.0 for g in model.generations]
    assert temperatures == sorted(set(temperatures))
    assert len({g.sampling.seed for g in model.generations}) == 3


def test_a_model_that_cannot_but_repeat_itself_still_answers() -> None:
    request = ChatRequest("oobabooga", HELLO.messages, recent_replies=("Hello Sam.",))
    model = Model(["Hello Sam."])
    assert Table(model).text(request) == "Hello Sam."
    assert len(model.generations) == local_tier.ATTEMPTS


MIA = ChatRequest("oobabooga", HELLO.messages, persona=Persona("Mia", "Tom", "A fox."), sampling=Sampling(seed=7))


def test_another_name_is_never_heard_and_the_next_try_is_cooler(caplog: pytest.LogCaptureFixture) -> None:
    model = Model(["My name is", " Bella. ", "I"], ["Hi! I'm", " Mia."])
    table = Table(model)
    with caplog.at_level(logging.DEBUG, logger="zwaif"):
        assert table.text(MIA) == "Hi! I'm Mia."
    cold, cooler = (generation.sampling for generation in model.generations)
    assert (cooler.temperature or 0) < (cold.temperature or 0) and cooler.seed != cold.seed
    assert table.answer.tokens == (3 + 2) * model.tokens_a_piece and model.closed == 2
    assert "My name is Bella." in caplog.text and "another name" in caplog.text


def test_a_fault_after_a_few_words_is_gone_on_from() -> None:
    model = Model(["Hello Tom. ", "Tom: Hi! ", "Mia"], [" Shall we bake", " a cake today?"])
    assert Table(model).text(MIA) == "Hello Tom. Shall we bake a cake today?"
    assert model.generations[1].prompt == model.generations[0].prompt + "Hello Tom."
    assert model.generations[1].heal == len("Hello Tom.")


def test_a_fault_after_enough_ends_the_reply_and_the_model() -> None:
    script = [
        "I was at the sea the whole day, and I found five shells ",
        "and a crab that I let go. ",
        "I'm Bella. ",
        "I",
    ]
    model = Model(script)
    assert Table(model).text(MIA) == (script[0] + script[1]).strip()
    assert len(model.generations) == 1 and model.closed == 1


def test_who_always_takes_another_name_says_hers() -> None:
    model = Model(["My name is Bella. ", "I bake."])
    assert Table(model).text(MIA) == "My name is Mia. I bake."
    assert len(model.generations) == local_tier.ATTEMPTS


def test_a_model_that_cannot_but_be_a_model_leaves_it_to_the_next() -> None:
    table = Table(Model(["As an AI language model, I cannot. "]))
    assert table.text(MIA) in LINES
    assert len(table.said) == 1


def test_a_harmless_try_is_said_when_the_others_are_worse() -> None:
    model = Model(["Dear Mia, I hope you are well."], ["As an AI language model, I cannot. "])
    assert Table(model).text(MIA) == "Dear Mia, I hope you are well."
    assert len(model.generations) == local_tier.ATTEMPTS


def test_words_of_the_answer_get_likelier_with_each_try_that_has_none_of_them() -> None:
    model = Model(["I do not know that, sorry."], ["I love the rain so much."], ["She breeds pigeons."])
    persona = Persona("Mia", "Tom", "Mia is a fox. Her sister Dora breeds pigeons.")
    request = replace(MIA, messages=(Message("user", "What does your sister do?"),), persona=persona)
    assert Table(model).text(request) == "She breeds pigeons."
    favours = [generation.favour for generation in model.generations]
    assert favours == [2.0, 3.0, 4.0] and model.generations[0].favoured == ("Dora", "breeds", "pigeons")


def test_a_begun_reply_is_gone_on_with_once_more_and_not_said_twice() -> None:
    model = Model([" Bella. And"], [" Mia. And you?"])
    assert Table(model).text(MIA, delivered="Hello! My name is") == " Mia. And you?"
    assert model.generations[1].prompt == model.generations[0].prompt


def test_tokens_that_run_out_leave_whole_sentences() -> None:
    first = "I like it here, where the sea is calm and the wind is as warm as tea at home in May."
    engine = ScriptedEngine(lambda generation: f"{first} And the gulls are loud")
    cut = "I like it here, where the sea is calm and the wind is as warm…"
    for limit, text in [(50, f"{first} And the gulls are loud."), (22, first), (16, cut)]:
        prompts = PromptWriter(engine, longest=partial(int, limit))
        local = LocalTier(engine, partial(engine.load, LoadOptions("x")), prompts, print)
        assert "".join(local.speak(MIA, "", CancelScope())[1]) == text


def test_a_server_does_not_speak_for_the_user() -> None:
    host = Host("I am fine.\nTo", "m: And I?\nMia: Yes.")
    assert Table(Model(["no"]), host).text(MIA) == "I am fine."
    summary = replace(MIA, purpose=Purpose.SUMMARY)
    assert Table(Model(["no"]), Host("They met.\nTom: was late.")).text(summary) == "They met.\nTom: was late."


def test_a_slow_model_is_not_taken_for_a_silent_one() -> None:
    """Its sentence takes longer than anybody waits in silence: words come as they are made, and are judged with it."""
    now = 0.0

    class Slow(Model):
        def generate(self, generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]:
            nonlocal now
            for piece in super().generate(generation, stats):
                now += 1.0
                yield piece

    calm = "I was at the sea, and it was as blue as can be. And you?"
    mended = "Well, what they all call me is: my name is Mia, so."
    for script, again, text in [(calm, "", calm), (mended.replace("Mia", "Bella"), " is Mia, so.", mended)]:
        model = Slow(re.findall(r"\s?\S+", script), re.findall(r"\s?\S+", again))
        local = LocalTier(model, model.ready, PromptWriter(model), print, clock=lambda: now)
        gaps, said = [], ""
        last = now
        for piece in local.speak(MIA, "", CancelScope())[1]:
            gaps.append(now - last)
            last, said = now, said + piece
        assert said == text
        assert max(gaps) <= local_tier.HELD_SECONDS + 2, gaps


def test_a_model_is_stopped_when_she_has_said_as_much_as_usual() -> None:
    model = Model([f"Word {n} and one more, Tom. " for n in range(100)])
    talk = [turn for _ in range(4) for turn in (Message("user", "So?"), Message("assistant", "So it is, my dear Tom."))]
    request = replace(MIA, messages=(*talk, Message("user", "And?")))  # type: ignore[arg-type]
    assert Table(model).text(request) == "Word 0 and one more, Tom."
    assert model.closed == 1


def test_a_continuation_that_completes_a_recent_reply_counts_as_repeated() -> None:
    request = ChatRequest("oobabooga", HELLO.messages, recent_replies=("Hello Sam.",))
    model = Model([" Sam."], [" you."])
    assert Table(model).text(request, delivered="Hello") == " you."


def test_stops_sampling_and_length() -> None:
    request = ChatRequest("ollama", HELLO.messages, max_tokens=700, stop=("Sam:", "", "\n"))
    model = Model(["\n", " Hi.", " Bye\nSam", ": x"])
    table = Table(model)
    table.longest = 40
    assert table.text(request) == "Hi. Bye"
    asked = model.generations[0]
    assert asked.max_tokens == 40
    assert "Sam:" in asked.stop and "<|user|>" in asked.stop and "</s>" in asked.stop
    assert "" not in asked.stop and "\n" not in asked.stop, "a line break before the first word does not count"
    assert asked.sampling == sampling_for(model.ready(), request.sampling)
    assert model.closed == 1


def test_closing_the_answer_stops_the_model() -> None:
    model = Model(["One. ", "Two. ", "Three."])
    pieces = iter(Table(model).chain.answer(HELLO, failure()).pieces)
    assert next(pieces) == "One."
    pieces.close()  # type: ignore[attr-defined]
    assert model.closed == 1


def test_an_address_that_is_none_is_said_and_passed_over() -> None:
    def connect() -> Host:
        raise ValueError("port must be a number")

    model, said = Model(["Hi."]), list[str]()
    local = LocalTier(model, model.ready, PromptWriter(model), said.append)
    tiers = [SecondServerTier("nowhere:x", connect), local]
    answer = Chain(lambda request: tiers, said.append).answer(HELLO, failure())
    assert "".join(answer.pieces) == "Hi."
    assert len(said) == 1 and "the next is tried" in said[0]
    assert "port must be a number" in log.log_path().read_text(encoding="utf-8")


def test_another_server_gets_the_persona_too() -> None:
    host = Host("Hi.")
    persona = Persona("Mia", "Sam", "A fox.")
    Table(Model([]), host).text(ChatRequest("oobabooga", HELLO.messages, persona=persona, persona_in_messages=False))
    assert host.messages[0].role == "system" and "A fox." in host.messages[0].content


def test_another_server_is_told_that_it_cannot_see() -> None:
    host = Host("Hi.")
    picture = Message("user", 'Look<img src="data:image/png;base64,QUJD">')
    Table(Model([]), host).text(ChatRequest("ollama", (picture,), has_image=True))
    (user,) = host.messages
    assert "cannot see" in user.content and user.content.endswith("\n\nLook")


def test_a_model_that_only_thinks_is_asked_again_without_its_thoughts() -> None:
    model = Model(["<think>\n", "The user says hello, so I"], ["Hello."])
    assert Table(model).text(HELLO) == "Hello."
    assert model.generations[1].prompt == model.generations[0].prompt + formats.NO_THOUGHTS
    assert model.generations[1].max_tokens == model.generations[0].max_tokens


def test_thoughts_and_labels_do_not_count_as_the_one_line() -> None:
    request = ChatRequest("oobabooga", HELLO.messages, stop=("\n",), persona=Persona("Mia", "Sam"))
    model = Model(["<think>\n", "Hm.\n", "</think>\n\n", "Mia: Hel", "lo.\nSam: Hi"])
    assert Table(model).text(request) == "Hello."


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (["Mi", "a", ":", " Hello"], "Hello"),
        (["Mia: Hello", " Sam"], "Hello Sam"),
        (["Mi", "nd the gap"], "Mind the gap"),
        (["Mia"], "Mia"),
        (["Mia:", "Mia: x"], "x"),
        (["**Mi", "a:** *smiles*"], "*smiles*"),
    ],
)
def test_the_companion_does_not_announce_herself(script: list[str], text: str) -> None:
    request = ChatRequest("oobabooga", HELLO.messages, persona=Persona("Mia", "Sam"))
    model = Model(script)
    assert Table(model).text(request) == text
    assert "\nSam:" in model.generations[0].stop


@pytest.mark.parametrize("name", NOT_FOR_EARS)
def test_what_the_local_model_thinks_and_marks_is_not_spoken(name: str) -> None:
    written, heard = NOT_FOR_EARS[name]
    request = ChatRequest("oobabooga", HELLO.messages, persona=Persona("Waifu", "Tom"))
    said = Table(Model(list(written))).text(request)
    assert said == heard if heard else said in LINES


def test_only_her_name_is_no_reply() -> None:
    request = ChatRequest("oobabooga", HELLO.messages, persona=Persona("Mia"))
    assert Table(Model(["Mia", ":"])).text(request) in LINES


def test_a_template_that_raises_is_replaced_by_the_familys_format(monkeypatch: pytest.MonkeyPatch) -> None:
    info = ModelInfo("odd template", "tinyllama", 2048, "{{ raise_exception('odd') }}", "<s>", "</s>")
    model = Model(["Hi."], info=info)
    said: list[str] = []
    monkeypatch.setattr(log, "say", said.append)
    tier = LocalTier(model, model.ready, PromptWriter(model), print)
    assert "".join(tier.speak(HELLO, "", CancelScope())[1]) == "Hi."
    assert model.generations[0].prompt.startswith("<|user|>\nHello")
    assert "odd" in said[0]


def test_last_words_for_a_summary_claim_nothing() -> None:
    request = ChatRequest("oobabooga", HELLO.messages, purpose=Purpose.SUMMARY)
    assert Table(Model([])).text(request) not in LINES


@pytest.mark.slow
def test_many_threads_at_once() -> None:
    model = Model(["One, ", "two, ", "three."])
    table = Table(model, Host("One, ", OSError("cut")))
    replies: list[str] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait(10)
        for _ in range(20):
            replies.append("".join(table.chain.answer(HELLO, failure()).pieces))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert replies == ["One, One, two, three."] * 160


def test_the_engine_is_told_how_much_of_the_prompt_was_said() -> None:
    model = Model([" there."])
    assert Table(model).text(delivered="Hello") == " there."
    assert Table(model).text() == "there."
    assert [generation.heal for generation in model.generations] == [5, 0]


class Listener(Host):
    """Answers each question with the next script and keeps what it was given as the start of its turn."""

    def __init__(self, *scripts: Script) -> None:
        super().__init__()
        self.scripts = list(scripts)
        self.given: list[str] = []
        self.closed = 0

    def stream(self, messages: Sequence[Message], *, partial: str, **wishes: object) -> Iterator[str]:  # type: ignore[override]
        self.given.append(partial)
        self.script = tuple(self.scripts[len(self.given) - 1])
        try:
            yield from super().stream(messages, sampling=Sampling(), stop=(), max_tokens=1, partial=partial)
        finally:
            self.closed += 1


@pytest.mark.parametrize(
    "script",
    [
        [" blue", " skies."],
        ["blue skies."],
        ["Blue", " skies."],
        ["  b", "lue skies."],
        ["I like deep blue skies."],
        ["deep blue skies."],
    ],
)
def test_a_server_is_given_whole_words_and_the_torn_one_is_expected(script: list[str]) -> None:
    host = Listener(script)
    table = Table(Model(["no"]), host)
    assert table.text(delivered="I like deep bl") == "ue skies."
    assert host.given == ["I like deep"] and host.closed == 1


def test_a_lost_space_is_put_in_where_the_word_was_whole() -> None:
    host = Listener(["like cats."])
    assert Table(Model(["no"]), host).text(delivered="I like") == " cats."
    host = Listener(["cats."])
    assert Table(Model(["no"]), host).text(delivered="I like ") == "cats."
    assert host.given == ["I like"]


def test_a_server_that_prefers_another_word_is_asked_again_with_everything() -> None:
    host = Listener([" love cats."], [" cats."])
    table = Table(Model(["no"]), host)
    assert table.text(delivered="I like") == " cats."
    assert host.given == ["I", "I like"] and host.closed == 2
    assert table.said == []


def test_the_first_word_is_given_as_it_is() -> None:
    host = Listener(["Hello there."])
    assert Table(Model(["no"]), host).text(delivered="Hel") == "lo there."
    assert host.given == ["Hel"]


def test_a_server_that_fails_at_the_seam_is_followed_from_there() -> None:
    host = Listener([" bl", ConnectionResetError("gone")])
    assert Table(Model(["ue skies."]), host).text(delivered="I like deep bl") == "ue skies."
