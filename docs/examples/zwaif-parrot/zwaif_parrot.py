"""A parrot that answers while the LLM server is down, but only when it is called by its name."""

from __future__ import annotations

from collections.abc import Iterator

from zwaif_hooks import AnswerRecord, ChatRequest, Host, PrimaryFailure, Purpose, Setting, hookimpl, log

NAME = Setting("PARROT_NAME", "Polly", "The name the parrot answers to.")


class Parrot:
    """The name the hooks share: the default until Z-Waif's settings are known."""

    def __init__(self) -> None:
        self._host: Host | None = None

    def meet(self, host: Host) -> None:
        self._host = host

    @property
    def name(self) -> str:
        return str(self._host.settings.get(NAME.name) if self._host else NAME.default)


parrot = Parrot()


@hookimpl
def register_settings() -> Setting:
    return NAME


@hookimpl
def zwaif_started(host: Host) -> None:
    parrot.meet(host)
    log.say(f"{parrot.name} the parrot is awake")


@hookimpl
def on_primary_failure(request: ChatRequest, failure: PrimaryFailure) -> Iterator[str] | None:
    """The first plugin with an answer wins; None leaves the message to the next one."""
    said = request.messages[-1].content if request.messages else ""
    if request.purpose is not Purpose.CHAT or failure.delivered or not said.startswith(parrot.name):
        return None
    return repeat(said.removeprefix(parrot.name).strip(" ,:!"))


def repeat(words: str) -> Iterator[str]:
    """In pieces: Z-Waif speaks each sentence as soon as it is complete."""
    yield "Squawk! "
    yield f"{words or 'Cracker'}! " * 2


@hookimpl
def fallback_answered(record: AnswerRecord) -> None:
    if record.plugin == "parrot":
        log.say(f"{parrot.name} spoke {len(record.text.split())} words")
