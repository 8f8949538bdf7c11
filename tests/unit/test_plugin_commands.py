"""The commands for plugins, run as a user runs them, with packages that pip installed: good ones and broken ones."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import zwaif_hooks
from tests.helpers.access import let_others_write
from tests.helpers.pip_install import needs_pip
from tests.helpers.plugin_packages import PARROT, SOURCES, install
from zwaif_fallback import demo
from zwaif_fallback.cli import selftest
from zwaif_fallback.settings import SETTINGS
from zwaif_fallback.standin import copy_tree
from zwaif_fallback.standin.launch import environment
from zwaif_hooks.host import env_file

pytestmark = [pytest.mark.slow, needs_pip]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
OWL = 'from zwaif_hooks import hookimpl\n\n@hookimpl\ndef on_primary_failure():\n    return "Hoo hoo!"\n'

HALF_USABLE = (
    OWL.replace("import hookimpl", "import EngineModel, EngineSpec, Setting, hookimpl")
    + """
@hookimpl
def register_settings():
    return Setting("OWL_A", 1, "One."), Setting("OWL_A", 2, "Two.")


@hookimpl
def register_engines():
    return EngineSpec("Bad Owl", [EngineModel("m")], "zwaif_owl:Owl")
"""
)
NOISY = """
print("NOISE while it is imported")


@hookimpl
def register_engines():
    print("NOISE")


@hookimpl
def zwaif_stopping():
    print("NOISE")
"""
ENGINES = """
class Engine:
    pass


@hookimpl
def register_engines():
    from zwaif_hooks import EngineModel, EngineSpec

    yield EngineSpec("lists", [EngineModel("big"), EngineModel("small")], "builtins:list")
    yield EngineSpec("own", [EngineModel("one")], "owl:Engine")
    yield EngineSpec("lost", [EngineModel("mm")], "zwaif_no_such_module:Owl")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("plugins"), SOURCES, PARROT)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return copy_tree(tmp_path / "z-waif", {"API_FALLBACK_MODEL": str(demo.MODEL)})


@pytest.fixture
def owls(tmp_path: Path) -> Path:
    """A folder with a plugin in a single file."""
    folder = tmp_path / "one-off"
    folder.mkdir(mode=0o755)
    (folder / "owl.py").write_text(OWL, encoding="utf-8")
    (folder / "_helper.py").write_text("raise SystemExit('not a plugin')\n", encoding="utf-8")
    return folder


@pytest.fixture
def run(tree: Path, site: Path, tmp_path: Path) -> Run:
    env = {**environment(tmp_path / "scratch"), "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    for name in [name for name in env if name.startswith("ZWAIF_") or name in {one.name for one in SETTINGS}]:
        del env[name]
    env["PYTHONPATH"] = os.pathsep.join([str(site), env.get("PYTHONPATH", "")])

    def command(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "zwaif_fallback", *words, "--zwaif", str(tree)],
            env={**env, **more},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return command


# --- list and explain -------------------------------------------------------------------------------------------------


def test_the_list_has_every_plugin_with_its_state(run: Run) -> None:
    done = run("plugins", ZWAIF_BLOCK_PLUGINS="parrot")
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in done.stdout.splitlines()}
    assert done.returncode == 1, "one is broken"
    assert rows["crow"] == "1.2.3 zwaif-crow active on_primary_failure"
    assert rows["parrot"] == "0.1.0 zwaif-parrot blocked listed in ZWAIF_BLOCK_PLUGINS"
    assert rows["absent"].startswith("1.2.3 zwaif-absent broken could not be loaded and is left out: No module named")
    assert rows["misspelt"].startswith("1.2.3 zwaif-misspelt active register_settings, say_while_waiting")
    assert "on_primary_failure" in rows["fallback"]
    told = done.stderr.splitlines()
    assert [line for line in told if "'misspelt'" in line and "did you mean 'on_primary_failure'?" in line]
    assert [line for line in told if line.startswith("Plugin 'absent' could not be loaded and is left out: No module")]


def test_the_list_tells_of_settings_and_engines_that_are_left_out(run: Run, owls: Path) -> None:
    (owls / "owl.py").write_text(HALF_USABLE, encoding="utf-8")
    done = run("plugins", "list", "--plugins-dir", str(owls), ZWAIF_ALLOW_PLUGINS="owl")
    assert done.returncode == 1
    assert "Plugin 'owl': its setting OWL_A is left out: it declares that name twice" in done.stderr
    assert "Plugin 'owl' failed in register_engines" in done.stderr and "'Bad Owl'" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("plugins",),
        ("plugins", "check", "owl"),
        ("models",),
        ("settings", "show"),
        ("status",),
        ("doctor",),
        ("chat", "Hello", "--plugins-dir"),
    ],
    ids=" ".join,
)
def test_json_is_alone_on_standard_output_whatever_plugins_print(run: Run, owls: Path, words: tuple[str, ...]) -> None:
    (owls / "owl.py").write_text(OWL + NOISY, encoding="utf-8")
    more = [str(owls)] if "chat" in words else []
    done = run(*words, *more, "--json", ZWAIF_PLUGINS_DIR=str(owls), ZWAIF_ALLOW_PLUGINS="owl")
    json.loads(done.stdout)
    assert "NOISE" in done.stderr


def test_the_list_for_programs(run: Run) -> None:
    by_name = {one["name"]: one for one in json.loads(run("plugins", "--json").stdout)}
    assert {name: one["state"] for name, one in by_name.items()} == {
        **dict.fromkeys(("parrot", "crow", "misspelt", "fallback"), "active"),
        "absent": "broken",
    }
    assert len(by_name["misspelt"]["left_out"]) == 1
    says = "its say_while_waiting "
    assert by_name["misspelt"]["doubts"] == [
        f"{says}takes request as str, but gets ChatRequest",
        f"{says}returns bytes; the hook returns str | None",
    ]


def test_nothing_is_loaded_while_plugins_are_off(run: Run) -> None:
    done = run("plugins", ZWAIF_PLUGINS="OFF")
    assert (done.returncode, done.stdout) == (
        0,
        "No plugin is loaded: ZWAIF_PLUGINS is OFF in this environment.\n",
    )


def test_explain_tells_order_and_reason(run: Run) -> None:
    lines = run("plugins", "explain").stdout.splitlines()
    begin = lines.index("on_primary_failure: until one has a result")
    rows = [" ".join(line.split()) for line in lines[begin + 1 : begin + 4]]
    assert rows == ["1. crow tryfirst", "2. parrot found last, called first", "3. fallback trylast"]
    mistyped = run("plugins", "explain", ZWAIF_PLUGIN_ORDER="parot").stderr
    assert "ZWAIF_PLUGIN_ORDER names 'parot', but there is no plugin of that name; did you mean 'parrot'?" in mistyped
    chosen = json.loads(run("plugins", "explain", "--json", ZWAIF_PLUGIN_ORDER="parrot").stdout)
    (hook,) = [one for one in chosen if one["hook"] == "on_primary_failure"]
    assert hook["first_result"] is True
    assert hook["plugins"][0] == {"plugin": "parrot", "why": "number 1 in ZWAIF_PLUGIN_ORDER"}
    assert [one["plugin"] for one in hook["plugins"]] == ["parrot", "crow", "fallback"]
    (hook,) = [one for one in chosen if one["hook"] == "register_settings"]
    assert [one["plugin"] for one in hook["plugins"]] == ["parrot", "misspelt"], "the same order"


# --- block, allow, single files ---------------------------------------------------------------------------------------


def test_block_and_unblock_change_one_line_of_env(run: Run, tree: Path) -> None:
    before = env_file.read(tree / ".env")
    assert run("plugins", "block", "Crow").returncode == run("plugins", "block", "parrot").returncode == 0
    assert env_file.read(tree / ".env") == {**before, "ZWAIF_BLOCK_PLUGINS": "crow, parrot"}
    states = {one["name"]: one["state"] for one in json.loads(run("plugins", "--json").stdout)}
    assert (states["crow"], states["parrot"]) == ("blocked", "blocked")
    assert json.loads(run("plugins", "unblock", "CROW", "--json").stdout)["blocked"] == ["parrot"]
    assert env_file.read(tree / ".env") == {**before, "ZWAIF_BLOCK_PLUGINS": "parrot"}


def test_block_checks_the_name(run: Run, tree: Path) -> None:
    before = (tree / ".env").read_bytes()
    done = run("plugins", "block", "parot")
    assert (done.returncode, done.stderr) == (1, "There is no plugin 'parot'; did you mean 'parrot'?\n")
    assert f"crow is not blocked in {tree / '.env'}." in run("plugins", "unblock", "crow").stderr
    assert (tree / ".env").read_bytes() == before


def test_block_says_what_takes_precedence(run: Run) -> None:
    done = run("plugins", "block", "fallback", ZWAIF_BLOCK_PLUGINS="crow")
    assert (
        "Only other plugins answer in an outage then. To undo: zwaif-fallback plugins unblock fallback" in done.stdout
    )
    assert "is also an environment variable, which takes precedence" in done.stdout


def test_only_allowed_plugins_are_imported_and_the_built_in_one(run: Run) -> None:
    done = run("plugins", ZWAIF_ALLOW_PLUGINS="Parrot, parot")
    rows = {line.split()[0]: " ".join(line.split()[3:]) for line in done.stdout.splitlines()}
    assert rows["parrot"].startswith("active") and rows["fallback"].startswith("active")
    for name in ("crow", "absent", "misspelt"):
        assert rows[name] == "blocked not listed in ZWAIF_ALLOW_PLUGINS"
    assert "the crow is imported" not in done.stderr
    assert (
        done.stderr
        == "ZWAIF_ALLOW_PLUGINS names 'parot', but there is no plugin of that name; did you mean 'parrot'?\n"
    )


def test_a_single_file_is_a_plugin(run: Run, owls: Path) -> None:
    for found in (
        run("plugins", "--plugins-dir", "one-off", "--json"),
        run("plugins", "--json", ZWAIF_PLUGINS_DIR=str(owls)),
    ):
        (owl,) = [one for one in json.loads(found.stdout) if one["name"] == "owl"]
        assert owl["state"] == "active" and owl["hooks"] == ["on_primary_failure"]
        assert (owl["package"], owl["version"], owl["module"]) == ("owl.py", "", str(owls / "owl.py"))
        assert not [one for one in json.loads(found.stdout) if "helper" in one["name"]]


@pytest.mark.parametrize("writable", ["one-off", "one-off/owl.py"])
def test_a_folder_that_others_can_write_is_refused(run: Run, owls: Path, tmp_path: Path, writable: str) -> None:
    let_others_write(tmp_path / writable)
    done = run("plugins", "--json", ZWAIF_PLUGINS_DIR=str(owls))
    assert "owl" not in [one["name"] for one in json.loads(done.stdout)]
    assert f"other users can change {tmp_path / writable}. Move it to a folder that only you can change" in done.stderr


def test_a_folder_that_is_not_there_is_told(run: Run) -> None:
    assert "owls is not a full path" in run("plugins", ZWAIF_PLUGINS_DIR="owls").stderr
    assert "there is no folder /no/such/folder" in run("plugins", ZWAIF_PLUGINS_DIR="/no/such/folder").stderr
    for command in (["plugins"], ["plugins", "check", "owl"]):
        done = run(*command, "--plugins-dir", "/no/such/folder")
        assert (done.returncode, "There is no folder /no/such/folder." in done.stderr) == (2, True), done.stderr


def test_status_and_doctor_name_the_plugins_and_what_is_wrong(run: Run) -> None:
    done = run("status", ZWAIF_BLOCK_PLUGINS="parrot")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("Plugins ")]
    for part in (
        "crow 1.2.3,",
        "parrot 0.1.0 (blocked)",
        "absent 1.2.3 (broken)",
        "misspelt 1.2.3 (a hook is not called)",
    ):
        assert part in line
    checks = {check["name"]: check for check in json.loads(run("doctor", "--json").stdout)["checks"]}
    assert checks["plugins"]["state"] == "warning"
    assert "Plugin 'absent' could not be loaded" in json.dumps(checks["plugins"])
    assert "'on_primary_failur'" in json.dumps(checks["plugins"])
    assert "Problem: Plugin 'absent' could not be loaded and is left out: No module named" in done.stdout


# --- check ------------------------------------------------------------------------------------------------------------


def test_check_passes_a_good_plugin_and_says_that_it_is_blocked(run: Run) -> None:
    done = run("plugins", "check", "Parrot", ZWAIF_BLOCK_PLUGINS="parrot")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "ok       found: zwaif-parrot 0.1.0 (zwaif_parrot)"
    assert "ok       settings: PARROT_NAME" in lines and lines[-1] == "parrot can be used."
    assert "warning  blocked: Z-Waif does not load it: it is listed in ZWAIF_BLOCK_PLUGINS" in lines


def test_check_tells_every_fault(run: Run) -> None:
    done = run("plugins", "check", "misspelt", "--json")
    facts = json.loads(done.stdout)
    failed = [check["text"] for check in facts["checks"] if check["state"] == "fail"]
    assert (done.returncode, facts["failed"], len(failed)) == (1, 3, 3)
    for part in (
        "there is no hook 'on_primary_failur'",
        "MISSPELT_SIZE is left out: it has no help",
        "CHAR_NAME is left",
    ):
        assert [line for line in failed if part in line], part
    warned = [check["text"] for check in facts["checks"] if check["state"] == "warning"]
    assert "its say_while_waiting takes request as str, but gets ChatRequest" in warned


def test_check_looks_at_engines(run: Run, owls: Path) -> None:
    (owls / "owl.py").write_text(HALF_USABLE, encoding="utf-8")
    done = run("plugins", "check", "owl", "--plugins-dir", str(owls))
    assert done.returncode == 1
    assert "FAIL     engines: failed in register_engines: EngineSpec 'Bad Owl'" in done.stdout
    assert "FAIL     settings: its setting OWL_A is left out: it declares that name twice" in done.stdout
    (owls / "owl.py").write_text(OWL + ENGINES, encoding="utf-8")
    rows = run("plugins", "check", "owl", "--plugins-dir", str(owls)).stdout.splitlines()
    assert {"ok       engines: lists: big, small", "ok       engines: own: one"} <= set(rows)
    lost = "FAIL     engines: lost: zwaif_no_such_module:Owl cannot be imported: No module named 'zwaif_no_such_module'"
    assert lost in rows


def test_chat_finds_the_engine_of_a_single_file_by_its_models_name(run: Run, owls: Path) -> None:
    (owls / "owl.py").write_text(OWL + ENGINES, encoding="utf-8")
    done = run("chat", "Hello", "--model", "lost:mm", "--plugins-dir", str(owls))
    assert "There is no model" not in done.stderr, done.stderr


def test_check_of_one_that_cannot_be_imported(run: Run) -> None:
    done = run("plugins", "check", "absent")
    assert done.returncode == 1
    assert "FAIL     import: could not be loaded and is left out: No module named" in done.stdout
    assert "Traceback" not in done.stderr
    assert "Traceback" in run("--debug", "plugins", "check", "absent").stderr
    assert "There is no plugin 'absnt'; did you mean 'absent'?" in run("plugins", "check", "absnt").stderr


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (
            "return ' '.join(message.content for message in messages) + partial",
            "ok       prompt_format: its prompts are",
        ),
        ("return messages[-1].content + partial", "warning  prompt_format: its prompt_format leaves out the system"),
        (
            "return ' '.join(message.content for message in messages)",
            "FAIL     prompt_format: failed in prompt_format: the prompt does not end with",
        ),
    ],
)
def test_check_tries_the_chat_format(run: Run, owls: Path, body: str, line: str) -> None:
    code = f"import zwaif_hooks as zw\n\ndef render(messages, partial):\n    {body}\n\n"
    code += "@zw.hookimpl\ndef prompt_format(model):\n    return zw.PromptFormat(render)\n"
    (owls / "owl.py").write_text(code, encoding="utf-8")
    done = run("plugins", "--plugins-dir", str(owls), "check", "owl")
    assert [one for one in done.stdout.splitlines() if one.startswith(line)], done.stdout
    assert done.returncode == line.startswith("FAIL")


# --- try and trace ----------------------------------------------------------------------------------------------------


def test_try_shows_the_answer_and_who_gave_it(run: Run) -> None:
    done = run("plugins", "try", "crow", "Crow, hello")
    assert (done.returncode, done.stdout) == (0, "Caw caw!\n"), done.stderr
    assert "[crow: first words after 0." in done.stderr
    facts = json.loads(run("plugins", "try", "crow", "Crow, hello", "--json").stdout)
    assert (facts["text"], facts["answered_by"], facts["errors"]) == ("Caw caw!", "crow", [])
    assert 0 <= facts["first_text_after"] <= facts["finished_after"] < 10


def test_try_tells_errors_in_words(run: Run) -> None:
    for message, line in (
        ("fail", "Plugin 'crow' failed in on_primary_failure, which is skipped for 30 s: the crow lost its voice"),
        (
            "break off",
            "Plugin 'crow' failed in the middle of its answer; its on_primary_failure is skipped for 30 s: "
            "the crow flew away",
        ),
        ("hello", "crow has no answer to that (None): the next plugin is asked."),
    ):
        done = run("plugins", "try", "crow", message)
        assert done.returncode == 1 and line in done.stderr.splitlines(), done.stderr


def test_try_of_one_that_answers_nobody_says_so_besides_its_faults(run: Run) -> None:
    told = run("plugins", "try", "misspelt", "Hello").stderr.splitlines()
    assert "misspelt has no on_primary_failure: the next plugin is asked." in told
    assert [line for line in told if "did you mean 'on_primary_failure'?" in line]


def test_try_of_one_that_cannot_be_loaded_and_of_the_built_in_one(run: Run) -> None:
    assert "Plugin 'absent' could not be loaded" in run("plugins", "try", "absent", "Hello").stderr
    assert "zwaif-fallback chat" in run("plugins", "try", "fallback", "Hello").stderr


def test_try_of_a_single_file(run: Run, owls: Path) -> None:
    assert run("plugins", "--plugins-dir", str(owls), "try", "owl", "Hello").stdout == "Hoo hoo!\n"


def test_trace_shows_the_calls(run: Run) -> None:
    lines = run("plugins", "trace", "Polly, hello").stdout.splitlines()
    calls = [line for line in lines if line.startswith("[trace] ")]
    assert [line for line in calls if re.match(r"\[trace\] crow: on_primary_failure, [0-9.]+ ms --> None \(", line)]
    assert [line for line in calls if re.match(r"\[trace\] parrot: on_primary_failure, .* --> <generator", line)]
    assert lines[-1].rstrip() == "The reply: Squawk! hello! hello!"
    assert "ZWAIF_TRACE_PLUGINS = 1" in run("plugins", "trace").stdout


@pytest.mark.parametrize("words", [("plugins", "try", "crow"), ("chat",)])
def test_the_variable_shows_the_calls_in_try_and_chat(run: Run, tree: Path, words: tuple[str, ...]) -> None:
    env_file.write(tree / ".env", "ZWAIF_TRACE_PLUGINS", "1")
    done = run(*words, "Crow, hello", "--json")
    facts = json.loads(done.stdout)
    assert (done.returncode, facts["text"], facts.get("errors", [])) == (0, "Caw caw!", []), "a trace is no error"
    assert re.search(r"\[trace\] crow: on_primary_failure, [0-9.]+ ms -->", done.stderr)
    assert "[trace]" not in run(*words, "Crow, hello", "--json", ZWAIF_TRACE_PLUGINS="OFF").stderr


# --- chat and test ----------------------------------------------------------------------------------------------------


def test_chat_asks_the_plugins_before_the_model(run: Run, owls: Path) -> None:
    words = ("chat", "Crow, hello", "--json")
    facts = json.loads(run(*words).stdout)
    assert (facts["text"], facts["answered_by"]) == ("Caw caw!", "crow")
    single = json.loads(run(*words, "--plugins-dir", str(owls), ZWAIF_BLOCK_PLUGINS="crow").stdout)
    assert (single["text"], single["answered_by"]) == ("Hoo hoo!", "owl")


def test_in_chat_the_model_goes_on_for_a_plugin_that_fails(run: Run) -> None:
    done = run("chat", "break off", "--json")
    facts = json.loads(done.stdout)
    assert facts["text"].startswith("Caw ") and len(facts["text"]) > len("Caw ")
    assert facts["answered_by"] not in ("crow", "", "unknown")
    assert "Plugin 'crow' failed in the middle of its answer" in done.stderr
    assert "Plugin 'absent' could not be loaded" in done.stderr


SCRIPT = """
import pathlib
from dataclasses import replace

import zwaif_hooks as zw

NOTES = pathlib.Path(__file__).with_name("notes.txt")


def render(messages, partial):
    return "".join(f"|{message.role}| {message.content}\\n" for message in messages) + "|assistant| " + partial


def note(line):
    with NOTES.open("a") as file:
        file.write(line + "\\n")


@zw.hookimpl
def prompt_format(model):
    return zw.PromptFormat(render, ("|user|",))


@zw.hookimpl
def before_request(request):
    *others, newest = request.messages
    return replace(request, messages=(*others, replace(newest, content=newest.content.upper())))


@zw.hookimpl
def fallback_answered(record):
    note(f"fallback_answered {record.plugin}")


@zw.hookimpl
def will_answer(failure):
    note(f"will_answer {failure is not None}")


@zw.hookimpl
def sentence_spoken(text, by):
    note(f"sentence_spoken {by}")


@zw.hookimpl
def turn_finished(record):
    note(f"turn_finished {bool(record.answered_by)}")


@zw.hookimpl
def zwaif_stopping():
    note("zwaif_stopping")
"""


def test_chat_writes_prompts_and_calls_the_hooks_of_a_reply_as_an_outage_does(run: Run, owls: Path) -> None:
    (owls / "owl.py").write_text(SCRIPT, encoding="utf-8")
    words = ("chat", "Hello, who are you?", "--model", "demo", "--json", "--plugins-dir", str(owls))
    done = run(*words, "--show-prompt", ZWAIF_BLOCK_PLUGINS="crow")
    assert json.loads(done.stdout)["text"]
    prompt, _, stops = done.stderr.partition("[The prompt:]\n")[2].partition("\n[What ends the reply: ")
    assert "\n|user| " in prompt and "HELLO, WHO ARE YOU?" in prompt and prompt.endswith("\n|assistant| ")
    assert "'|user|'" in stops
    asked, *spoken, answered, finished, stopping = (owls / "notes.txt").read_text().splitlines()
    assert asked == "will_answer True" and {"sentence_spoken fallback"} == set(spoken)
    assert (answered, finished) == ("fallback_answered fallback", "turn_finished True")
    assert stopping == "zwaif_stopping"
    own = run(*words, "--show-prompt", ZWAIF_BLOCK_PLUGINS="crow, owl").stderr
    assert "Hello, who are you?" in own and "\n<|user|>\n" in own and "\n|user| " not in own
    assert "[The prompt:]" not in run(*words, ZWAIF_BLOCK_PLUGINS="crow").stderr


def test_try_calls_the_hooks_of_a_reply_as_an_outage_does(run: Run, owls: Path) -> None:
    told = SCRIPT + "\n@zw.hookimpl\ndef on_primary_failure(request):\n    return request.messages[-1].content + '.'\n"
    (owls / "owl.py").write_text(told, encoding="utf-8")
    done = run("plugins", "--plugins-dir", str(owls), "try", "owl", "Hoo")
    assert done.stdout == "HOO.\n", done.stderr
    lines = ["sentence_spoken owl", "fallback_answered owl", "turn_finished True", "zwaif_stopping"]
    assert (owls / "notes.txt").read_text().splitlines() == lines


def test_a_plugin_that_does_not_stop_does_not_keep_chat_from_ending(run: Run, owls: Path) -> None:
    stuck = "\n@hookimpl\ndef zwaif_stopping():\n    import threading\n    threading.Event().wait()\n"
    (owls / "owl.py").write_text(OWL + stuck, encoding="utf-8")
    done = run("chat", "Hello", "--json", "--plugins-dir", str(owls), ZWAIF_ALLOW_PLUGINS="owl")
    assert json.loads(done.stdout)["text"] == "Hoo hoo!"
    assert "Plugin 'owl': it did not finish zwaif_stopping within 2 s" in done.stderr
    assert "'parrot': it did not finish" not in done.stderr


def test_test_names_broken_plugins(tree: Path, site: Path, monkeypatch: pytest.MonkeyPatch, owls: Path) -> None:
    monkeypatch.syspath_prepend(str(site))
    with pytest.raises(selftest.CheckFailed, match="Plugin 'absent' could not be loaded and is left out: No module"):
        selftest.check_plugins(selftest.Place(owls, tree))
    monkeypatch.setenv("ZWAIF_ALLOW_PLUGINS", "parrot, owl")
    assert "owl" in selftest.check_plugins(selftest.Place(owls, tree, str(owls)))


# --- new --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The Python of a new environment that finds what is installed in this one."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=os.name != "nt")
    python = tmp_path / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    where = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    added = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (Path(where.stdout.strip()) / "this_environment.pth").write_text(added, encoding="utf-8")
    return python


def test_a_new_package_passes_its_own_tests_in_a_fresh_environment(fresh: Path, tmp_path: Path) -> None:
    made = command_without_tree("new", "my-parrot", "--in", str(tmp_path / "new"))
    package = tmp_path / "new" / "zwaif-my-parrot"
    assert made.returncode == 0 and f"{package} is made." in made.stdout, made.stderr
    place = r"venv\Scripts\python" if os.name == "nt" else "venv/bin/python"
    assert f'  {place} -m pip install -e "{package}[test]"' in made.stdout
    described = (package / "pyproject.toml").read_text(encoding="utf-8")
    assert 'keywords = ["z-waif", "zwaif-plugin"]' in described and 'license = "MIT"' in described
    pip = [sys.executable, "-m", "pip", "--python", str(fresh), "install", "--no-index", "--no-deps"]
    mypy = [str(fresh), "-m", "mypy", "--config-file", str(package / "pyproject.toml")]
    env = {**os.environ, "MYPYPATH": str(Path(zwaif_hooks.__file__).parents[1])}  # mypy follows no .pth to a checkout
    for words in (
        [*pip, "--no-build-isolation", "--disable-pip-version-check", str(package)],
        [str(fresh), "-m", "pytest", "-q", "-p", "no:cacheprovider", str(package / "tests")],
        [*mypy, str(package / "zwaif_my_parrot.py")],
        [str(fresh), "-m", "zwaif_fallback", "plugins", "check", "my-parrot"],
    ):
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "ok       found: zwaif-my-parrot 0.1.0 (zwaif_my_parrot)" in done.stdout
    tried = [str(fresh), "-m", "zwaif_fallback", "plugins", "try", "my-parrot", "my-parrot, hello"]
    assert subprocess.run(tried, cwd=tmp_path, capture_output=True, text=True).stdout == "You said: hello.\n"
    workflow = yaml.safe_load((package / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    assert [step["run"] for step in workflow["jobs"]["tests"]["steps"] if "run" in step][-1].endswith("check my-parrot")


def test_new_overwrites_nothing_and_checks_the_name(tmp_path: Path) -> None:
    (tmp_path / "zwaif-owl").mkdir()
    for name, line in (
        ("owl", f"{tmp_path / 'zwaif-owl'} exists already."),
        ("My Parrot", "is no name for a plugin"),
        ("fallback", "There is already a plugin 'fallback'"),
    ):
        done = command_without_tree("new", name, "--in", str(tmp_path))
        assert done.returncode == 1 and line in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["zwaif-owl"]


def command_without_tree(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zwaif_fallback", "plugins", *words], capture_output=True, text=True, timeout=120
    )
