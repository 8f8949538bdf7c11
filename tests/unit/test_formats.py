"""Formats against their published shape, and templates against transformers itself."""

from __future__ import annotations

from typing import Any

import pytest

from zwaif_fallback.errors import ModelError
from zwaif_fallback.prompt import formats
from zwaif_hooks.messages import Message, ModelInfo

SYSTEM = Message("system", "You are Mia.")
HELLO = Message("user", "Hello {you}!")
REPLY = Message("assistant", "Hi.")
AGAIN = Message("user", "How are you? 你好 🙂")
TALK = [SYSTEM, HELLO, REPLY, AGAIN]

# Written for these tests, in the manner of the models they are named after.
ZEPHYR = """{% for m in messages %}
{% if m['role'] == 'user' %}
{{ '<|user|>\n' + m['content'] + eos_token }}
{% elif m['role'] == 'system' %}
{{ '<|system|>\n' + m['content'] + eos_token }}
{% elif m['role'] == 'assistant' %}
{{ '<|assistant|>\n' + m['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""
ALTERNATING = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate user/assistant/user/assistant') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}"
)
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] | trim + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
HELPERS = (
    "{% for m in messages %}{% if loop.index0 > 9 %}{% break %}{% endif %}"
    "{{ {'r': m['role'], 'c': m['content']} | tojson }}{% generation %}.{% endgeneration %}{% endfor %}"
    "{{ strftime_now('%Y') }}{% if tools is none and documents is none %}!{% endif %}"
)
TEMPLATES = {"zephyr": ZEPHYR, "alternating": ALTERNATING, "chatml": CHATML, "helpers": HELPERS}


def model(family: str = "", template: str = "", bos: str = "<s>", eos: str = "</s>") -> ModelInfo:
    return ModelInfo("test/model", family, 2048, template, bos, eos)


def tokenizer(template: str) -> Any:
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "<s>": 1, "</s>": 2}, unk_token="a"))
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>")
    made.chat_template = template
    return made


def as_dicts(messages: list[Message]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in messages]


@pytest.mark.slow
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_renders_as_in_transformers(name: str) -> None:
    talk = [HELLO, REPLY, AGAIN] if name == "alternating" else TALK
    theirs = tokenizer(TEMPLATES[name]).apply_chat_template(as_dicts(talk), tokenize=False, add_generation_prompt=True)
    assert formats.render(talk, model(template=TEMPLATES[name])) == theirs


@pytest.mark.parametrize("name", ["zephyr", "alternating", "chatml"])
@pytest.mark.parametrize("partial", ["I am fine and", "你", "I said:", "*waves* 🙂"])
def test_a_begun_turn_is_continued_as_in_transformers(name: str, partial: str) -> None:
    talk = [HELLO, REPLY, AGAIN]
    theirs = tokenizer(TEMPLATES[name]).apply_chat_template(
        as_dicts([*talk, Message("assistant", partial)]), tokenize=False, continue_final_message=True
    )
    assert formats.render(talk, model(template=TEMPLATES[name]), partial) == theirs


@pytest.mark.parametrize("partial", ["s", "</s>", " lead", "trail ", "\n\n", "<|im_end|>", "Hello {you}!", "{{ 1 }}"])
@pytest.mark.parametrize("name", ["zephyr", "alternating", "chatml"])
def test_the_prompt_always_ends_with_the_begun_turn(name: str, partial: str) -> None:
    prompt = formats.render([HELLO], model(template=TEMPLATES[name]), partial)
    assert prompt.endswith(partial)
    assert "zwaif" not in prompt


def test_a_template_without_system_role_gets_it_in_the_first_user_turn() -> None:
    alternating = model(template=ALTERNATING)
    assert not formats.has_system_role(alternating)
    assert formats.render(TALK, alternating).startswith("<s>[INST] You are Mia.\n\nHello {you}! [/INST]Hi.</s>[INST] ")


def test_a_template_that_drops_the_system_message_silently_is_noticed() -> None:
    silent = model(
        template="{% for m in messages %}{% if m['role'] != 'system' %}{{ m['content'] }}|{% endif %}{% endfor %}"
    )
    assert formats.render(TALK, silent).startswith("You are Mia.\n\nHello {you}!|")


@pytest.mark.parametrize(
    "template",
    ["{{ raise_exception('no') }}", "{% if %}", "{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ 1 // 0 }}"],
)
def test_a_template_that_cannot_be_used_is_a_model_error(template: str) -> None:
    with pytest.raises(ModelError, match=r"test/model"):
        formats.render([HELLO], model(template=template))


def test_tinyllama_format() -> None:
    assert formats.render(TALK, model("tinyllama")) == (
        "<|system|>\nYou are Mia.</s>\n<|user|>\nHello {you}!</s>\n<|assistant|>\nHi.</s>\n"
        "<|user|>\nHow are you? 你好 🙂</s>\n<|assistant|>\n"
    )


def test_phi_format() -> None:
    assert formats.render(TALK, model("phi")) == (
        "System: You are Mia.\nHuman: Hello {you}!\nAssistant: Hi.\nHuman: How are you? 你好 🙂\nAssistant:"
    )
    assert formats.render([HELLO], model("phi"), "Well").endswith("\nAssistant: Well")


def test_mistral_format() -> None:
    assert formats.render(TALK, model("mistral")) == (
        "<s>[INST] You are Mia.\n\nHello {you}! [/INST] Hi.</s>[INST] How are you? 你好 🙂 [/INST]"
    )


def test_neural_chat_format() -> None:
    assert formats.render(TALK, model("neural-chat", bos="")) == (
        "### System:\nYou are Mia.\n### User:\nHello {you}!\n### Assistant:\nHi.\n"
        "### User:\nHow are you? 你好 🙂\n### Assistant:\n"
    )


@pytest.mark.parametrize(
    ("token", "begins", "ends"),
    [
        ("<|im_start|>", "<|im_start|>system\nYou are Mia.<|im_end|>\n<|im_start|>user\n", "<|im_start|>assistant\n"),
        ("<|start_header_id|>", "<s><|start_header_id|>system<|end_header_id|>\n\nYou are Mia.<|eot_id|>",
         "<|start_header_id|>assistant<|end_header_id|>\n\n"),
        ("<start_of_turn>", "<s><start_of_turn>user\nYou are Mia.\n\nHello", "<start_of_turn>model\n"),
    ],
)  # fmt: skip
def test_a_model_without_a_usable_template_tells_its_format_by_its_tokens(token: str, begins: str, ends: str) -> None:
    damaged = "{% for m in messages %}{{ m.content }"
    for family, template in (("", ""), ("mistral", ""), ("", damaged)):
        found = ModelInfo("test/model", family, 4096, template, "<s>", "</s>", ("<s>", token))
        prompt = formats.by_family(TALK, found)
        assert prompt.startswith(begins)
        assert prompt.endswith(ends)


def test_an_unknown_family_gets_a_plain_format() -> None:
    prompt = formats.render(TALK, model("never-heard-of"))
    assert prompt.startswith("You are Mia.\n\nUser: Hello {you}!\nAssistant: Hi.\n")
    assert prompt.endswith("Assistant:")


@pytest.mark.parametrize("family", formats.FORMATS)
def test_each_family_stops_before_it_speaks_for_the_user(family: str) -> None:
    shape = formats.format_of(model(family))
    next_turn = formats.render([HELLO, REPLY, AGAIN], model(family)).split("Hi.")[1]
    assert any(stop in next_turn for stop in formats.stop_strings(model(family)))
    assert shape.assistant.startswith(shape.start)


def test_stop_strings_of_a_template() -> None:
    assert formats.stop_strings(model(template=CHATML, eos="<|endoftext|>")) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|endoftext|>",
    )
    assert "</s>" in formats.stop_strings(model("tinyllama"))
    assert "" not in formats.stop_strings(model("phi", eos=""))


LISTED = "{% for m in messages %}{{ m['content'] }}|{% endfor %}"
OPENS_THOUGHTS = LISTED + "{% if add_generation_prompt %}{{ '<A><think>\\n' }}{% endif %}"
ASKED = LISTED + "{{ '<A>' }}{% if enable_thinking %}{{ '<think>' }}{% endif %}"
HARMONY = LISTED + "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (OPENS_THOUGHTS, "<A><think>\n\n</think>\n\n"),
        (ASKED, "<A>"),
        (HARMONY, "<|start|>assistant<|channel|>final<|message|>"),
    ],
)
def test_no_reasoning_model_is_asked_to_think(template: str, end: str) -> None:
    assert formats.render([HELLO], ModelInfo("m", chat_template=template)) == f"{HELLO.content}|{end}"
