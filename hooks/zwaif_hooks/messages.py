"""What crosses a hook: plain, typed data, nothing of Z-Waif's and nothing of a model's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

Role = Literal["system", "user", "assistant"]
Backend = Literal["oobabooga", "ollama", "lmstudio"]

DEFAULT_MAX_TOKENS = 300
"""Tokens of a reply for which Z-Waif named no limit."""


class Purpose(str, Enum):
    """Why Z-Waif asked."""

    CHAT = "chat"
    SUMMARY = "summary"
    IMAGE = "image"


class FailureKind(str, Enum):
    """How the primary failed, as seen by the guard that asked it."""

    REFUSED = "refused"
    """Nothing listens there, or the name does not resolve."""
    CONNECT_TIMEOUT = "connect timeout"
    """The address did not accept within ``API_FALLBACK_CONNECT_TIMEOUT`` seconds."""
    FIRST_TOKEN_TIMEOUT = "first token timeout"
    """Connected, but no text within ``API_FALLBACK_FIRST_TOKEN_TIMEOUT`` seconds."""
    STALLED = "stalled"
    """Text came, then none for ``API_FALLBACK_STALL_TIMEOUT`` seconds."""
    CUT = "cut"
    """The connection broke, or the stream ended without saying it was finished."""
    HTTP_ERROR = "http error"
    """A 4xx or 5xx answer; ``status`` holds the number."""
    RATE_LIMITED = "rate limited"
    """A 429 answer; ``retry_after`` holds the seconds it asked for, where it did."""
    MISCONFIGURED = "misconfigured"
    """401, 403, 404 or an unknown model: waiting will not mend it, the user can."""
    NO_MODEL = "no model"
    """The server runs, but has no model loaded: the user can load one."""
    ERROR_BODY = "error body"
    """An error object inside a 200 answer or inside the stream."""
    UNREADABLE = "unreadable"
    """HTML, broken JSON, anything that is not a chat reply."""
    EMPTY = "empty"
    """A well-formed reply with no text in it."""
    OPEN = "circuit open"
    """Not asked at all: it failed a moment ago and has not recovered yet."""
    UNKNOWN = "unknown"
    """Anything else; ``cause`` has the exception."""


@dataclass(frozen=True)
class Message:
    """One turn of the conversation, as Z-Waif sent it (roles need not alternate, content may be empty)."""

    role: Role
    content: str


@dataclass(frozen=True)
class Sampling:
    """How to pick tokens. ``None`` means: Z-Waif did not say, use the engine's default."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    """Multiplicative, 1.0 is off (Oobabooga ``repetition_penalty``, Ollama ``repeat_penalty``)."""
    repetition_range: int | None = None
    """How many of the last tokens the penalty looks at; -1 or 0 means all of them."""
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Persona:
    """Who the companion is, gathered from Z-Waif's files and live state at the time of the request.

    Every field may be empty: old releases have no local character card, most have no relationships.
    """

    char_name: str = ""
    user_name: str = ""
    character_card: str = ""
    task: str = ""
    relationship: str = ""
    """For example ``close_friend`` (v1.14 releases only)."""
    platform: str = ""
    """Where the user writes from, for example ``Discord`` (v1.14 releases mark it in the message)."""
    local_time: str = ""
    """``YYYY-mm-dd HH:MM``, empty when the user told Z-Waif not to share it."""


@dataclass(frozen=True)
class Picture:
    """A picture as Z-Waif sent it, not looked at yet: one of the two is given."""

    base64: str = ""
    """The file's bytes in base64, whatever kind of picture file it is (Z-Waif says JPEG and sends PNG)."""
    path: str = ""
    """Where the file lies. Z-Waif writes its next picture to the same place."""


@dataclass(frozen=True)
class ChatRequest:
    """One question of Z-Waif's to its LLM server, whatever client library carried it."""

    backend: Backend
    messages: tuple[Message, ...]
    max_tokens: int = DEFAULT_MAX_TOKENS
    stop: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    stream: bool = False
    has_image: bool = False
    """A picture was attached. It has been taken out of ``messages``."""
    picture: Picture | None = field(default=None, repr=False)
    """That picture, where it came with the newest message and can be had."""
    purpose: Purpose = Purpose.CHAT
    model: str = ""
    """The model name the primary was asked for, where one was given."""
    primary: str = ""
    """``host:port`` of the primary, so that nobody falls back to the server that just failed."""
    persona: Persona = field(default_factory=Persona)
    persona_in_messages: bool = True
    """False for Oobabooga: that server adds the character itself, so ``messages`` carry none."""
    recent_replies: tuple[str, ...] = ()
    """Replies Z-Waif would reject as repeats (newest last); an answer equal to one makes it ask again."""


@dataclass(frozen=True)
class PrimaryFailure:
    """How the primary failed this request, and how far it got."""

    kind: FailureKind
    cause: str
    """One line for the log, for example ``connection refused by 127.0.0.1:5000``; the user reads ``words``."""
    delivered: str = ""
    """Text of this reply that Z-Waif already has and may have spoken: go on from its last character. Thoughts before it
    (``<think>``), which Z-Waif has as well, are no part of it; one that was cut is ended for you."""
    status: int | None = None
    retry_after: float | None = None
    """Seconds."""
    exception: BaseException | None = field(default=None, compare=False)
    elapsed: float = 0.0
    """Seconds between the question and the detection of the failure."""
    said: str = ""
    """The server's own words about it, where it gave some."""


@dataclass(frozen=True)
class ModelInfo:
    """The local model a prompt is being written for."""

    name: str
    """As the user chose it: a hub id or a path."""
    family: str = ""
    """``tinyllama``, ``phi``, ``mistral``, ``neural-chat`` or empty when unknown."""
    context_window: int = 2048
    """Tokens, prompt and reply together."""
    chat_template: str = ""
    """The tokenizer's own Jinja template, empty where it has none."""
    bos_token: str = ""
    eos_token: str = ""
    control_tokens: tuple[str, ...] = ()
    """Texts that the tokenizer reads as one token with a meaning of its own. They never stand in a message's content:
    there a zero-width space is put into them."""


@dataclass
class Answer:
    """A plugin's answer to ``on_primary_failure``, where it wants to say more than the text."""

    pieces: Iterable[str]
    """The reply, piece by piece as it is made; iterated in the thread in which the hook was called."""
    answered_by: str = ""
    """Who speaks, for example a model's name; may still change while ``pieces`` is being iterated."""
    tokens: int | None = None
    """How many tokens were made for it, where the speaker counts; may still grow while ``pieces`` is being iterated."""
    exact: bool = False
    """True where the speaker was given ``failure.delivered`` as the beginning of its own turn and goes on from its last
    character; otherwise what it says again is looked for and taken out."""
    keeps_time: bool = False
    """True where the pieces end, or raise, by themselves when they take too long: loading a model may take minutes. All
    other answers are given up after ``API_FALLBACK_FIRST_TOKEN_TIMEOUT`` seconds without a first text, and
    ``API_FALLBACK_STALL_TIMEOUT`` without more."""


@dataclass(frozen=True)
class AnswerRecord:
    """Who answered one request; handed to ``fallback_answered`` when the reply is complete."""

    request: ChatRequest
    failure: PrimaryFailure
    plugin: str
    """Name of the plugin that answered."""
    answered_by: str
    """What answered inside the plugin, for example the model's name."""
    text: str
    """The text the plugin added (without what the primary had delivered)."""
    first_text_after: float
    """Seconds from the detection of the failure to the first text."""
    finished_after: float
    """Seconds from the detection of the failure to the end."""
    tokens: int | None = None
    """How many tokens were made for it; None where the plugin does not count."""
