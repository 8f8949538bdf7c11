"""The command line, called as its users call it: arguments in, lines and an exit status out."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from tests.helpers.made_models import put_in_ollama, write_gguf
from zwaif_fallback import demo
from zwaif_fallback.choosing import memory_fit
from zwaif_fallback.choosing.memory_fit import Abilities
from zwaif_fallback.cli import download as cli_download
from zwaif_fallback.cli import main, manual, selftest
from zwaif_fallback.demo import play
from zwaif_fallback.downloads.transfer import Progress
from zwaif_fallback.errors import FallbackError
from zwaif_fallback.models import catalogue
from zwaif_fallback.settings import SETTINGS
from zwaif_fallback.standin import copy_tree
from zwaif_hooks.host import env_file

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def plain_console(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing exported, no model on this computer, and not in a Z-Waif folder."""
    for name in [setting.name for setting in SETTINGS] + ["HOST_PORT", "API_TYPE", "ZWAIF_PLUGINS", "ZWAIF_DEBUG"]:
        monkeypatch.delenv(name, raising=False)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "OLLAMA_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def dead() -> str:
    return f"127.0.0.1:{selftest.unused_port()}"


def zwaif(folder: Path, **env: str) -> Path:
    return copy_tree(folder / "z-waif", env)


def run(*arguments: object) -> int:
    return main.main([str(argument) for argument in arguments])


# --- help, misuse, surprises ------------------------------------------------------------------------------------------


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    said = capsys.readouterr().out
    assert all(name in said for name in ("demo", "test", "download", "status", "models", "settings", "--version"))
    assert run("settings") == 2
    assert "show" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nonsense"], ["settings", "set"], ["status", "--yes"]])
def test_misuse_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run(*arguments)
    assert left.value.code == 2
    assert "usage: zwaif-fallback" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run("--version")
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("zwaif-fallback ")


def test_a_folder_that_is_no_z_waif(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", "--zwaif", tmp_path) == 2
    assert "is not a Z-Waif folder. Give the folder that holds" in capsys.readouterr().err
    assert run("test", "--zwaif", tmp_path / "gone") == 2
    assert "gone is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_surprise_is_one_line_unless_details_are_wanted(
    debug: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def burst(*_: object) -> int:
        raise RuntimeError("a bug")

    monkeypatch.setattr(play, "run", burst)
    monkeypatch.setenv("ZWAIF_DEBUG", debug)
    assert run("demo") == 1
    said = capsys.readouterr().err
    assert "Unexpected RuntimeError: a bug. Run it again with --debug for the details." in said
    assert ("Traceback" in said) is bool(debug)


@pytest.mark.parametrize("arguments", [["--debug", "demo"], ["demo", "--debug"]])
def test_details_are_asked_for_before_or_after_the_command(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> int:
        raise FallbackError("The demo is not well. Mend it.")

    monkeypatch.setattr(play, "run", refuse)
    assert run(*arguments) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said and said.endswith("\nThe demo is not well. Mend it.\n")


def test_stopped_by_the_user(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(play, "run", stop)
    assert run("demo") == 130
    assert capsys.readouterr().err == "Stopped.\n"


def test_demo_and_test_get_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(play, "run", lambda folder: asked.append(folder) or 0)
    monkeypatch.setattr(selftest, "run", lambda folder, as_json, plugins_dir: asked.append(folder) or 1)
    tree = zwaif(tmp_path)
    assert (run("demo"), run("demo", "--zwaif", tree), run("test")) == (0, 0, 1)
    monkeypatch.chdir(tree)
    assert run("test") == 1
    assert asked == [None, tree, None, tree]


# --- status -----------------------------------------------------------------------------------------------------------


def test_status_of_a_fallback_that_has_nothing_to_answer_with(
    tmp_path: Path, dead: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("status", "--zwaif", zwaif(tmp_path, HOST_PORT=dead)) == 1
    said = capsys.readouterr().out
    assert f"Oobabooga at {dead} is down: start it" in said
    assert "Run: zwaif-fallback download (it fetches the best for this computer, " in said
    assert "All settings have their default values." in said


def test_status_of_one_that_is_ready(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(zwaif(tmp_path, HOST_PORT=server, API_FALLBACK_MODEL=str(demo.MODEL)))
    monkeypatch.setenv("API_FALLBACK_THREADS", "3")
    assert run("status") == 0
    said = capsys.readouterr().out
    assert f"Oobabooga at {server} accepts connections" in said
    assert f"Local model      {demo.MODEL}: on this computer" in said
    assert "While Z-Waif runs, a standby process" in said
    assert "API_FALLBACK_THREADS = 3" in said and "(environment)" in said
    assert f"API_FALLBACK_MODEL = {demo.MODEL}" in said and "(.env)" in said


@pytest.mark.parametrize("form", ["{}", "http://{}", "http://{}/v1"])
def test_another_server_is_something_to_answer_with(
    form: str, tmp_path: Path, server: str, dead: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = zwaif(tmp_path, API_FALLBACK_HOST=form.format(server))
    assert run("status", "--zwaif", tree) == 0
    assert f"{form.format(server)} accepts connections" in capsys.readouterr().out
    tree = zwaif(tmp_path, API_FALLBACK_HOST=form.format(dead))
    assert run("status", "--zwaif", tree) == 1
    assert f"{form.format(dead)} is down" in capsys.readouterr().out


def test_switched_off_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = zwaif(tmp_path, API_FALLBACK_ENABLED="OFF")
    assert run("status", "--zwaif", tree) == 0
    assert "off: API_FALLBACK_ENABLED is OFF. zwaif-fallback enable" in capsys.readouterr().out
    monkeypatch.setenv("ZWAIF_PLUGINS", "OFF")
    run("status", "--zwaif", tree)
    assert "off: ZWAIF_PLUGINS is OFF in this environment. Remove the variable" in capsys.readouterr().out


def test_status_for_programs(tmp_path: Path, dead: str, capsys: pytest.CaptureFixture[str]) -> None:
    tree = zwaif(tmp_path, API_TYPE="Ollama", OLLAMA_HOST=dead, API_FALLBACK_STALL_TIMEOUT="soon")
    assert run("status", "--json", "--zwaif", tree) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["zwaif"] == str(tree)
    assert facts["primary"] == {"kind": "Ollama", "address": dead, "reachable": False}
    assert (facts["model"]["resolved"], facts["model"]["here"]) == (catalogue.DEFAULT, False)
    assert [problem for problem in facts["problems"] if "API_FALLBACK_STALL_TIMEOUT is 'soon'" in problem]
    assert {row["name"] for row in facts["settings"]} == {setting.name for setting in SETTINGS}


@pytest.mark.parametrize(("found", "said"), [("", "LM Studio is down"), ("127.0.0.1:1234", "1234 accepts connections")])
def test_lm_studio_has_no_address_in_env(
    found: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("zwaif_fallback.doctor.servers.find_lmstudio", lambda: found)
    run("status", "--zwaif", zwaif(tmp_path, API_TYPE="LMStudio"))
    assert said in capsys.readouterr().out


def test_status_without_a_z_waif(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status") == 1
    assert "not found (run this in its folder, or add --zwaif FOLDER)" in capsys.readouterr().out


def test_status_imports_neither_torch_nor_gradio(tmp_path: Path) -> None:
    code = (
        "import sys; from zwaif_fallback.cli.main import main; main(['status']); "
        "print({'torch', 'gradio'} & {*sys.modules})"
    )
    assert child(["-c", code], tmp_path).stdout.splitlines()[-1] == "set()"


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with an Ollama that has one model, which llama.cpp would run if it were a real one."""
    monkeypatch.setattr(memory_fit, "abilities", Abilities)
    put_in_ollama(tmp_path / "home" / ".ollama/models", "registry.ollama.ai/library/llama3.2/3b")
    return tmp_path / "home"


def test_models(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = zwaif(tmp_path, API_TYPE="Ollama", ZW_OLLAMA_MODEL="llama3.2:3b", API_FALLBACK_MODEL=catalogue.DEFAULT)
    assert run("models", "--zwaif", tree) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line for line in table if re.match(r"1= +llama3\.2:3b .*Q4_K_M .*CPU", line)]
    assert [line for line in table if re.match(r"2\* +tinyllama ", line)]
    assert all(any(f"  {offer.short} " in line for line in table) for offer in catalogue.OFFERS[:-1])
    assert [line for line in table if line.startswith("API_FALLBACK_MODEL = auto would choose ollama:llama3.2:3b: ")]


def test_models_for_programs(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "--json", "--zwaif", zwaif(tmp_path, API_FALLBACK_MODEL="ollama:llama3.2:3b")) == 0
    listed = json.loads(capsys.readouterr().out)
    (found,) = (row for row in listed["found"] if row["source"] == "Ollama" and str(home) in row["path"])
    assert (found["setting"], found["chosen"], found["fits"]) == ("ollama:llama3.2:3b", True, True)
    assert (found["parameters"], found["quantization"], found["context_window"]) == (256 * 13, "Q4_K_M", 4096)
    chosen = {"setting": "ollama:llama3.2:3b", "named": True, "resolved": found["path"], "here": True, "notice": ""}
    assert listed["chosen"] == chosen
    assert [row["name"] for row in listed["offered"]] == [offer.name for offer in catalogue.OFFERS[:-1]]
    assert not any(row["here"] or row["chosen"] for row in listed["offered"])


HINT = "computer: ollama:llama3.2:3b. To use it: zwaif-fallback settings set API_FALLBACK_MODEL ollama:llama3.2:3b"


def test_whoever_chose_what_is_not_here_hears_of_the_model_that_is(
    home: Path, tmp_path: Path, dead: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = zwaif(tmp_path, OLLAMA_HOST=dead, API_FALLBACK_MODEL=catalogue.DEFAULT)
    monkeypatch.setattr(selftest, "CHECKS", (("your model", selftest.check_own_model),))
    for command, status in (("status", 1), ("chat", 1), ("test", 1)):
        assert run(command, "--zwaif", tree, *(["Hello"] if command == "chat" else [])) == status
        said = "".join(capsys.readouterr())
        assert f"{catalogue.DEFAULT} is not on this computer yet" in said and HINT in said, command
    assert run("settings", "set", "API_FALLBACK_MODEL", "ollama:llama3.2:3b", "--zwaif", tree) == 0
    assert run("status", "--zwaif", tree) == 0
    said = capsys.readouterr().out
    assert "Local model      ollama:llama3.2:3b: on this computer" in said and HINT not in said


NOTICE = (
    f"API_FALLBACK_MODEL is not set and {catalogue.DEFAULT} is not on this computer, so ollama:llama3.2:3b answers "
    "instead. Choose another in Z-Waif's Settings tab, or with: zwaif-fallback settings set "
    "API_FALLBACK_MODEL NAME"
)


@pytest.mark.parametrize("value", [None, "", "  "], ids=["no line", "empty", "blank"])
def test_whoever_chose_nothing_is_told_everywhere_that_a_found_model_answers(
    value: str | None,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tree = zwaif(tmp_path, **({} if value is None else {"API_FALLBACK_MODEL": value}))
    for command in ("status", "models", "settings show", "doctor"):
        run(*command.split(), "--zwaif", tree)
        said = capsys.readouterr().out
        assert NOTICE in said and HINT not in said and "not on this computer yet" not in said, command
    run("status", "--zwaif", tree)
    assert "Local model      ollama:llama3.2:3b: on this computer" in capsys.readouterr().out
    run("models", "--zwaif", tree)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if re.match(r"\d\*", line)] == [line for line in lines if "llama3.2:3b  " in line]
    assert "Marks: * answers, = run by Z-Waif's LLM server, + best for this computer." in lines
    run("doctor", "--zwaif", tree)
    assert re.search("ok +Model files +ollama:llama3.2:3b is on this computer", capsys.readouterr().out)


def test_whoever_chose_nothing_programs_are_told_the_same(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = zwaif(tmp_path)

    def told(*command: str) -> Any:
        run(*command, "--json", "--zwaif", tree)
        return json.loads(capsys.readouterr().out)

    status = told("status")
    model = status["model"]
    assert (model["setting"], model["named"], model["here"]) == (catalogue.DEFAULT, False, True)
    assert model["notice"] == NOTICE and model["resolved"].startswith(str(home))
    chosen = told("models")["chosen"]
    assert (chosen["named"], chosen["here"], chosen["notice"]) == (False, True, NOTICE)
    for rows in (status["settings"], told("settings", "show")):
        assert {row["name"]: row["note"] for row in rows if row["note"]} == {"API_FALLBACK_MODEL": NOTICE}
        assert next(row["source"] for row in rows if row["note"]) == "default"
    (name,) = (row for row in told("doctor")["checks"] if row["name"] == "model_name")
    assert (name["state"], name["found"]) == ("ok", NOTICE)


def test_chat_goes_to_the_next_and_tells_what_is_missing_in_the_end(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The found model is no real one, and nothing else is here."""
    assert run("chat", "Hello", "--zwaif", zwaif(tmp_path)) == 1
    said = capsys.readouterr().err
    assert f"[{NOTICE}]" in said and "Trying another model" in said
    assert "No model that can answer is on this computer yet. Run: zwaif-fallback download" in said


def test_a_model_named_on_the_command_line_is_never_another(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("chat", "Hello", "--model", catalogue.DEFAULT, "--zwaif", zwaif(tmp_path)) == 1
    said = capsys.readouterr().err
    assert f"{catalogue.DEFAULT} is not on this computer yet" in said and HINT in said and NOTICE not in said


def test_a_gguf_model_without_its_engine_is_named_with_what_it_needs(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory_fit, "abilities", lambda: Abilities(gguf=False))
    assert run("status", "--zwaif", zwaif(tmp_path)) == 1
    needs = "ollama:llama3.2:3b. It needs one more package: pip install xllamacpp"
    assert f"Already on this computer: {needs}" in capsys.readouterr().out


def test_what_cannot_be_used_is_told_when_asked(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = zwaif(tmp_path)
    write_gguf(tree / "models" / "bert.gguf", {"general.architecture": "bert"})
    (tree / "models" / "junk.gguf").write_bytes(b"junk")
    run("models", "--zwaif", tree)
    said = capsys.readouterr().out
    assert "2 more cannot be used. To see why: zwaif-fallback models --all" in said and "bert.gguf" not in said
    run("models", "--all", "--zwaif", tree)
    said = capsys.readouterr().out
    assert "is an embedding model: it cannot chat" in said
    assert f"Left out: {tree / 'models' / 'junk.gguf'}: it is not a GGUF file" in said


def test_auto_may_be_chosen(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = zwaif(tmp_path)
    assert run("settings", "set", "API_FALLBACK_MODEL", "auto", "--zwaif", tree) == 0
    assert run("models", "--json", "--zwaif", tree) == 0
    listed = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert [row["setting"] for row in listed["found"] if row["chosen"]] == ["ollama:llama3.2:3b"]


def test_a_download_without_a_bar_tells_its_progress_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with cli_download._progress() as report:
        for done in range(0, 1001, 5):
            report(Progress("a.gguf", done, 1000, 10.0))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == cli_download.PLAIN_STEPS + 1 and lines[0].startswith("a.gguf: ")


def test_a_download_with_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("zwaif_fallback.cli.console.is_plain", lambda stream: False)
    with cli_download._progress() as report:
        report(Progress("a.gguf", 500, 1000, 10.0))
    assert capsys.readouterr().err == ""


def brings(place: Path, *done: int) -> Any:
    """A download that says a line, reports, and is there."""

    def download(name: str, say: Any, *, report: Any, **_: object) -> Path:
        say(f"Downloading {name}")
        for one in done:
            report(Progress("a.gguf", one, max(done), 10.0))
        return place

    return download


def test_a_download_for_programs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("zwaif_fallback.downloads.download.download", brings(Path("somewhere"), 400, 1000))
    assert run("download", "owner/name", "--json") == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told.pop("seconds") >= 0
    assert told == {"model": "owner/name", "path": "somewhere", "bytes": 1000}
    assert "Downloading owner/name" in said.err and "a.gguf: " in said.err


def test_nothing_to_download_for_programs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("zwaif_fallback.downloads.download.download", brings(Path("somewhere")))
    assert run("download", "owner/name", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"model": "owner/name", "path": "somewhere", "bytes": 0, "seconds": 0.0}


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (FallbackError("The disk is full."), 1, "The disk is full."),
        (KeyboardInterrupt(), 130, "Stopped. Run the same command"),
    ],
)
def test_a_download_that_fails_for_programs(
    error: BaseException, status: int, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def download(*_: object, **__: object) -> Path:
        raise error

    monkeypatch.setattr("zwaif_fallback.downloads.download.download", download)
    assert run("download", "owner/name", "--json") == status
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["model"] == "owner/name" and told["error"].startswith(text)
    assert said.err == ""


# --- settings ---------------------------------------------------------------------------------------------------------


def test_a_setting_is_changed_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = zwaif(tmp_path)
    before = (tree / ".env").read_text(encoding="utf-8")
    assert run("settings", "set", "api_fallback_stall_timeout", "12.5", "--zwaif", tree) == 0
    assert "API_FALLBACK_STALL_TIMEOUT = 12.5" in capsys.readouterr().out
    assert (tree / ".env").read_text(encoding="utf-8") == before + "API_FALLBACK_STALL_TIMEOUT = 12.5\n"
    assert run("settings", "show", "--json", "--zwaif", tree) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["API_FALLBACK_STALL_TIMEOUT"]["value"], rows["API_FALLBACK_STALL_TIMEOUT"]["source"]) == (12.5, ".env")
    assert rows["API_FALLBACK_CONNECT_TIMEOUT"]["source"] == "default"


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("API_FALLBACK_STALL_TIMEOUT", "soon", "must be a number from 1 to 600"),
        ("API_FALLBACK_ENABLD", "ON", "Did you mean API_FALLBACK_ENABLED?"),
        (
            "API_FALLBACK_MODEL",
            "hello world",
            "There is no model called 'hello world' on this computer",
        ),
        ("API_FALLBACK_HOST", "some where", "must look like 127.0.0.1:8080"),
    ],
)
def test_what_cannot_be_used_is_not_written(
    key: str, value: str, remedy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = zwaif(tmp_path)
    before = (tree / ".env").read_bytes()
    assert run("settings", "set", key, value, "--zwaif", tree) == 1
    said = capsys.readouterr().err
    assert remedy in said and said.count("\n") == 1
    assert (tree / ".env").read_bytes() == before


def test_an_exported_variable_counts_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = zwaif(tmp_path)
    monkeypatch.setenv("API_FALLBACK_THREADS", "2")
    assert run("settings", "set", "API_FALLBACK_THREADS", "4", "--zwaif", tree) == 0
    assert "also set as an environment variable, which takes precedence" in capsys.readouterr().out
    assert "API_FALLBACK_THREADS = 4\n" in (tree / ".env").read_text(encoding="utf-8")
    assert os.environ["API_FALLBACK_THREADS"] == "2"


def test_settings_need_a_z_waif_to_be_changed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("settings", "set", "API_FALLBACK_ENABLED", "OFF") == 2
    assert "--zwaif FOLDER" in capsys.readouterr().err


def test_the_default_is_left_empty_rather_than_written_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Written out it would be a choice, and no model that is here would answer in its place."""
    tree = zwaif(tmp_path, API_FALLBACK_MODEL="auto")
    assert run("settings", "set", "API_FALLBACK_MODEL", "", "--zwaif", tree) == 0
    assert f"Empty means the default: {catalogue.DEFAULT}" in capsys.readouterr().out
    assert env_file.read(tree / ".env")["API_FALLBACK_MODEL"] == ""


def test_changes_for_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = zwaif(tmp_path, API_FALLBACK_THREADS="2")
    file = str(tree / ".env")

    def told(*command: object) -> Any:
        assert run(*command, "--json", "--zwaif", tree) == 0
        return json.loads(capsys.readouterr().out)

    facts = {"name": "API_FALLBACK_THREADS", "file": file, "overruled": False}
    assert told("settings", "set", "api_fallback_threads", 4) == {
        **facts, "value": 4, "text": "4", "written": "4", "before": "2",
    }  # fmt: skip
    monkeypatch.setenv("API_FALLBACK_THREADS", "3")
    assert told("settings", "set", "API_FALLBACK_THREADS", "") == {
        **facts, "value": 0, "text": "0", "written": "", "before": "4", "overruled": True,
    }  # fmt: skip
    facts["name"] = "API_FALLBACK_ENABLED"
    assert told("disable") == {**facts, "value": False, "text": "OFF", "written": "OFF", "before": None}
    assert told("enable") == {**facts, "value": True, "text": "ON", "written": "ON", "before": "OFF"}


def test_a_missing_env_is_made_and_a_locked_one_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    env = zwaif(tmp_path) / ".env"
    env.unlink()
    assert run("settings", "set", "API_FALLBACK_ENABLED", "off", "--zwaif", env.parent) == 0
    assert env.read_text(encoding="utf-8").split() == ["API_FALLBACK_ENABLED", "=", "OFF"]
    env.chmod(0o444)
    assert run("settings", "set", "API_FALLBACK_ENABLED", "on", "--zwaif", env.parent) == 1
    assert "is read-only" in capsys.readouterr().err


def test_unusable_values_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("settings", "show", "--zwaif", zwaif(tmp_path, API_FALLBACK_THREADS="many")) == 1
    said = capsys.readouterr()
    assert "API_FALLBACK_THREADS is 'many', but it must be a whole number" in said.err
    assert re.search(r"^API_FALLBACK_THREADS +0 +\.env +0$", said.out, re.MULTILINE)


def test_settings_for_people_show_value_origin_and_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("settings", "show", "--zwaif", zwaif(tmp_path, API_FALLBACK_STALL_TIMEOUT="12")) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["Setting", "Value", "From", "Default"]
    assert [row.split()[0] for row in rows] == [setting.name for setting in SETTINGS]
    assert ["API_FALLBACK_STALL_TIMEOUT", "12", ".env", "10"] in [row.split() for row in rows]
    assert ["API_FALLBACK_HOST", "(empty)", "default", "(empty)"] in [row.split() for row in rows]


def test_one_word_switches_the_fallback_and_says_how_to_undo_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = zwaif(tmp_path)
    before = (tree / ".env").read_bytes()
    assert run("disable", "--zwaif", tree) == 0
    said = capsys.readouterr().out
    assert "API_FALLBACK_ENABLED = OFF" in said and "before: not set" in said
    assert "To undo: zwaif-fallback enable" in said
    assert (tree / ".env").read_bytes() == before + b"API_FALLBACK_ENABLED = OFF" + os.linesep.encode()
    assert run("enable", "--zwaif", tree) == 0
    said = capsys.readouterr().out
    assert "before: OFF" in said and "To undo: zwaif-fallback disable" in said
    assert (tree / ".env").read_bytes() == before + b"API_FALLBACK_ENABLED = ON" + os.linesep.encode()
    assert run("enable") == 2, "without a Z-Waif there is nothing to write into"


# --- consoles ---------------------------------------------------------------------------------------------------------


def child(arguments: list[str], cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "hooks")])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **env},
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=60,
    )


def test_a_console_that_cannot_show_every_character(tmp_path: Path) -> None:
    (tmp_path / "家").mkdir()
    tree = zwaif(tmp_path / "家", API_FALLBACK_LAST_WORDS="さよなら😀.txt")
    done = child(["-m", "zwaif_fallback", "status"], tree, PYTHONIOENCODING="cp1252", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (1, "")
    assert "API_FALLBACK_LAST_WORDS = ?????.txt" in done.stdout


def test_a_reader_that_leaves_early(tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "hooks")])
    command = [sys.executable, "-m", "zwaif_fallback", "models"]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": path}, stdout=writer, stderr=subprocess.PIPE, timeout=60
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


class Unread(io.StringIO):
    """A pipe without a reader, as Windows has it."""

    def __init__(self, file: IO[str]) -> None:
        super().__init__()
        self.fileno = file.fileno  # type: ignore[method-assign]

    def flush(self) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")


def test_a_reader_that_leaves_early_on_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "out").open("w", encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdout", Unread(file))
        assert main.main(["models"]) == 1
    assert capsys.readouterr().err == ""


# --- manual -----------------------------------------------------------------------------------------------------------


def test_the_manual_is_the_help() -> None:
    """To renew it: ``scripts/docs``."""
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == manual.as_markdown()
