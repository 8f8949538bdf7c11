"""Nobody chose a model and the default is not here: what is here answers, and a choice is never overridden."""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path

import pytest

from tests.helpers.made_models import gguf, put_in_ollama
from tests.unit.test_memory_fit import EVERYTHING, memory, model
from tests.unit.test_service import Desk
from tests.unit.test_service_models import reconsidered
from zwaif_fallback.answering import better_model
from zwaif_fallback.choosing import memory_fit, no_model_chosen, resolve_name
from zwaif_fallback.choosing.auto import AutoModel, Constraints
from zwaif_fallback.choosing.ranking import Choice, choose
from zwaif_fallback.choosing.suggestions import nothing_here
from zwaif_fallback.errors import ModelError, ModelNotFound
from zwaif_fallback.hardware import Memory
from zwaif_fallback.models import catalogue
from zwaif_fallback.models.search import FoundModel

DEFAULT = catalogue.DEFAULT
NOT_SET = f"API_FALLBACK_MODEL is not set and {DEFAULT} is not on this computer, so {{}} answers instead."


class UnchosenDesk(Desk):
    """No model is set; on the disk are one of 3 and one of 8 billion parameters, and memory for either."""

    def __init__(self, tree: Path, monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
        monkeypatch.delenv("API_FALLBACK_MODEL", raising=False)
        self.free, self.looks = memory(64, 24), list[str]()
        super().__init__(tree, monkeypatch, **{"API_FALLBACK_MODEL": "", **values})
        self.service._choice._auto = AutoModel(self.best)
        self.service._choice._auto._memory = lambda: self.free
        self.models = [self.found(name, billions) for name, billions in (("3B", 3), ("8B", 8))]

    def found(self, name: str, billions: int) -> FoundModel:
        return FoundModel(name, "Model folder", name, self.whole(name), model(name, billions).facts)

    def whole(self, name: str) -> Path:
        folder = self.tree / "models" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file in ("config.json", "model.safetensors"):
            (folder / file).write_text("{}", encoding="utf-8")
        return folder

    def best(self, free: Memory, without: Collection[str]) -> Choice | None:
        self.looks.append(threading.current_thread().name)
        return choose([one for one in self.models if str(one.path) not in without], free, can=EVERYTHING)

    def bring_the_default(self) -> None:
        self.whole(DEFAULT.partition("/")[2])

    def opened(self) -> None:
        """Z-Waif has started, and what that began is over."""
        self.service.prepare()
        for thread in threading.enumerate():
            if thread.name == "zwaif-fallback-instead":
                thread.join(20)
        self.settle()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UnchosenDesk:
    return UnchosenDesk(tmp_path, monkeypatch)


def told(desk: Desk) -> list[str]:
    return [line for line in desk.said if line.startswith("API_FALLBACK_MODEL is not set")]


def test_the_best_that_is_here_answers_and_one_line_says_so_once(desk: UnchosenDesk) -> None:
    assert desk.reply() == "8B speaks." == desk.reply()
    (line,) = told(desk)
    assert line.startswith(NOT_SET.format("8B")) and line.endswith(
        "zwaif-fallback settings set API_FALLBACK_MODEL NAME"
    )
    assert len(desk.local.loads) == 1 and len(desk.looks) == 1, "chosen once, not for every reply"


def test_the_page_is_told_so_too(desk: UnchosenDesk) -> None:
    assert (desk.service.controls.is_automatic(), desk.service.controls.taken()) == (True, ""), "not looked yet"
    desk.reply()
    assert (desk.service.controls.is_automatic(), desk.service.controls.taken()) == (True, "8B")
    desk.settings.set("API_FALLBACK_MODEL", "one")
    desk.settle()
    assert not desk.service.controls.is_automatic()


def test_a_choice_that_is_not_here_is_not_overridden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate((DEFAULT, "someone/tiny", "ollama:gone")):
        desk = UnchosenDesk(tmp_path / str(number), monkeypatch, API_FALLBACK_MODEL=name)
        assert "speaks" not in desk.reply() and desk.local.loads == []
        assert desk.looks == [] and told(desk) == []
        assert any("not on this computer" in line for line in desk.said), name


@pytest.mark.parametrize("default_is_here", [False, True])
def test_what_an_example_file_said_is_no_choice(
    default_is_here: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = UnchosenDesk(tmp_path, monkeypatch, API_FALLBACK_MODEL=no_model_chosen.EXAMPLE_VALUE)
    if not default_is_here:
        assert desk.reply() == "8B speaks."
        why = f"API_FALLBACK_MODEL is {no_model_chosen.EXAMPLE_VALUE}, as in an example file of Z-Waif's, "
        assert sum(line.startswith(why) for line in desk.said) == 1
        return
    monkeypatch.setattr(resolve_name, "is_on_this_machine", lambda model: model == DEFAULT)
    assert desk.reply() == f"{DEFAULT.rpartition('/')[2]} speaks." and desk.looks == []


def test_a_file_that_an_example_named_and_that_is_there_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = UnchosenDesk(tmp_path, monkeypatch, API_FALLBACK_MODEL=no_model_chosen.EXAMPLE_VALUE)
    (tmp_path / no_model_chosen.EXAMPLE_VALUE).write_bytes(gguf())
    assert desk.reply() == f"{Path(no_model_chosen.EXAMPLE_VALUE).name} speaks." and desk.looks == []


def test_the_commands_see_an_example_s_value_as_the_plugin_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not no_model_chosen.is_chosen({"API_FALLBACK_MODEL": no_model_chosen.EXAMPLE_VALUE})
    monkeypatch.setattr(no_model_chosen, "choose_here", lambda constraints: None)
    monkeypatch.setattr(resolve_name, "is_on_this_machine", lambda model: False)
    with pytest.raises(ModelNotFound, match="There is no model at "):
        no_model_chosen.answering(no_model_chosen.EXAMPLE_VALUE, False, Constraints(tmp_path, ""))
    monkeypatch.setattr(resolve_name, "is_on_this_machine", lambda model: model == DEFAULT)
    assert no_model_chosen.answering(no_model_chosen.EXAMPLE_VALUE, False, Constraints(tmp_path, "")).model == DEFAULT


def test_a_choice_in_the_environment_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = UnchosenDesk(tmp_path, monkeypatch)
    monkeypatch.setenv("API_FALLBACK_MODEL", DEFAULT)
    assert "speaks" not in desk.reply() and desk.looks == []


def test_the_default_is_used_where_it_is_here(desk: UnchosenDesk) -> None:
    desk.bring_the_default()
    assert desk.reply() == "TinyLlama-1.1B-Chat-v1.0 speaks."
    assert desk.looks == [] and told(desk) == []


def test_the_default_is_used_once_it_has_come(desk: UnchosenDesk) -> None:
    assert desk.reply() == "8B speaks."
    desk.bring_the_default()
    assert desk.reply() == "TinyLlama-1.1B-Chat-v1.0 speaks."
    assert not desk.service.controls.is_automatic()


def test_what_is_here_answers_while_the_default_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = UnchosenDesk(tmp_path, monkeypatch, API_FALLBACK_DOWNLOAD="ON")
    begun, come, bring = threading.Event(), threading.Event(), desk.fetch

    def slowly(*all: object) -> None:
        begun.set()
        assert come.wait(20)
        bring(*all)  # type: ignore[arg-type]

    desk.service.loader._fetch = slowly
    desk.service.prepare()
    assert begun.wait(20)
    assert desk.reply() == "8B speaks."
    come.set()
    desk.settle()
    assert desk.reply() == "TinyLlama-1.1B-Chat-v1.0 speaks." and desk.fetched == [DEFAULT]


def test_the_next_best_is_tried_and_at_last_the_clear_line_comes(desk: UnchosenDesk) -> None:
    desk.local.problems["8B"] = ModelError("8B is of a kind that nobody knows.")
    assert desk.reply() == "3B speaks."
    assert "Trying another model: 8B is of a kind that nobody knows." in desk.said
    first, second = told(desk)
    assert first.startswith(NOT_SET.format("8B")) and second.startswith(NOT_SET.format("3B"))
    desk.local.unload()
    desk.local.problems["3B"] = ModelError("3B is broken too.")
    desk.service.loader._failed.clear()
    assert "speaks" not in desk.reply(), "last words, and no endless search"
    assert any("No model that can answer is on this computer yet" in line for line in desk.said)


def test_a_better_one_is_taken_when_the_server_s_memory_is_free(
    desk: UnchosenDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(better_model, "LOOK_SECONDS", (0.0,))
    desk.free = memory(16)
    assert desk.reply() == "3B speaks."
    desk.free = memory(16, 12)
    desk.service.preload()
    reconsidered(desk)
    desk.settle()
    assert desk.reply() == "8B speaks."


@pytest.mark.parametrize(("preload", "loads"), [("auto", 0), ("start", 1)])
def test_a_start_says_what_would_answer_and_looks_in_a_thread_of_its_own(
    preload: str, loads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = UnchosenDesk(tmp_path, monkeypatch, API_FALLBACK_PRELOAD=preload)
    desk.opened()
    assert told(desk)[0].startswith(NOT_SET.format("8B"))
    assert desk.said[-1].startswith("Fallback ready: 8B ") and len(desk.local.loads) == loads
    assert not any("not ready" in line for line in desk.said)
    assert desk.looks == ["zwaif-fallback-instead"]


def test_a_start_without_any_model_says_what_to_do(
    desk: UnchosenDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    desk.models.clear()
    desk.opened()
    assert desk.said[0] == f"Fallback not ready: {nothing_here(Constraints())}"
    assert "Run: zwaif-fallback download (it fetches the best for this computer" in desk.said[0]


def test_a_start_names_a_model_that_needs_one_more_package(
    desk: UnchosenDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_ollama(tmp_path / "store", "registry.ollama.ai/library/llama3.2/3b")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "store"))
    monkeypatch.setattr(memory_fit, "abilities", lambda: memory_fit.Abilities(gguf=False))
    monkeypatch.setattr("zwaif_fallback.choosing.suggestions.choose_here", lambda constraints: None)
    desk.models.clear()
    desk.opened()
    assert desk.said[1].startswith("Already on this computer: ") and "pip install" in desk.said[1]


def test_an_outage_chooses_and_loads_in_the_background(desk: UnchosenDesk) -> None:
    desk.service.preload()
    desk.settle()
    assert [Path(options.model).name for options in desk.local.loads] == ["8B"]
    assert desk.looks == ["zwaif-fallback-load"]
    desk.service.close()


def test_a_healthy_turn_looks_at_no_disk(desk: UnchosenDesk) -> None:
    desk.service.primary_answered(lambda: pytest.fail("described"), "All is well.")
    desk.settings.set("API_FALLBACK_DEVICE", "cpu")
    assert desk.looks == [] and desk.local.loads == []


def test_taking_the_choice_back_in_env_gives_way_to_what_is_here(desk: UnchosenDesk) -> None:
    desk.settings.set("API_FALLBACK_MODEL", "one")
    assert desk.reply() == "one speaks."
    (desk.tree / ".env").write_text("API_FALLBACK_MODEL =\n", encoding="utf-8")
    desk.settings.reload()
    desk.settle()
    assert desk.reply() == "8B speaks."


@pytest.mark.parametrize(
    ("values", "is_set"),
    [
        ({}, False),
        ({no_model_chosen.MODEL: ""}, False),
        ({no_model_chosen.MODEL: " "}, False),
        ({no_model_chosen.MODEL: DEFAULT}, True),
    ],
)
def test_an_empty_value_is_no_choice(values: dict[str, str], is_set: bool) -> None:
    assert no_model_chosen.is_chosen(values) is is_set


def test_who_answers_for_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = FoundModel("3B", "Model folder", "3B", tmp_path / "3B", model("3B", 3).facts)
    choice = choose([found], memory(64), can=EVERYTHING)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no cache"))
    monkeypatch.setattr(no_model_chosen, "choose_here", lambda constraints: choice)
    constraints = Constraints(tmp_path)
    assert no_model_chosen.answering(DEFAULT, True, constraints) == no_model_chosen.AnsweringModel(DEFAULT, "")
    there = no_model_chosen.answering(DEFAULT, False, constraints)
    assert (there.model, there.title) == (str(tmp_path / "3B"), "3B") and there.notice.startswith(NOT_SET.format("3B"))
    choice = None
    assert no_model_chosen.answering(DEFAULT, False, constraints) == no_model_chosen.AnsweringModel(DEFAULT, "")
