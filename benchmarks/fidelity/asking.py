"""How Z-Waif v1.15 asks, on both of its usual servers; its numbers as shipped."""

from __future__ import annotations

from benchmarks.fidelity.cards import Card
from zwaif_hooks.messages import ChatRequest, Message, Persona, Sampling

MAX_TOKENS = 300
STOPS = ("[System", "\nUser:", "---", "<|", "###")
OOBABOOGA = (
    Sampling(temperature=1.17, min_p=0.03, top_k=72, repetition_penalty=1.1, repetition_range=1920),
    Sampling(
        temperature=1.21,
        min_p=0.03,
        top_k=74,
        repetition_penalty=1.12,
        repetition_range=1920,
        frequency_penalty=0.05,
        presence_penalty=0.05,
    ),
)
"""The presets Standard and Tempered, of which Z-Waif takes one by chance: the first three times of four."""
OLLAMA = Sampling(
    temperature=1.05,
    min_p=0.047,
    top_p=0.89,
    top_k=72,
    repetition_penalty=1.079,
    repetition_range=3096,
    frequency_penalty=0.03,
    presence_penalty=0.03,
)
"""The options of an ordinary message."""
TIME = "The current time now is 24 November, 2026 at 07:42 PM."


def request(card: Card, question: str, seed: int, backend: str) -> ChatRequest:
    """One question as it reaches a plugin; with Oobabooga the server adds the character, with Ollama it is sent."""
    messages = [turn for said, reply in card.talk for turn in (Message("user", said), Message("assistant", reply))]
    if backend == "ollama":
        messages.insert(0, Message("system", f"{card.text}\n\n{TIME}\n\n"))
    numbers = OLLAMA if backend == "ollama" else OOBABOOGA[seed % 4 == 3]
    return ChatRequest(
        backend,  # type: ignore[arg-type]
        (*messages, Message("user", question)),
        max_tokens=MAX_TOKENS,
        stop=STOPS,
        sampling=Sampling(**{**vars(numbers), "seed": seed}),
        stream=True,
        persona=Persona(card.name, card.user, card.text),
        persona_in_messages=backend == "ollama",
        recent_replies=tuple(reply for _, reply in card.talk),
    )
