"""Chats as Z-Waif sends them: growing, then a window that slides, with a time, a memory and lore that change each turn.

Every part is written anew; only the marks by which Z-Waif sets its additions apart are its own, and where they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from zwaif_hooks.messages import ChatRequest, Message, Persona, Role

CARD = (
    "{name} is a fox spirit who lives in a lighthouse. She is curious about everything and laughs easily. "
    "She hates cold soup. Her best friend is the one she is talking to. She once sailed to the northern islands alone. "
    "She keeps a garden of herbs behind the tower and talks to the gulls in the morning. She never gives long speeches."
)
TASK = "Help with cooking and tell which herb goes with what."
PLATFORM = "[Platform: Voice Chat - Personal Conversation] "
_SUBJECTS = (
    "the harbour",
    "a bread that would not rise",
    "the old telescope",
    "rain on the glass",
    "a letter from the islands",
    "the neighbour's goat",
    "how far the lamp shines",
    "a song from the market",
)


@dataclass
class Talk:
    """One conversation, its log and what the host adds to it at each turn."""

    subject: str = "the lighthouse"
    limit: int = 30
    """Pairs the host sends at most (``MESSAGE_PAIR_LIMIT``)."""
    rag: bool = False
    """Whether memories are looked up (``MODULE_RAG``, off unless a user wants it)."""
    log: list[tuple[str, str]] = field(default_factory=list)
    persona: Persona = field(default_factory=lambda: Persona("Mia", "Sam", CARD.format(name="Mia"), TASK, "friend"))

    @property
    def turn(self) -> int:
        return len(self.log)

    def words(self) -> str:
        """What the user says now."""
        about = _SUBJECTS[self.turn % len(_SUBJECTS)]
        return f"Number {self.turn} about {self.subject}: what do you think of {about} today?"

    def reply(self) -> str:
        """What she says to it, about 60 tokens long."""
        about = _SUBJECTS[(self.turn + 3) % len(_SUBJECTS)]
        return (
            f"Reply {self.turn} on {self.subject}. It reminds me of {about}, you know. I went down to the water this "
            "morning and thought about it for a long while, and then the kettle was ready and I forgot the rest."
        )

    def time(self) -> str:
        return f"The current time now is 24 November, 2026 at {7 + self.turn // 60 % 12:02d}:{self.turn % 60:02d} PM."

    def memory(self) -> str:
        """Three pairs from long ago, as ``MODULE_RAG`` finds them; another three each turn."""
        if not self.rag:
            return ""
        old = [Talk(f"{self.subject} long ago", log=[("", "")] * (self.turn + number)) for number in range(3)]
        pairs = "".join(f"User: {talk.words()}\nMia: {talk.reply()}\n" for talk in old)
        return f"[System M]; This is from your past memory;\n{pairs}\n \n; This is the end of the memory!;"

    def lore(self) -> str:
        """One entry, found again while its word is in the last three pairs."""
        turn = self.turn // 3
        entry = f"Tower {turn}, it was built {turn} years ago by a keeper who could not swim, and it leans to the west"
        return f"Here is some lore about the current topics;\n\n{entry}.\n\n"

    def summary(self) -> str:
        """A new one every ten turns."""
        old = [Talk(f"{self.subject} last week", log=[("", "")] * (self.turn // 10 + number)) for number in range(3)]
        return f"Summary {self.turn // 10}: " + " ".join(f"I was asked: {talk.words()} {talk.reply()}" for talk in old)

    def answered(self) -> None:
        """The reply is logged."""
        self.log.append((self.words(), self.reply()))

    def grown_to(self, turns: int) -> Talk:
        while self.turn < turns:
            self.answered()
        return self

    @property
    def window(self) -> list[tuple[str, str]]:
        return self.log[-self.limit :]


Shape = Callable[[Talk], ChatRequest]


def oobabooga(talk: Talk) -> ChatRequest:
    """v1.4 to v1.15 (which adds the summary): notes between earlier turns, but only once the log is long enough."""
    messages: list[Message] = []
    for place, pair in enumerate(talk.window):
        messages += _pair(pair)
        from_limit = talk.limit - place
        if from_limit == 3:
            messages.append(Message("user", talk.time()))
        if from_limit == 8:
            messages.append(Message("user", talk.lore()))
        if from_limit == 9:
            messages += [Message("user", talk.memory())] if talk.rag else []
            messages.append(Message("assistant", talk.summary()))
    return _request(talk, messages, persona_in_messages=False)


def ollama(talk: Talk) -> ChatRequest:
    """v1.15: everything in the system message, and a summary even before that."""
    return _request(talk, [Message("assistant", talk.summary()), _system(talk), *_pairs(talk)], "ollama")


def lmstudio(talk: Talk) -> ChatRequest:
    """v1.15; v1.10 to v1.13 with Ollama look the same."""
    return _request(talk, [_system(talk), *_pairs(talk)], "lmstudio")


def r4(talk: Talk) -> ChatRequest:
    """v1.14-R4: ten messages, no notes, a platform's mark before the newest words."""
    pairs = [(PLATFORM + said, reply) for said, reply in talk.log[-5:]]
    system = f"{talk.persona.character_card}\n\nCONTEXT: This is a voice conversation."
    messages = [Message("system", system), *(message for pair in pairs for message in _pair(pair))]
    return _request(talk, messages, before=PLATFORM)


SHAPES: dict[str, Shape] = {
    "v1.15 Oobabooga": oobabooga,
    "v1.15 Ollama": ollama,
    "v1.15 LM Studio": lmstudio,
    "v1.14-R4 Oobabooga": r4,
}


def _system(talk: Talk) -> Message:
    parts = (talk.persona.character_card, talk.persona.task, talk.memory(), talk.lore(), talk.time())
    return Message("system", "".join(f"{part}\n\n" for part in parts if part))


def _pairs(talk: Talk) -> list[Message]:
    return [message for pair in talk.window for message in _pair(pair)]


def _pair(pair: tuple[str, str]) -> list[Message]:
    roles: tuple[Role, Role] = ("user", "assistant")
    return [Message(role, text) for role, text in zip(roles, pair, strict=True)]


def _request(
    talk: Talk, messages: list[Message], backend: str = "oobabooga", persona_in_messages: bool = True, before: str = ""
) -> ChatRequest:
    return ChatRequest(
        backend,  # type: ignore[arg-type]
        (*messages, Message("user", before + talk.words())),
        max_tokens=200,
        persona=talk.persona,
        persona_in_messages=persona_in_messages,
    )
