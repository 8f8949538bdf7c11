"""The data passed to and from hooks: plain and typed, independent of Z-Waif and of any model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
    """Nothing listens at the address, or the name does not resolve."""
    CONNECT_TIMEOUT = "connect timeout"
    """The server did not accept the connection within ``API_FALLBACK_CONNECT_TIMEOUT`` seconds."""
    FIRST_TOKEN_TIMEOUT = "first token timeout"
    """Connected, but no text within ``API_FALLBACK_FIRST_TOKEN_TIMEOUT`` seconds."""
    STALLED = "stalled"
    """Text came, then none for ``API_FALLBACK_STALL_TIMEOUT`` seconds."""
    CUT = "cut"
    """The connection broke, or the stream ended without saying it was finished."""
    HTTP_ERROR = "http error"
    """A 4xx or 5xx answer; ``status`` has the number."""
    RATE_LIMITED = "rate limited"
    """A 429 answer; ``retry_after`` has the seconds it asked for, if any."""
    MISCONFIGURED = "misconfigured"
    """401, 403, 404 or an unknown model: it does not pass by itself, but the user can fix it."""
    NO_MODEL = "no model"
    """The server is up but has no model loaded: the user can load one."""
    ERROR_BODY = "error body"
    """An error object inside a 200 answer or inside the stream."""
    UNREADABLE = "unreadable"
    """HTML, broken JSON, or anything else that is not a chat reply."""
    EMPTY = "empty"
    """A well-formed reply with no text in it."""
    OPEN = "circuit open"
    """Not asked, because it failed a moment ago and has not recovered yet."""
    UNKNOWN = "unknown"
    """Anything else; ``cause`` has the exception."""


@dataclass(frozen=True)
class Message:
    """One message of the conversation, as Z-Waif sent it (roles need not alternate, content may be empty)."""

    role: Role
    content: str


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters. ``None`` means that Z-Waif sent none: use the engine's default."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    """Multiplicative, 1.0 is off (Oobabooga ``repetition_penalty``, Ollama ``repeat_penalty``)."""
    repetition_range: int | None = None
    """How many of the last tokens the penalty considers; -1 or 0 means all of them."""
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Persona:
    """Who the companion is, read from Z-Waif's files and live state at the time of the request.

    Any field may be empty: old releases have no local character card, most have no relationships.
    """

    char_name: str = ""
    user_name: str = ""
    character_card: str = ""
    task: str = ""
    relationship: str = ""
    """For example ``close_friend`` (v1.14 releases only)."""
    platform: str = ""
    """Where the user is writing, for example ``Discord`` (v1.14 releases mark it in the message)."""
    local_time: str = ""
    """``YYYY-mm-dd HH:MM``; empty if the user told Z-Waif not to share it."""


@dataclass(frozen=True)
class Picture:
    """A picture as Z-Waif sent it, not decoded yet. One of the two fields is set."""

    base64: str = ""
    """The file's bytes in base64, in any format (Z-Waif says JPEG and sends PNG)."""
    path: str = ""
    """Path of the file. Z-Waif writes its next picture to the same path."""


@dataclass(frozen=True)
class ChatRequest:
    """One request of Z-Waif to its LLM server, whatever client library sent it."""

    backend: Backend
    messages: tuple[Message, ...]
    max_tokens: int = DEFAULT_MAX_TOKENS
    stop: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    stream: bool = False
    has_image: bool = False
    """A picture was attached. It has been removed from ``messages``."""
    picture: Picture | None = field(default=None, repr=False)
    """That picture, if it came with the newest message and is available."""
    purpose: Purpose = Purpose.CHAT
    model: str = ""
    """The model that the primary was asked for, if any."""
    primary: str = ""
    """``host:port`` of the primary; do not fall back to the server that just failed."""
    persona: Persona = field(default_factory=Persona)
    persona_in_messages: bool = True
    """False for Oobabooga: that server adds the character itself, so it is not in ``messages``."""
    recent_replies: tuple[str, ...] = ()
    """Replies that Z-Waif would reject as repeats (newest last); an answer equal to one makes it ask again."""


@dataclass(frozen=True)
class PrimaryFailure:
    """How the primary failed this request, and how far it got."""

    kind: FailureKind
    cause: str
    """One line for the log, for example ``connection refused by 127.0.0.1:5000``."""
    delivered: str = ""
    """Text of this reply that Z-Waif already has and may have spoken: continue after its last character. Thoughts
    before it (``<think>``), which Z-Waif has as well, are not included; one that was cut is ended for you."""
    status: int | None = None
    retry_after: float | None = None
    """Seconds."""
    exception: BaseException | None = field(default=None, compare=False)
    elapsed: float = 0.0
    """Seconds between the request and the detection of the failure."""
    said: str = ""
    """The server's own error message, if any."""


@dataclass(frozen=True)
class ModelInfo:
    """The local model for which a prompt is written."""

    name: str
    """The model as the user chose it: a hub id or a path."""
    family: str = ""
    """The chat format that it was trained on, by its name, tokens or template: ``chatml``, ``gemma``, ``llama-3``,
    ``mistral``, ``neural-chat``, ``phi`` (version 2), ``tinyllama``; empty for any other."""
    context_window: int = 2048
    """Tokens, prompt and reply together."""
    chat_template: str = ""
    """The tokenizer's own Jinja template; empty if it has none."""
    bos_token: str = ""
    eos_token: str = ""
    control_tokens: tuple[str, ...] = ()
    """Texts that the tokenizer reads as one token with a special meaning. They never occur in a message's content,
    where a zero-width space is inserted into them."""
    architecture: str = ""
    """The kind of network in the model's files, for example ``llama``, ``qwen2`` or ``gemma3``."""
    engine: str = ""
    """``transformers``, ``gguf``, or the name of a plugin's engine."""
    path: str = ""
    """The model's folder or file on this computer."""


@dataclass(frozen=True)
class PromptFormat:
    """How the prompts of a model are written, and where its replies end."""

    render: Callable[[Sequence[Message], str], str]
    """Called with messages (system first, if any, then user and assistant in turn, ending with user) and the beginning
    of the assistant's turn, often empty. Returns the whole prompt, which ends with that beginning. Called several times
    for one reply: the conversation is shortened until the prompt fits."""
    stops: tuple[str, ...] = ()
    """Texts that end a reply, such as those that open the user's turn. They are not spoken."""


@dataclass
class Answer:
    """A plugin's answer to ``on_primary_failure``, for plugins that return more than text."""

    pieces: Iterable[str]
    """The reply in pieces, as they are made; iterated in the thread that called the hook."""
    answered_by: str = ""
    """Who answers, for example a model's name; may change while ``pieces`` is iterated."""
    tokens: int | None = None
    """Number of tokens generated, if known; may grow while ``pieces`` is iterated."""
    exact: bool = False
    """True if the model was given ``failure.delivered`` as the start of its own turn and continues after its last
    character. Otherwise repetitions are detected and removed."""
    keeps_time: bool = False
    """True if the pieces end or raise by themselves when they take too long, because loading a model may take minutes.
    Other answers are given up after ``API_FALLBACK_FIRST_TOKEN_TIMEOUT`` seconds without a first text, and
    ``API_FALLBACK_STALL_TIMEOUT`` seconds without further text."""


@dataclass(frozen=True)
class AnswerRecord:
    """Who answered one request; passed to ``fallback_answered`` when the reply is complete."""

    request: ChatRequest
    failure: PrimaryFailure
    plugin: str
    """Name of the plugin that answered."""
    answered_by: str
    """Who answered inside the plugin, for example the model's name."""
    text: str
    """The plugin's text (without what the primary had delivered)."""
    first_text_after: float
    """Seconds from the detection of the failure to the first text."""
    finished_after: float
    """Seconds from the detection of the failure to the end."""
    tokens: int | None = None
    """Number of tokens generated; None if the plugin does not count."""


class PluginProblem(Exception):
    """Raised by a hook that cannot do its work now, for a reason of which the user should hear.

    The console shows ``problem`` with the plugin's name, in one line and without a traceback, and the hook is not
    called for ``retry_after`` seconds.
    """

    def __init__(self, problem: str, retry_after: float | None = None) -> None:
        """``problem``: one plain sentence. ``retry_after``: seconds; 0: no pause; None: as after any other failure."""
        super().__init__(problem)
        self.retry_after = retry_after
