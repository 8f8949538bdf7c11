"""Chat formats: turn messages into the prompt of a local model.

A model's own chat template is used if it has one, otherwise the format of its family (:data:`FORMATS`). Special tokens
are spelt out in the prompt, so it must be tokenized without adding any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from zwaif_fallback.errors import ModelError
from zwaif_fallback.models.catalogue import family_by_mark
from zwaif_fallback.prompt import escape_markers
from zwaif_fallback.prompt.template_client import SHARED
from zwaif_hooks import log
from zwaif_hooks.messages import Message, ModelInfo, PromptFormat, Role

_MARK = "\u2063zwaif\u2063"
"""A placeholder for content. Invisible separators keep it apart from anything a user types."""


_ROLES: tuple[Role, ...] = ("system", "user", "assistant", "user")
_A_TALK = tuple(Message(role, f"{_MARK}{number}") for number, role in enumerate(_ROLES))
"""Shows what a format writes between contents."""


@dataclass(frozen=True)
class Family:
    """How a model family writes turns. ``{}`` is the content, ``{eos}`` and ``{bos}`` are the tokenizer's tokens."""

    system: str
    user: str
    assistant: str
    start: str
    """Opens the turn that the model writes; ``assistant`` begins with it."""
    stops: tuple[str, ...]
    """What the model writes when it goes on with the user's turn."""
    begin: str = ""
    has_system: bool = True


_GENERIC = Family(
    system="{}\n\n",
    user="User: {}\n",
    assistant="Assistant: {}\n",
    start="Assistant:",
    stops=("\nUser:", "\nSystem:", "\nAssistant:"),
)

FORMATS: dict[str, Family] = {
    "tinyllama": Family(
        system="<|system|>\n{}{eos}\n",
        user="<|user|>\n{}{eos}\n",
        assistant="<|assistant|>\n{}{eos}\n",
        start="<|assistant|>\n",
        stops=("<|user|>", "<|system|>", "<|assistant|>"),
    ),
    "phi": Family(
        system="System: {}\n",
        user="Human: {}\n",
        assistant="Assistant: {}\n",
        start="Assistant:",
        stops=("\nHuman:", "\nSystem:", "\nAssistant:"),
    ),
    "mistral": Family(
        system="",
        user="[INST] {} [/INST]",
        assistant=" {}{eos}",
        start="",
        stops=("[INST]", "[/INST]"),
        begin="{bos}",
        has_system=False,
    ),
    "neural-chat": Family(
        system="### System:\n{}\n",
        user="### User:\n{}\n",
        assistant="### Assistant:\n{}\n",
        start="### Assistant:\n",
        stops=("### User:", "### System:", "### Assistant:"),
        begin="{bos}",
    ),
    "chatml": Family(
        system="<|im_start|>system\n{}<|im_end|>\n",
        user="<|im_start|>user\n{}<|im_end|>\n",
        assistant="<|im_start|>assistant\n{}<|im_end|>\n",
        start="<|im_start|>assistant\n",
        stops=("<|im_start|>", "<|im_end|>"),
    ),
    "llama-3": Family(
        system="<|start_header_id|>system<|end_header_id|>\n\n{}<|eot_id|>",
        user="<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>",
        assistant="<|start_header_id|>assistant<|end_header_id|>\n\n{}<|eot_id|>",
        start="<|start_header_id|>assistant<|end_header_id|>\n\n",
        stops=("<|start_header_id|>", "<|eot_id|>"),
        begin="{bos}",
    ),
    "gemma": Family(
        system="",
        user="<start_of_turn>user\n{}<end_of_turn>\n",
        assistant="<start_of_turn>model\n{}<end_of_turn>\n",
        start="<start_of_turn>model\n",
        stops=("<start_of_turn>", "<end_of_turn>"),
        begin="{bos}",
        has_system=False,
    ),
    "": _GENERIC,
}
# Tokens that open or close a turn in common templates; generation stops at those that the model's template uses.
_TURN_MARKS = ("<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "<start_of_turn>", "<end_of_turn>",
               "<|turn>", "<turn|>", "<|user|>", "<|end|>", "[INST]")  # fmt: skip


_UNTHINKING = {"enable_thinking": False, "thinking": False, "reasoning_effort": "low"}
"""Template variables that turn thinking off: Qwen 3 and SmolLM 3, DeepSeek 3.1 and Granite, gpt-oss."""
NO_THOUGHTS = "<think>\n\n</think>\n\n"
"""The beginning of a reasoning model's turn without thoughts."""
_THOUGHTLESS = {
    "<think>": NO_THOUGHTS.removeprefix("<think>"),
    "[THINK]": "[/THINK]",
    "<|start|>assistant": "<|channel|>final<|message|>",
}
"""How templates open thoughts in spite of that, and what closes them."""


def own(model: ModelInfo) -> PromptFormat:
    """Return the model's own format: its template, or the format of its family if the template cannot be used."""
    return PromptFormat(lambda messages, partial: write(messages, model, partial), stop_strings(model))


def render(messages: Sequence[Message], model: ModelInfo, partial: str = "") -> str:
    """Return the prompt, ending with ``partial``: the beginning of the assistant's turn.

    A model without a system role (Mistral's ``[INST]`` format, for example) gets the system message at the top of the
    first user turn.

    Raises:
        ModelError: the model's template cannot be used; the text says why.
    """
    turns = list(messages) if has_system_role(model) else fold_system(messages)
    if not model.chat_template:
        return _by_family(turns, model) + _seam(model, partial)
    return _by_template(turns, model, partial)


def write(messages: Sequence[Message], model: ModelInfo, partial: str = "") -> str:
    """Like :func:`render`, but use the family's format if the model's template cannot be used, and say so once."""
    try:
        return render(messages, model, partial)
    except ModelError as error:
        log.say_once(f"template {model.name}", f"{error} Using the format of its family instead.")
        return by_family(messages, model, partial)


def start_renderer() -> None:
    """Start the process that renders templates; the first reply need not wait for it then."""
    SHARED.start()


def stop_renderer() -> None:
    """End the process that renders templates; it starts again when it is needed."""
    SHARED.close()


def retry_templates() -> None:
    """Use templates again that took too long."""
    SHARED.forgive()
    has_system_role.cache_clear()
    _markers_of.cache_clear()


def up_to_newest(messages: Sequence[Message], write: Callable[[Sequence[Message]], str]) -> str:
    """Return the part of the prompt that does not depend on the user's next words.

    ``messages`` end with a user's turn; the result ends where its words begin. Empty if ``write`` does not show them.
    """
    prompt = write([*messages[:-1], Message("user", _MARK)])
    return prompt[: max(0, prompt.find(_MARK))]


def stop_strings(model: ModelInfo) -> tuple[str, ...]:
    """Return strings that end a reply, besides the end token: small models tend to write the user's turn as well."""
    stops = format_of(model).stops if not model.chat_template or model.family else ()
    marks = [mark for mark in _TURN_MARKS if mark in model.chat_template]
    return tuple(dict.fromkeys(stop for stop in [*stops, *marks, model.eos_token] if stop))


def format_of(model: ModelInfo) -> Family:
    """Return the format that the model's tokens belong to, else its family's, else the generic one."""
    return FORMATS.get(family_by_mark(model.control_tokens) or model.family, _GENERIC)


def by_family(messages: Sequence[Message], model: ModelInfo, partial: str = "") -> str:
    """Like :func:`render`, in the format of the model's family instead of its template."""
    bare = replace(model, chat_template="")
    # The contents were escaped for the template; the family's format has other markers.
    return render([Message(m.role, escape(m.content, bare)) for m in messages], bare, partial)


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """Move the text of system messages to the top of the first user turn."""
    system = "\n\n".join(m.content for m in messages if m.role == "system" and m.content)
    turns = [m for m in messages if m.role != "system"]
    if not system:
        return turns
    first = next((i for i, m in enumerate(turns) if m.role == "user"), None)
    if first is None:
        return [Message("user", system), *turns]
    turns[first] = Message("user", f"{system}\n\n{turns[first].content}")
    return turns


@lru_cache(maxsize=32)
def has_system_role(model: ModelInfo) -> bool:
    """Whether the model's format shows a system message. Tried out, because templates raise or drop it silently."""
    if not model.chat_template:
        return format_of(model).has_system
    probe = [Message("system", _MARK), Message("user", "?")]
    try:
        return _MARK in _fill(probe, model, generation=True)
    except ModelError:
        return False


def escape(text: str, model: ModelInfo) -> str:
    """Escape ``text``: nothing in it reads as one of the model's control tokens or as the beginning of a turn."""
    return _markers_of(model).escape(text)


def escaper(model: ModelInfo, chat_format: PromptFormat | None = None) -> Callable[[str], str]:
    """Return what escapes texts for a model and a format. One without stops has no turns, so the model's own counts.

    Raises:
        PluginProblem: the plugin does not use ``chat_format`` after all.
    """
    if chat_format is None or not chat_format.stops:
        return _markers_of(model).escape
    return _markers(model, (*chat_format.stops, *_gaps(chat_format.render(_A_TALK, "")))).escape


@lru_cache(maxsize=32)
def _markers_of(model: ModelInfo) -> escape_markers.Markers:
    try:
        prompt = render(_A_TALK, model)
    except ModelError:
        prompt = render(_A_TALK, replace(model, chat_template=""))
    return _markers(model, _gaps(prompt))


@lru_cache(maxsize=32)
def _markers(model: ModelInfo, gaps: tuple[str, ...]) -> escape_markers.Markers:
    return escape_markers.markers_of([model.bos_token, model.eos_token, *model.control_tokens], gaps)


def _gaps(prompt: str) -> tuple[str, ...]:
    """Return what was written between the contents of ``_A_TALK``."""
    return tuple(re.split(rf"{_MARK}\d", prompt))


# --- families -------------------------------------------------------------------------------------------------------


def _by_family(turns: Sequence[Message], model: ModelInfo) -> str:
    shape = format_of(model)
    patterns = {"system": shape.system, "user": shape.user, "assistant": shape.assistant}
    written = [_write(shape.begin, "", model), *(_write(patterns[m.role], m.content, model) for m in turns)]
    return "".join(written) + shape.start


def _write(pattern: str, content: str, model: ModelInfo) -> str:
    """Insert tokens first and the content last, so braces in the content stay as they are."""
    return pattern.replace("{eos}", model.eos_token).replace("{bos}", model.bos_token).replace("{}", content)


def _seam(model: ModelInfo, partial: str) -> str:
    """Return ``partial`` as the family's format writes it after the start of the assistant's turn."""
    shape = format_of(model)
    lead = shape.assistant.partition("{}")[0].removeprefix(shape.start)
    return lead + partial if partial and not partial[0].isspace() else partial


# --- templates ------------------------------------------------------------------------------------------------------


def _by_template(turns: Sequence[Message], model: ModelInfo, partial: str) -> str:
    if not partial:
        return _opened(turns, model)
    try:
        whole = _fill([*turns, Message("assistant", partial + _MARK)], model, generation=False)
    except ModelError:
        whole = ""
    begun = whole[: whole.rindex(_MARK)] if _MARK in whole else ""
    if begun.endswith(partial):
        return begun
    # The template changes an assistant's words (trims them, drops a part), so add them after the generation prompt.
    return _opened(turns, model) + partial


def _opened(turns: Sequence[Message], model: ModelInfo) -> str:
    """Return the prompt up to where the reply begins.

    Thoughts that the template opens are closed: they are not spoken, and would use up the reply's tokens.
    """
    prompt = _fill(turns, model, generation=True)
    for begun, closed in _THOUGHTLESS.items():
        if prompt.rstrip().endswith(begun):
            return prompt.rstrip() + closed
    return prompt


def _fill(turns: Sequence[Message], model: ModelInfo, *, generation: bool) -> str:
    try:
        return _rendered(tuple(turns), model.chat_template, model.bos_token, model.eos_token, generation)
    except ModelError as error:
        raise ModelError(f"The chat template of {model.name} does not accept this conversation: {error}") from error


@lru_cache(maxsize=8)
def _rendered(turns: tuple[Message, ...], template: str, bos: str, eos: str, generation: bool) -> str:
    """Cached, because the prompt of a reply was measured just before."""
    return SHARED.render(
        template,
        {
            "messages": [{"role": m.role, "content": m.content} for m in turns],
            "tools": None,
            "documents": None,
            "add_generation_prompt": generation,
            "bos_token": bos,
            "eos_token": eos,
            **_UNTHINKING,
        },
    )
