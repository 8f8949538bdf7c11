"""Whether what was heard is what a listener should hear. No processes here: recordings in, problems out."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

MINECRAFT_TOKENS = 47
"""What Z-Waif asks for, as Minecraft takes lines of 256 characters."""
MINECRAFT_CHARS = 256
_ENDS = re.compile(r"[.!?…。！？~*)\"”'’]\s*$")
_PICTURE = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f\u200d]")


@dataclass(frozen=True)
class Scene:
    """One scene of the test."""

    title: str
    play: str
    """A function of ``child.Host``."""
    text: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of Z-Waif's, for this scene and those after it."""
    server: str = "well"
    """``well``, ``dies`` (while it answers) or ``gone``."""
    spoken: bool = True


@dataclass(frozen=True)
class Heard:
    """A scene and its recording."""

    scene: Scene
    event: dict[str, Any]
    chatpops: frozenset[str]

    @property
    def reply(self) -> str:
        return html.unescape(str(self.event["reply"]))

    @property
    def texts(self) -> list[str]:
        return [said for _, _, said in self.event["heard"]]

    @property
    def sentences(self) -> list[str]:
        """Of the last try: behind the last chatpop."""
        last = max((place for place, text in enumerate(self.texts) if self._is_chatpop(text)), default=-1)
        return self.texts[last + 1 :]

    @property
    def who(self) -> str:
        fallback = self.event["fallback"]
        if not fallback:
            return "server"
        return "both" if self.scene.server == "dies" else "fallback"

    @property
    def first_sound(self) -> float | None:
        return self.event["heard"][0][0] if self.event["heard"] else None

    @property
    def first_sentence(self) -> float | None:
        """Seconds from the message; not counted is the time that chatpops before it were being spoken."""
        for begin, _, text in self.event["heard"]:
            if not self._is_chatpop(text):
                return float(begin)
        return None

    @property
    def longest_silence(self) -> float | None:
        """Seconds between the end of one text and the beginning of the next."""
        times = self.event["heard"]
        gaps = [begin - end for (_, end, _), (begin, _, _) in pairwise(times)]
        return max(gaps, default=None)

    def _is_chatpop(self, text: str) -> bool:
        return text.strip() in self.chatpops

    def problems(self) -> list[str]:
        """In words; empty where all is as it should be."""
        found = [f"ended by {self.event['error']}"] if self.event["error"] else []
        expected = {"well": "server", "dies": "both", "gone": "fallback"}[self.scene.server]
        checks = {
            f"answered by {self.who}": self.who == expected,
            "no reply": len(self.reply.strip()) >= 3,
            "ends in the middle of a sentence": bool(_ENDS.search(self.reply)),
            "Z-Waif is left waiting": not self.event["stuck"],
            f"Z-Waif asked {self.event['asked_again'] + 1} times": not self.event["asked_again"],
            **self._of_the_voice(),
            **self._of_the_place(),
        }
        return [*found, *(problem for problem, holds in checks.items() if not holds)]

    def _of_the_voice(self) -> dict[str, bool]:
        if not self.scene.spoken:
            return {"spoken aloud": not self.texts}
        streamed = bool(self.scene.settings.get("stream_chats", True))
        pops = [text for text in self.texts if self._is_chatpop(text)]
        tries = 2 if self.scene.play == "skip" else 1
        return {
            f"{len(pops)} chatpops": len(pops) == (tries if streamed else 0),
            "the chatpop is not the first sound": not streamed or self._is_chatpop(self.texts[0] if self.texts else ""),
            "what was spoken is not the reply": _plain(" ".join(self.sentences)) == _plain(self.reply),
        }

    def _of_the_place(self) -> dict[str, bool]:
        settings = self.scene.settings
        checks = {}
        if settings.get("newline_cut"):
            checks["a line break in spite of the newline cut"] = "\n" not in self.reply
        if settings.get("supress_rp"):
            checks["speaks for somebody else"] = re.search(r"^\s*[\w ]{1,20}:", self.reply, re.MULTILINE) is None
        if self.scene.play == "minecraft":
            checks["not what went into the game"] = self.event["sent_to_game"] == [self.event["reply"]]
            checks["too long for Minecraft"] = len(self.reply) <= MINECRAFT_CHARS
        return checks


def _plain(text: str) -> str:
    """As a voice says it; Z-Waif speaks the second mark of ``!!`` as a sentence of its own, so spaces do not count."""
    return "".join(_PICTURE.sub("", text).split())


def table(heard: Sequence[Heard]) -> list[str]:
    """Markdown."""
    lines = [
        "| Scene | server | answered by | first sound | first sentence | longest silence | sentences | heard right |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in heard:
        times = [f"{value:.2f} s" if value is not None else "-" for value in _times(one)]
        wrong = "; ".join(one.problems())
        row = [one.scene.title, one.scene.server, one.who, *times, str(len(one.sentences)), wrong or "yes"]
        lines.append(f"| {' | '.join(row)} |")
    return lines


def _times(one: Heard) -> tuple[float | None, float | None, float | None]:
    return one.first_sound, one.first_sentence, one.longest_silence


def chat(heard: Sequence[Heard], user: str, char: str) -> list[str]:
    """The conversation as people read it, Markdown; who answered is in italics."""
    lines: list[str] = []
    for one in heard:
        said = one.scene.text or {"reroll": "(reroll)", "summary": "(asks for a summary)"}[one.scene.play]
        who = {"server": "the server", "both": "the server, then the fallback", "fallback": "the fallback"}[one.who]
        reply = one.reply.strip().replace("\n", "  \n> ")
        lines += [f"**{user}:** {said}", "", f"> **{char}:** {reply}", ">", f"> *{one.scene.title}: {who}*", ""]
    return lines
