"""Loading, switching, telling: the service with a scripted local model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zwaif_fallback.answering import better_model
from zwaif_fallback.answering.early_loader import nobody_else
from zwaif_fallback.answering.model_loader import TRY_AGAIN_SECONDS
from zwaif_fallback.answering.service import Collaborators, FallbackService
from zwaif_fallback.downloads.transfer import Progress, Report
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel, LoadOptions
from zwaif_fallback.errors import FallbackError, LocalModelClosed, ModelError, ModelNotFound, ModelTooBig
from zwaif_fallback.local import preload_policy
from zwaif_fallback.models import catalogue
from zwaif_fallback.settings import SETTINGS
from zwaif_hooks import log
from zwaif_hooks.host.settings_store import SettingsStore
from zwaif_hooks.messages import ChatRequest, FailureKind, Message, ModelInfo, PrimaryFailure

HELLO = ChatRequest("oobabooga", (Message("user", "Hello"),), primary="127.0.0.1:5000")
DOWN = PrimaryFailure(FailureKind.REFUSED, "connection refused")


def quiet(line: str) -> None:
    """Progress that nobody wants."""


class Local:
    """Loads what it is told to; ``problems`` says which models cannot be, ``gate`` keeps loads waiting."""

    def __init__(self) -> None:
        self.loaded: LoadedModel | None = None
        self.loads: list[LoadOptions] = []
        self.problems: dict[str, Exception] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.closed = False
        self.names_whole_path = False
        """As the real engines do; the last part alone is easier to read in a test."""
        self.read: list[str] = []
        self.has_read = threading.Event()

    def load(self, options: LoadOptions, progress: Callable[[str], None] = quiet) -> LoadedModel:
        self.loads.append(options)
        progress(f"Reading {Path(options.model).name}")
        self.begun.set()
        assert self.gate.wait(20)
        if problem := next((p for name, p in self.problems.items() if options.model.endswith(name)), None):
            raise problem
        name = options.model if self.names_whole_path else Path(options.model).name
        self.loaded = LoadedModel(ModelInfo(name), "scripted", notes=("4-bit was not possible.",))
        return self.loaded

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]:
        assert self.loaded
        return iter([f"{self.loaded.info.name} ", "speaks."])

    def read_ahead(self, prompt: str) -> GenerationStats:
        self.read.append(prompt)
        self.has_read.set()
        return GenerationStats()

    def try_again(self) -> None:
        """No model of these hangs."""

    def unload(self) -> None:
        self.loaded = None

    def close(self) -> None:
        self.closed = True


class Server:
    def __init__(self, address: str, model: str) -> None:
        self.name = address

    def stream(self, messages: Sequence[Message], **options: object) -> Iterator[str]:
        return iter([f"{self.name} speaks."])


class Desk:
    """A service in a folder with two models, its clock and what it said."""

    def __init__(
        self,
        tree: Path,
        monkeypatch: pytest.MonkeyPatch,
        captioner: Any = None,
        second_server: Any = Server,
        others_answer: Any = nobody_else,
        **values: object,
    ) -> None:
        for name in ("one", "two"):
            (tree / "models" / name).mkdir(parents=True)
            for file in ("config.json", "model.safetensors"):
                (tree / "models" / name / file).write_text("{}", encoding="utf-8")
        monkeypatch.setenv("HF_HUB_CACHE", str(tree / "no cache"))
        lines = {"API_FALLBACK_MODEL": "one"} | values
        (tree / ".env").write_text("".join(f"{name} = {value}\n" for name, value in lines.items()), encoding="utf-8")
        self.settings = SettingsStore(SETTINGS, env_path=tree / ".env", environ={})
        self.local, self.said, self.time = Local(), list[str](), 0.0
        self.service = FallbackService(
            Collaborators(
                self.settings,
                self.local,
                second_server,
                self.said.append,
                others_answer=others_answer,
                captioner=captioner,
                tree=tree,
                fetch=self.fetch,
                now=lambda: self.time,
            )
        )
        self.tree, self.fetched = tree, list[str]()
        self.settings.subscribe(self.service.setting_changed)

    def fetch(self, name: str, say: Callable[[str], None], report: Report, stop: object) -> None:
        """A download that succeeds at once."""
        self.fetched.append(name)
        report(Progress("model.safetensors", 5, 10, 1.0))
        place = self.tree / "models" / name.partition("/")[2]
        place.mkdir()
        for file in ("config.json", "model.safetensors"):
            (place / file).write_text("{}", encoding="utf-8")

    def reply(self, request: ChatRequest = HELLO) -> str:
        return "".join(self.service.answer(request, DOWN).pieces)

    def settle(self) -> None:
        assert self.service.loader.wait(20)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    made = Desk(tmp_path, monkeypatch)
    yield made
    made.local.gate.set()
    made.settle()


def test_the_first_reply_loads_the_model_and_the_second_does_not(desk: Desk) -> None:
    assert desk.reply() == "one speaks." == desk.reply()
    assert [Path(o.model).name for o in desk.local.loads] == ["one"]
    assert any(line.startswith("Fallback ready: one") for line in desk.said)
    loaded = desk.service.controls.loaded()
    assert loaded is not None and loaded.info.name == "one"
    assert desk.service.controls.local_news() == ["4-bit was not possible."], "no progress is left standing"


def test_several_threads_load_once(desk: Desk) -> None:
    desk.local.gate.clear()
    replies: list[str] = []
    threads = [threading.Thread(target=lambda: replies.append(desk.reply())) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert desk.local.begun.wait(20)
    desk.local.gate.set()
    for thread in threads:
        thread.join(20)
    assert replies == ["one speaks."] * 4 and len(desk.local.loads) == 1


def test_a_change_of_the_setting_switches_in_the_background(desk: Desk) -> None:
    desk.reply()
    desk.local.gate.clear()
    desk.settings.set("API_FALLBACK_MODEL", "two")
    assert desk.service.controls.is_loading()
    assert desk.reply() == "one speaks.", "the old model serves meanwhile"
    assert any("Reading two" in line or "Loading" in line for line in desk.service.controls.local_news())
    desk.local.gate.set()
    desk.settle()
    assert desk.reply() == "two speaks."
    assert len(desk.local.loads) == 2


def test_a_failed_switch_leaves_the_old_model_serving_and_says_so(desk: Desk) -> None:
    desk.reply()
    desk.local.problems["two"] = ModelTooBig("two needs 9 GB, 2 GB are free.")
    desk.settings.set("API_FALLBACK_MODEL", "two")
    desk.settle()
    assert desk.reply() == "one speaks."
    assert len(desk.local.loads) == 2, "not tried again for every reply"
    assert "Fallback not loaded: two needs 9 GB, 2 GB are free. one stays loaded." in desk.said
    assert any("two needs 9 GB" in line for line in desk.service.controls.local_news())


def test_a_model_that_failed_is_tried_again_after_a_while(desk: Desk) -> None:
    desk.local.problems["one"] = ModelError("no memory")
    assert "one speaks." != desk.reply() != desk.reply()
    assert len(desk.local.loads) == 1
    desk.local.problems.clear()
    desk.time += TRY_AGAIN_SECONDS
    assert desk.reply() == "one speaks."


def test_a_load_that_fails_while_a_reply_waits_for_it_is_told_once_an_outage(desk: Desk) -> None:
    desk.local.problems["one"] = ModelError("no memory")
    for outage in (1, 2):
        desk.local.gate.clear()
        desk.service.preload()
        reply = threading.Thread(target=desk.reply)
        reply.start()
        desk.local.gate.set()
        reply.join(20)
        desk.settle()
        desk.service.preload()
        desk.settle()
        desk.reply()
        assert sum("no memory" in line for line in desk.said) == outage, desk.said
        desk.service.outage_over()
        desk.time += TRY_AGAIN_SECONDS


def test_nothing_is_said_or_loaded_after_the_end(desk: Desk) -> None:
    desk.local.gate.clear()
    desk.local.problems["one"] = LocalModelClosed()
    desk.service.loader.begin(None)
    assert desk.local.begun.wait(20)
    said = list(desk.said)
    desk.service.close()
    desk.local.gate.set()
    desk.settle()
    desk.service.loader.forget_failures()
    desk.reply()
    assert (desk.said, len(desk.local.loads)) == (said, 1)


def test_a_change_while_nothing_is_loaded_loads_nothing(desk: Desk) -> None:
    desk.settings.set("API_FALLBACK_MODEL", "two")
    desk.settings.set("API_FALLBACK_HOST", "10.0.0.1:5000")
    desk.settle()
    assert desk.local.loads == []


def test_load_model_may_download(desk: Desk) -> None:
    desk.service.controls.load_model("someone/tiny", allow_download=True)
    desk.settle()
    assert desk.fetched == ["someone/tiny"]
    assert [Path(o.model).name for o in desk.local.loads] == ["tiny"]
    desk.settings.set("API_FALLBACK_MODEL", "someone/tiny")
    assert desk.reply() == "tiny speaks." and len(desk.local.loads) == 1
    assert desk.service.controls.local_news()[0] == "4-bit was not possible."


def test_load_model_with_nonsense_is_refused_at_once(desk: Desk) -> None:
    with pytest.raises(ModelNotFound, match="There is no model called"):
        desk.service.controls.load_model("no such thing", allow_download=True)
    assert not desk.service.controls.is_loading()


def test_an_unexpected_error_while_loading_is_said(desk: Desk) -> None:
    desk.local.problems["one"] = ZeroDivisionError("oops")
    desk.service.controls.load_model("one", allow_download=False)
    desk.settle()
    (line,) = (line for line in desk.said if "could not be loaded" in line)
    assert "oops" not in line and str(log.log_path()) in line
    assert "ZeroDivisionError: oops" in log.log_path().read_text(encoding="utf-8")


@pytest.mark.parametrize("host", ["http://localhost:5000", "", "  "])
def test_the_primary_itself_is_no_fallback_host(host: str, desk: Desk) -> None:
    desk.settings.set("API_FALLBACK_HOST", host)
    assert desk.reply() == "one speaks."


def test_the_fallback_host_goes_first(desk: Desk) -> None:
    desk.settings.set("API_FALLBACK_HOST", "10.0.0.1:5000")
    assert desk.reply() == "10.0.0.1:5000 speaks."
    assert desk.local.loads == []


@pytest.mark.parametrize(
    ("values", "said", "loads"),
    [
        ({}, "Fallback ready: ", 0),
        ({"API_FALLBACK_PRELOAD": "start"}, "Fallback ready: one", 1),
        ({"API_FALLBACK_MODEL": "???"}, "Fallback not ready: API_FALLBACK_MODEL is '???'", 0),
        ({"API_FALLBACK_MODEL": "someone/tiny"}, "Fallback not ready: someone/tiny is not on this computer yet", 0),
        ({"API_FALLBACK_MODEL": "someone/tiny", "API_FALLBACK_DOWNLOAD": "ON"}, "Fallback ready: tiny", 1),
        (
            {"API_FALLBACK_MODEL": "models/old-r4.gguf"},
            "API_FALLBACK_MODEL is 'models/old-r4.gguf'. There is no model at ",
            0,
        ),
    ],
)
def test_at_start(
    values: dict[str, str], said: str, loads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path, monkeypatch, **values)
    desk.service.prepare()
    desk.settle()
    assert any(said in line for line in desk.said), desk.said
    assert len(desk.local.loads) == loads


def test_a_path_left_by_an_older_release_gives_way_to_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path, monkeypatch, API_FALLBACK_MODEL="models/old-r4.gguf")
    monkeypatch.setattr(
        "zwaif_fallback.choosing.resolve_name.is_on_this_machine", lambda model: model == catalogue.DEFAULT
    )
    assert desk.reply() == "TinyLlama-1.1B-Chat-v1.0 speaks."


@pytest.mark.parametrize(("policy", "loads"), [("auto", 1), ("never", 0)])
def test_an_outage_loads_ahead(policy: str, loads: int, desk: Desk) -> None:
    desk.settings.set("API_FALLBACK_PRELOAD", policy)
    for _ in range(2):
        desk.service.preload()
        desk.settle()
    assert len(desk.local.loads) == loads


def test_nothing_is_loaded_ahead_for_a_plugin_that_will_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it does not answer after all, the model is loaded then."""
    desk = Desk(tmp_path, monkeypatch, others_answer=lambda request, failure: True, API_FALLBACK_PRELOAD="warm")
    desk.service.preload(DOWN)
    desk.service.primary_late("127.0.0.1:5000", lambda: HELLO, "")
    desk.service.early.wait(20)
    desk.service.primary_answered(lambda: HELLO, "Hi.")
    desk.settle()
    assert desk.local.loads == []
    assert desk.service._standby._target() is None
    assert desk.reply() == "one speaks." and len(desk.local.loads) == 1


def test_the_test_button_gets_a_real_reply(desk: Desk) -> None:
    answer = desk.service.controls.test_reply("Hi?")
    assert "".join(answer.pieces) == "one speaks." and answer.answered_by == "one"


def test_the_test_button_does_not_pass_on_last_words(desk: Desk) -> None:
    desk.local.problems["one"] = ModelTooBig("one needs 9 GB.")
    with pytest.raises(FallbackError, match="one needs 9 GB"):
        list(desk.service.controls.test_reply("Hi?").pieces)


def test_a_folder_without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path, monkeypatch)
    (tmp_path / "models" / "one" / "model.safetensors").unlink()
    assert desk.reply()
    assert any("no complete weights" in line for line in desk.said) and desk.local.loads == []


def test_without_a_model_there_is_nothing_to_tell(desk: Desk) -> None:
    assert (desk.service.controls.loaded(), desk.service.controls.local_news()) == (None, [])


def test_unloading_gives_the_memory_back_and_the_next_reply_loads_again(desk: Desk) -> None:
    assert desk.service.controls.unload() == "No local model is loaded."
    desk.reply()
    assert desk.service.controls.unload().startswith("Unloaded: ")
    assert desk.service.controls.loaded() is None
    assert desk.reply() == "one speaks." and len(desk.local.loads) == 2


def test_a_load_that_is_under_way_is_not_unloaded(desk: Desk) -> None:
    desk.local.gate.clear()
    desk.service.controls.load_model("one", allow_download=False)
    assert desk.local.begun.wait(20)
    assert "being loaded" in desk.service.controls.unload()
    desk.local.gate.set()
    desk.settle()
    assert desk.service.controls.loaded() is not None


def test_a_test_tries_the_model_it_is_given_and_the_one_before_comes_back(desk: Desk) -> None:
    assert desk.reply() == "one speaks."
    desk.settings.set("API_FALLBACK_HOST", "10.0.0.1:5000")
    answer = desk.service.controls.test_reply("Hi?", "two")
    assert "".join(answer.pieces) == "two speaks."
    assert answer.answered_by == "two"
    desk.settle()
    loaded = desk.service.controls.loaded()
    assert loaded is not None and loaded.info.name == "one"
    assert [Path(options.model).name for options in desk.local.loads] == ["one", "two", "one"]


def test_settings_are_read_anew(desk: Desk) -> None:
    other: Any = SettingsStore(SETTINGS, environ={"API_FALLBACK_MODEL": "two"})
    desk.service.attach(other, Path(desk.tree or "."))
    assert desk.reply() == "two speaks."


def test_what_the_next_prompt_begins_with_is_read_after_a_reply(desk: Desk) -> None:
    desk.service.turn_over(HELLO, "Not loaded yet.")
    desk.reply()
    desk.service.turn_over(HELLO, "one speaks.")
    assert desk.local.has_read.wait(20)
    (read,) = desk.local.read
    assert read == "User: Hello\nAssistant: one speaks.\nUser: "


# --- kept warm while the primary is well -----------------------------------------------------------------------------


def never() -> ChatRequest:
    raise AssertionError("described although nobody wants to know")


def warm(desk: Desk, monkeypatch: pytest.MonkeyPatch, place: str = "cpu", why_not: str = "") -> None:
    """Switched on, with room as told."""
    desk.settings.set("API_FALLBACK_PRELOAD", "warm")

    def placed(options: LoadOptions, primary_is_here: bool) -> tuple[LoadOptions | None, str]:
        return (replace(options, device=place) if place else None), why_not

    monkeypatch.setattr(preload_policy, "placed", placed)
    monkeypatch.setattr(preload_policy, "is_short_of_memory", lambda: False)


@pytest.mark.parametrize("preload", ["auto", "start", "never"])
def test_a_healthy_turn_costs_nothing_unless_the_user_wants_it(desk: Desk, preload: str) -> None:
    desk.settings.set("API_FALLBACK_PRELOAD", preload)
    desk.service.primary_answered(never, "All is well.")
    assert desk.local.loads == []


def test_warm_loads_beside_a_healthy_primary_and_reads_along(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    warm(desk, monkeypatch)
    desk.service.primary_answered(lambda: HELLO, "All is well.")
    assert desk.local.has_read.wait(20)
    assert [options.device for options in desk.local.loads] == ["cpu"]
    assert desk.local.read == ["User: Hello\nAssistant: All is well.\nUser: "]
    assert desk.reply() == "one speaks." and len(desk.local.loads) == 1, "the warm model answers, wherever it is"


def test_without_room_it_stays_cold_and_says_so_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    warm(desk, monkeypatch, "", "it takes 3.2 GB and 4.3 GB are free")
    for _ in range(2):
        desk.service.primary_answered(lambda: HELLO, "All is well.")
        assert desk.service.early.wait(20)
    assert desk.local.loads == [] and desk.local.read == []
    (line,) = desk.said
    assert line == "The local model is not kept warm: it takes 3.2 GB and 4.3 GB are free."


def test_a_warm_model_makes_room_when_memory_gets_short(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    warm(desk, monkeypatch)
    desk.service.primary_answered(lambda: HELLO, "All is well.")
    assert desk.service.early.wait(20) and desk.local.loaded
    monkeypatch.setattr(preload_policy, "is_short_of_memory", lambda: True)
    desk.service.primary_answered(lambda: HELLO, "All is well.")
    assert desk.service.early.wait(20) and desk.local.loaded is None
    assert any("Memory is short" in line for line in desk.said)


def test_a_model_the_user_loaded_is_not_unloaded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.reply()
    warm(desk, monkeypatch)
    monkeypatch.setattr(preload_policy, "is_short_of_memory", lambda: True)
    desk.service.primary_answered(lambda: HELLO, "All is well.")
    assert desk.service.early.wait(20) and desk.local.loaded


def late(desk: Desk, monkeypatch: pytest.MonkeyPatch, device: str = "auto", idle: bool = True) -> None:
    """The primary is; with room at ``device``, and processors as told."""
    monkeypatch.setattr(preload_policy, "placed", lambda options, here: (replace(options, device=device), ""))
    monkeypatch.setattr(preload_policy, "processors_are_idle", lambda: idle)
    desk.service.primary_late(HELLO.primary, lambda: HELLO, "")
    assert desk.service.early.wait(20)


def test_a_late_primary_has_the_model_loaded_and_the_prompt_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    late(desk, monkeypatch)
    assert [Path(options.model).name for options in desk.local.loads] == ["one"]
    assert desk.local.read == ["User: Hello\nAssistant:"]
    assert desk.reply() == "one speaks." and len(desk.local.loads) == 1


def test_what_was_loaded_for_a_late_primary_is_unloaded_when_it_answers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    late(desk, monkeypatch)
    desk.service.primary_answered(never, "All is well.")
    assert desk.service.early.wait(20) and desk.local.loaded is None
    assert desk.said[-1] == "The server answered after all: the local model is unloaded again"
    late(desk, monkeypatch)
    desk.service.preload()  # it failed, and is back later
    desk.service.primary_answered(never, "All is well.")
    assert desk.service.early.wait(20) and desk.local.loaded


def test_a_late_primary_loses_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    late(desk, monkeypatch, device="cpu")  # not where the model belongs, as the card is the primary's
    late(desk, monkeypatch, device="")
    assert desk.local.loads == []
    late(desk, monkeypatch, idle=False)  # the primary computes on the processor
    assert len(desk.local.loads) == 1 and desk.local.read == []


def test_never_means_not_for_a_late_primary_either(desk: Desk) -> None:
    desk.settings.set("API_FALLBACK_PRELOAD", "never")
    desk.service.primary_late(HELLO.primary, never, "")
    assert desk.service.early.wait(20) and desk.local.loads == []


def test_a_failure_that_is_forgotten_while_it_is_looked_up_is_still_told(desk: Desk) -> None:
    """Load Model, pressed at that very moment, forgets what has failed."""

    class Forgotten(dict[LoadOptions, tuple[FallbackError, float]]):
        def get(self, *key: Any) -> Any:
            found = super().get(*key)
            self.clear()
            return found

    desk.local.problems["one"] = ModelError("one is damaged. Download it again.")
    desk.reply()
    desk.said.clear()
    desk.service.loader._failed = Forgotten(desk.service.loader._failed)
    desk.service.outage_over()
    desk.reply()
    assert desk.said == ["one is damaged. Download it again."]


def test_a_disk_that_fails_while_a_better_model_is_looked_for_ends_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Semaphore(0)

    def look(loaded: object) -> str:
        looked.release()
        raise PermissionError("D:/models")

    monkeypatch.setattr(better_model, "LOOK_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(desk.service._choice, "choose_again", look)
    monkeypatch.setattr(desk.service._choice, "is_automatic", lambda: True)
    for _ in range(2):  # outages
        desk.service._better_model.look_soon()
        assert looked.acquire(timeout=20)
        if (thread := desk.service._better_model._thread) is not None:
            thread.join(20)
    assert any(line.startswith("Could not check whether a better local model fits") for line in desk.said)
