"""Doctor itself, and its checks of Z-Waif, servers and files: each where all is well, and where it is not."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.doctor_scene import assert_useful, situation, z_waif
from zwaif_fallback.answering import who_speaks
from zwaif_fallback.cli import main
from zwaif_fallback.cli.doctor import summary
from zwaif_fallback.cli.selftest import unused_port
from zwaif_fallback.demo import MODEL
from zwaif_fallback.doctor import checks, child_process, env_file, log_file, pictures, plugins, restart, servers, zwaif
from zwaif_fallback.doctor.checks import CHECKS, Check, examine
from zwaif_fallback.doctor.child_process import HookState
from zwaif_fallback.doctor.findings import Finding, ok
from zwaif_fallback.doctor.redaction import shareable
from zwaif_fallback.doctor.situation import Situation
from zwaif_fallback.settings import SETTINGS
from zwaif_fallback.standin.launch import environment
from zwaif_hooks import log


@pytest.fixture(autouse=True)
def own_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in [setting.name for setting in SETTINGS] + ["ZWAIF_PLUGINS", "ZWAIF_BLOCK_PLUGINS", "HOST_PORT"]:
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "log" / "zwaif_fallback.log"
    monkeypatch.setattr(log, "log_path", lambda: path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return path


# --- running them -----------------------------------------------------------------------------------------------------


def test_names_are_unique_and_every_check_is_in_the_table() -> None:
    assert len({check.name for check in CHECKS}) == len({check.title for check in CHECKS}) == len(CHECKS)
    made = {
        function
        for module in (
            env_file,
            log_file,
            checks.libraries,
            checks.local_model,
            pictures,
            plugins,
            restart,
            servers,
            zwaif,
        )
        for name, function in vars(module).items()
        if name.startswith("check_") and function.__module__ == module.__name__
    }
    assert made == {check.look for check in CHECKS}


def test_a_check_that_fails_stops_no_other() -> None:
    def broken(here: Situation) -> Finding:
        raise ZeroDivisionError("by zero")

    two = (Check("a", "A", broken), Check("b", "B", lambda here: ok("fine")))
    (_, first), (_, second) = examine(situation(None), two)
    assert first.state == "warning" and "ZeroDivisionError: by zero" in first.found
    assert first.details == (f"in broken, line {broken.__code__.co_firstlineno + 1} of test_doctor.py",)
    assert_useful(first)
    assert second.found == "fine"


def test_a_machine_on_which_all_is_well(tmp_path: Path) -> None:
    with llm_server(200, {"choices": [{"message": {"content": "Hello"}}]}) as address:
        tree = z_waif(tmp_path, HOST_PORT=address)
        states = {check.name: finding for check, finding in examine(situation(tree))}
    assert {name for name, finding in states.items() if finding.state != "ok"} == {
        "environment",
        "fallback_host",
        "llama",
        "llama_server",
        "pictures",
        "restart",
    }


def test_the_exit_status_and_the_two_ways_to_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Finding("problem", "It is broken", "Nothing works.", "Mend it.", ("and more",))
    two = (Check("good", "Good thing", lambda here: ok("fine")), Check("bad", "Bad thing", lambda here: bad))
    monkeypatch.setattr(checks, "examine", lambda here: examine(here, two))
    assert main.main(["doctor"]) == 1
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0].split() == ["ok", "Good", "thing", "fine"]
    assert lines[1].split() == ["problem", "Bad", "thing", "It", "is", "broken"]
    assert lines[2:5] == ["and more", "Nothing works.", "To do: Mend it."]
    assert lines[-1] == "1 problem, no warnings, 1 ok."
    assert main.main(["doctor", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["problems"], told["warnings"]) == (1, 0)
    assert told["python"] == platform.python_version() and told["version"] and told["system"]
    assert told["checks"][1] == {
        "name": "bad",
        "title": "Bad thing",
        "state": "problem",
        "found": "It is broken",
        "meaning": "Nothing works.",
        "remedy": "Mend it.",
        "details": ["and more"],
    }
    monkeypatch.setattr(checks, "examine", lambda here: examine(here, two[:1]))
    assert main.main(["doctor"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "host", ["https://ann:sk-login@127.0.0.1:9/v1?key=sk-query", "http://ann:sk-login@nowhere here"]
)
def test_a_report_holds_no_key_and_no_name_of_the_user(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "Ann Example"
    keys = {"API_FALLBACK_API_KEY": "sk-own-key", "API_FALLBACK_API_KEYS": "sk-misspelt", "HF_TOKEN": "hf_token"}
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.setattr(log, "log_path", lambda: home / "log" / "zwaif_fallback.log")
    with llm_server(401, {"error": {"message": "Incorrect key: sk-own-key"}}) as address:
        tree = z_waif(
            home, API_FALLBACK_MODEL=str(home / "gone.gguf"), HOST_PORT=address, API_FALLBACK_HOST=host, **keys
        )
        assert main.main(["doctor", "--json", "--zwaif", str(tree)]) == 1
    told = capsys.readouterr().out
    for quoted in ("gone.gguf", "Incorrect key", "API_FALLBACK_API_KEYS is not a setting", "API_FALLBACK_HOST"):
        assert quoted in told
    assert [word for word in ("sk-", "hf_token", "ann:", "Ann Example") if word in told] == []


def test_a_server_that_is_its_own_stand_in_is_named_without_its_key(tmp_path: Path) -> None:
    tree = z_waif(
        tmp_path, HOST_PORT="127.0.0.1:9", API_FALLBACK_HOST="https://ann:sk-login@127.0.0.1:9/v1?key=sk-query"
    )
    found = servers.check_fallback_host(situation(tree)).found
    assert shareable([found], {}) == ["https://127.0.0.1:9/v1 is your main server"]


@pytest.mark.parametrize(
    ("home", "text", "shown"),
    [
        ("/home/ann", "no model at /home/ann/models/x.gguf.", "no model at ~/models/x.gguf."),
        ("/home/ann", "in /home/ann", "in ~"),
        ("/home/ann", "/home/anna/x and /mnt/home/ann/x", "/home/anna/x and /mnt/home/ann/x"),
        (
            r"C:\Users\Ann B",
            r"at C:\Users\Ann B\x, c:/users/ann b/y and 'C:\\Users\\Ann B\\z'",
            r"at ~\x, ~/y and '~\\z'",
        ),
        ("/", "in /srv/x", "in /srv/x"),
    ],
)
def test_the_home_folder_is_a_tilde(home: str, text: str, shown: str) -> None:
    assert shareable({"checks": [{"found": text, "details": (text,), "count": 1}]}, {}, home) == {
        "checks": [{"found": shown, "details": [shown], "count": 1}]
    }


def test_the_summary() -> None:
    assert summary(Counter(problem=2, warning=1, ok=3, skipped=4)) == "2 problems, 1 warning, 3 ok, 4 skipped."


# --- other processes --------------------------------------------------------------------------------------------------


def test_a_library_is_imported_elsewhere() -> None:
    child_process.import_in_a_child.cache_clear()
    assert child_process.import_in_a_child("json").error == ""
    assert "json.tool" not in sys.modules
    assert child_process.import_in_a_child("json.tool").error == "" and "json.tool" not in sys.modules


def test_a_library_that_is_broken_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zw_broken.py").write_text("raise RuntimeError('first line\\nsecond line')\n")
    (tmp_path / "zw_crash.py").write_text("import os, sys\nprint('torn', file=sys.stderr)\nos._exit(3)\n")
    (tmp_path / "zw_leaves.py").write_text("raise SystemExit(0)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert child_process.import_in_a_child("zw_broken").error == "RuntimeError: first line"
    assert child_process.import_in_a_child("zw_crash").error == "exit code 3 (torn)"
    assert child_process.import_in_a_child("zw_leaves").error.startswith("SystemExit")
    assert "ModuleNotFoundError" in child_process.import_in_a_child("zw_absent").error


def test_a_library_that_hangs_is_given_up(tmp_path: Path) -> None:
    answer, error = child_process._answer(["import time; time.sleep(600)"], dict(os.environ), seconds=0.5)
    assert answer is None and error == "it did not finish within 0 s"


def test_the_start_up_line_is_looked_for_in_a_real_python(tmp_path: Path) -> None:
    tree = z_waif(tmp_path)
    with_it = {**environment(tmp_path / "site"), "ZWAIF_PLUGINS": "OFF"}
    state = child_process.look_for_the_hook(tree, with_it)
    assert state.active and state.error == "" and "fallback" in state.plugins
    assert Path(state.tree) == tree
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "main.py").write_text("")
    assert child_process.look_for_the_hook(tmp_path / "empty", with_it).tree == ""


# --- Z-Waif -----------------------------------------------------------------------------------------------------------


def test_the_tree_and_its_release(tmp_path: Path) -> None:
    tree = z_waif(tmp_path)
    assert zwaif.check_tree(situation(tree)).found == f"v1.15 in {tree}"
    (tree / "changelog.txt").write_text("Changelog\n\nv1.99-R2\n", encoding="utf-8")
    newer = zwaif.check_tree(situation(tree))
    assert newer.state == "warning" and newer.found.startswith("v1.99-R2 in ")
    (tree / "changelog.txt").unlink()
    assert "an unknown release" in zwaif.check_tree(situation(tree)).found
    nowhere = zwaif.check_tree(situation(None))
    assert nowhere.state == "warning" and "--zwaif FOLDER" in nowhere.remedy
    for finding in (newer, nowhere):
        assert_useful(finding)


def test_the_releases_that_were_tried_are_those_of_the_changelog() -> None:
    changes = (Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf-8")
    named = changes.partition("Tried through outages with Z-Waif ")[2].partition(", on ")[0]
    releases = re.findall(r"\d+\.\d+(?:-R\d+)?", named)
    assert releases == list(zwaif.TRIED)


def test_the_environment(tmp_path: Path) -> None:
    tree = z_waif(tmp_path)
    assert zwaif.check_environment(situation(tree)).state == "skipped"
    (tree / "venv").mkdir()
    (tree / "venv" / "pyvenv.cfg").write_text("")
    assert zwaif.check_environment(situation(tree, prefix=tree / "venv")).state == "ok"
    other = zwaif.check_environment(situation(tree, prefix=tmp_path))
    assert other.state == "warning" and str(tree / "venv") in other.found
    assert_useful(other)


@pytest.mark.parametrize(
    ("state", "found"),
    [
        (HookState(False), "is not active"),
        (HookState(True, "there", ()), "not registered"),
        (HookState(True, "", ("fallback",)), "does not recognise"),
        (HookState(False, error="exit code 1"), "could not be started in this environment: exit code 1"),
    ],
)
def test_a_start_up_line_that_does_not_work(state: HookState, found: str, tmp_path: Path) -> None:
    finding = zwaif.check_hook(situation(z_waif(tmp_path), hook=lambda tree, environ: state))
    assert finding.state == "problem" and found in finding.found
    assert_useful(finding)


def test_what_was_switched_off(tmp_path: Path) -> None:
    tree = z_waif(tmp_path)
    assert zwaif.check_switches(situation(tree)).state == "ok"
    for environ in ({"ZWAIF_PLUGINS": "off"}, {"ZWAIF_BLOCK_PLUGINS": "other, fallback"}):
        finding = zwaif.check_switches(situation(tree, environ=environ))
        assert finding.state == "problem" and next(iter(environ)) in finding.found
        assert_useful(finding)
    off = zwaif.check_switches(situation(z_waif(tmp_path / "off", API_FALLBACK_ENABLED="OFF")))
    assert off.state == "warning" and "zwaif-fallback enable" in off.remedy
    assert_useful(off)


# --- servers ----------------------------------------------------------------------------------------------------------


@contextmanager
def llm_server(status: int, answer: Any, asked: list[tuple[str, Any]] | None = None) -> Iterator[str]:
    """Gives every question the same answer; ``None`` means that it never answers."""
    done = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if asked is not None:
                asked.append((self.path, body))
            if answer is None:
                done.wait(30)
                return
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Nothing on the test's console."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        done.set()
        server.shutdown()
        thread.join()
        server.server_close()


OPENAI = {"choices": [{"message": {"role": "assistant", "content": "Hello"}}]}


@pytest.mark.parametrize(
    ("env", "answer", "path", "model"),
    [
        ({"API_TYPE": "Oobabooga"}, OPENAI, "/v1/chat/completions", None),
        ({"API_TYPE": "Ollama", "ZW_OLLAMA_MODEL": "mine:8b"}, {"message": {"content": "Hi"}}, "/api/chat", "mine:8b"),
        ({"API_TYPE": "LMStudio", "ZW_LMSTUDIO_MODEL": "gemma"}, OPENAI, "/v1/chat/completions", "gemma"),
    ],
)
def test_a_primary_that_generates(
    env: dict[str, str], answer: Any, path: str, model: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Any]] = []
    with llm_server(200, answer, asked) as address:
        monkeypatch.setattr(servers, "find_lmstudio", lambda: address)
        tree = z_waif(tmp_path, HOST_PORT=address, OLLAMA_HOST=address, **env)
        finding = servers.check_primary(situation(tree))
    assert finding == ok(f"{who_speaks.server_program(env)} at {address} answers")
    ((where, body),) = asked
    assert (where, body.get("model")) == (path, model)


def test_a_primary_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = f"127.0.0.1:{unused_port()}"
    finding = servers.check_primary(situation(z_waif(tmp_path, HOST_PORT=dead)))
    assert finding.state == "warning" and f"Oobabooga at {dead} is down" in finding.found
    assert_useful(finding)
    monkeypatch.setattr(servers, "find_lmstudio", lambda: "")
    finding = servers.check_primary(situation(z_waif(tmp_path / "lm", API_TYPE="LMStudio")))
    assert finding.state == "warning" and finding.found == "LM Studio is down"


def test_a_primary_that_answers_but_does_not_generate(tmp_path: Path) -> None:
    with llm_server(404, {"error": "model 'absent' not found"}) as address:
        tree = z_waif(tmp_path, API_TYPE="Ollama", OLLAMA_HOST=address)
        finding = servers.check_primary(situation(tree))
    assert finding.state == "problem" and "HTTP 404" in finding.found and "'absent' not found" in finding.found
    assert "ZW_OLLAMA_MODEL" in finding.remedy
    assert_useful(finding)
    with llm_server(200, {"status": "loading"}) as address:
        assert servers.check_primary(situation(z_waif(tmp_path / "b", HOST_PORT=address))).state == "problem"


def test_a_primary_that_says_nothing_in_time(tmp_path: Path) -> None:
    with llm_server(200, None) as address:
        tree = z_waif(tmp_path, HOST_PORT=address, API_FALLBACK_FIRST_TOKEN_TIMEOUT="1")
        finding = servers.check_primary(situation(tree))
    assert finding.state == "warning" and "did not answer within 1 s" in finding.found
    assert_useful(finding)


def test_the_fallback_host(tmp_path: Path) -> None:
    assert servers.check_fallback_host(situation(z_waif(tmp_path))).state == "skipped"
    with llm_server(200, OPENAI) as address:
        tree = z_waif(tmp_path / "a", API_FALLBACK_HOST=address, API_FALLBACK_HOST_MODEL="any")
        assert servers.check_fallback_host(situation(tree)) == ok(f"{address} answers")
    finding = servers.check_fallback_host(situation(tree))
    assert finding.state == "warning" and "it is down" in finding.found
    assert_useful(finding)


def test_the_model_for_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pictures.check_pictures(situation(z_waif(tmp_path))).state == "skipped"
    folder = tmp_path / "captions"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "blip"}', encoding="utf-8")
    (folder / "model.safetensors").touch()
    (folder / "tokenizer.json").touch()
    assert (
        pictures.check_pictures(situation(z_waif(tmp_path / "a", API_FALLBACK_VISION_MODEL=str(folder)))).state == "ok"
    )
    for number, model in enumerate(("someone/absent", str(MODEL))):
        tree = z_waif(tmp_path / str(number), API_FALLBACK_VISION_MODEL=model)
        finding = pictures.check_pictures(situation(tree))
        assert finding.state == "warning" and "Salesforce/blip-image-captioning-large" in finding.remedy
        assert_useful(finding)


# --- .env and log -----------------------------------------------------------------------------------------------------


def test_values_in_env(tmp_path: Path) -> None:
    assert env_file.check_env_values(situation(z_waif(tmp_path))).state == "ok"
    tree = z_waif(tmp_path / "bad", API_FALLBACK_THREADS="many", API_FALLBACK_STALL_TIMEOUT="0.1")
    finding = env_file.check_env_values(situation(tree))
    assert finding.state == "problem" and len(finding.details) == 1
    assert "a number from 1 to 600" in finding.found + finding.details[0]
    assert_useful(finding)
    (tree / ".env").write_text("A = 1\n", encoding="utf-16")
    assert "UTF-16" in env_file.check_env_values(situation(tree)).found


def test_names_in_env(tmp_path: Path) -> None:
    assert env_file.check_env_names(situation(z_waif(tmp_path, API_FALLBACK_API_KEY="k"))).state == "ok"
    tree = z_waif(tmp_path / "bad", API_FALLBACK_ENABLD="ON", API_FALLBACK_XYZZY="1")
    with (tree / ".env").open("a", encoding="utf-8") as file:
        file.write("API_FALLBACK_MODEL = other/model\nAPI_FALLBACK_THREADS = 2\n")
    finding = env_file.check_env_names(situation(tree, environ={"API_FALLBACK_THREADS": "3"}))
    assert finding.state == "warning"
    assert [finding.found, *finding.details] == [
        "API_FALLBACK_ENABLD is not a setting; did you mean API_FALLBACK_ENABLED?",
        "API_FALLBACK_XYZZY is not a setting",
        "API_FALLBACK_MODEL appears more than once; the last line counts",
        "API_FALLBACK_THREADS is also set as an environment variable, which takes precedence",
    ]
    assert_useful(finding)
    (tree / ".env").unlink()
    assert env_file.check_env_names(situation(tree)).state == "skipped"


def test_the_log_folder(own_log: Path) -> None:
    assert log_file.check_log_folder(situation(None)).state == "ok"
    own_log.parent.rmdir()
    own_log.parent.write_text("a file in its place")
    finding = log_file.check_log_folder(situation(None))
    assert finding.state == "warning" and str(own_log.parent) in finding.found
    assert_useful(finding)


def test_a_log_with_the_line_ends_of_windows(own_log: Path) -> None:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    own_log.parent.mkdir(exist_ok=True)
    own_log.write_bytes(f"{stamp},123 MainThread It failed.\r\nTraceback\r\n".encode())
    assert [line for _, line in log_file.entries(own_log)] == ["It failed."]


def test_the_last_errors(own_log: Path) -> None:
    assert log_file.check_last_errors(situation(None)).state == "ok"
    for line in ("First failed", "Second failed", "Second failed"):
        log.note(line, ValueError("boom"))
    log.note("127.0.0.1:5000: refused after 0.0 s: connection refused by 127.0.0.1:5000")
    finding = log_file.check_last_errors(situation(None))
    assert finding.state == "warning"
    assert (finding.found, finding.details) == ("Second failed", ("First failed",))
    assert "3 in the last seven days" in finding.meaning and str(own_log) in finding.remedy
    assert_useful(finding)
    in_a_month = time.time() + 30 * 24 * 3600
    assert log_file.check_last_errors(situation(None), lambda: in_a_month).state == "ok"
