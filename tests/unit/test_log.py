"""One plain line, wherever it can be shown, and never an exception."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import platformdirs
import pytest

from zwaif_hooks import log
from zwaif_hooks.host import debug_tab, tree


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    monkeypatch.setattr(log, "_said", set())
    monkeypatch.setattr(platformdirs, "user_log_dir", lambda *_, **__: str(tmp_path / "logs"))


@pytest.fixture
def zwaif(tmp_path: Path) -> Path:
    for marker in tree.MARKERS:
        (tmp_path / marker).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / marker).touch()
    return tmp_path


def host_log(monkeypatch, name: str, folder: Path) -> list[str]:
    module = ModuleType(name)
    module.__file__ = str(folder / "utils" / f"{name.rpartition('.')[2]}.py")
    lines: list[str] = []
    module.update_debug_log = lines.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(log, "_listeners", [debug_tab.add_line])
    return lines


def test_a_line_reaches_the_console_and_logging(capsys, caplog):
    caplog.set_level(logging.DEBUG, "zwaif")
    log.say("The server is back.")
    assert capsys.readouterr().out == "[API] The server is back.\n"
    assert caplog.messages == ["The server is back."]


@pytest.mark.parametrize("name", ["utils.zw_logging", "utils.logging"])
def test_a_line_reaches_the_debug_tab(monkeypatch, zwaif, name):
    lines = host_log(monkeypatch, name, zwaif)
    log.say("hello")
    assert lines == ["[API] hello"]


def test_the_newer_debug_log_is_enough(monkeypatch, zwaif):
    old, new = host_log(monkeypatch, "utils.logging", zwaif), host_log(monkeypatch, "utils.zw_logging", zwaif)
    log.say("hello")
    assert (old, new) == ([], ["[API] hello"])


def test_a_module_of_that_name_elsewhere_gets_nothing(monkeypatch, tmp_path):
    lines = host_log(monkeypatch, "utils.logging", tmp_path / "another program")
    log.say("hello")
    assert lines == []


def test_a_debug_log_that_raises_costs_nothing(monkeypatch, zwaif, capsys):
    host_log(monkeypatch, "utils.zw_logging", zwaif)
    monkeypatch.setattr(sys.modules["utils.zw_logging"], "update_debug_log", lambda _: 1 / 0)
    log.say("hello")
    assert capsys.readouterr().out == "[API] hello\n"


def test_a_console_that_cannot_show_a_character(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252", newline=""))
    log.say("Zoë 🦊 猫")
    assert raw.getvalue() == "[API] Zoë ? ?\n".encode("cp1252")


@pytest.mark.parametrize("stream", [None, io.StringIO(), "closed"])
def test_a_missing_or_closed_console(monkeypatch, stream):
    if stream == "closed":
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    log.say("hello")
    assert stream is None or stream.closed or stream.getvalue() == "[API] hello\n"


def test_once_means_once(capsys):
    log.say_once("key", "first")
    log.say_once("key", "second")
    log.say_once("other", "third")
    assert capsys.readouterr().out == "[API] first\n[API] third\n"


def failure() -> RuntimeError:
    try:
        raise RuntimeError("the cause 🦊")
    except RuntimeError as error:
        return error


def test_a_report_says_where_the_traceback_is(capsys):
    log.report("It broke.", failure())
    path = log.log_path()
    assert capsys.readouterr().out == f"[API] It broke. (Details: {path})\n"
    details = path.read_text(encoding="utf-8")
    assert "It broke." in details
    assert "RuntimeError: the cause 🦊" in details
    assert 'raise RuntimeError("the cause' in details


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImportError("No module named 'pluggy'"), "No module named 'pluggy'"),
        (ValueError("first line\nsecond"), "first line second"),
        (KeyError("x"), "KeyError 'x'"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_an_exception_in_words(error, words):
    assert log.in_words(error) == words


def test_a_report_without_an_exception_writes_no_file(capsys):
    log.report("Just a line.")
    assert capsys.readouterr().out == "[API] Just a line.\n"
    assert not log.log_path().exists()


def test_a_folder_that_cannot_be_made_costs_only_the_file(monkeypatch, tmp_path, capsys):
    (tmp_path / "logs").write_text("a file in the way")
    log.report("It broke.", failure())
    assert capsys.readouterr().out == "[API] It broke.\n"


def test_a_full_disk_reaches_nobody(monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log.files, "append", full)
    log.report("It broke.", failure())
    captured = capsys.readouterr()
    assert captured.out == "[API] It broke.\n"
    assert captured.err == ""


REPORTING = """
import sys
import platformdirs
platformdirs.user_log_dir = lambda *_, **__: sys.argv[1]
from zwaif_hooks import log
log.LARGEST_FILE = 30_000
for number in range(200):
    log.report(f"{sys.argv[2]} line {number}.", RuntimeError("x" * 60))
"""


def test_zwaif_and_a_command_write_at_once_and_every_entry_is_there(tmp_path):
    commands = [[sys.executable, "-c", REPORTING, str(tmp_path), who] for who in ("zwaif", "chat")]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    assert [process.wait(60) for process in running] == [0, 0]
    text = "".join(file.read_text(encoding="utf-8") for file in tmp_path.glob("zwaif_fallback.log*"))
    assert sorted(re.findall(r"(\w+ line \d+)\.\n", text)) == sorted(
        f"{who} line {number}" for who in ("zwaif", "chat") for number in range(200)
    )
    assert log.log_path().name == "zwaif_fallback.log" and len(list(tmp_path.glob("zwaif_fallback.log*"))) > 1


def test_lines_of_many_threads_stay_whole(capsys):
    threads = [threading.Thread(target=lambda: [log.say("x" * 50) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert capsys.readouterr().out == ("[API] " + "x" * 50 + "\n") * 200


# --- lines of their own ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["You (mic) >", "Hello, how ", "\x1b[32mYou \x1b[39m", "a\nb"])
def test_a_line_is_never_glued_behind_what_was_printed(capsys, before):
    log.watch_console()
    print(before, end="")
    log.say("The server is back.")
    assert capsys.readouterr().out == f"{before}\n[API] The server is back.\n"


@pytest.mark.parametrize("before", ["", "Hello.\n", "Hello.\n\x1b[39m", "\n\n"])
def test_no_line_is_left_empty_before_it(capsys, before):
    log.watch_console()
    print(before, end="")
    log.say("The server is back.")
    log.say("And answers.")
    assert capsys.readouterr().out == f"{before}[API] The server is back.\n[API] And answers.\n"


def test_a_console_that_cannot_be_watched_is_written_to_all_the_same(monkeypatch):
    class Fixed:
        __slots__ = ("lines",)
        encoding = "utf-8"

        def __init__(self) -> None:
            self.lines: list[str] = []

        def write(self, text: str) -> None:
            self.lines.append(text)

        def flush(self) -> None:
            pass

    console = Fixed()
    monkeypatch.setattr(sys, "stdout", console)
    log.say("hello")
    assert console.lines == ["[API] hello\n"]


def test_a_host_whose_logging_prints_shows_each_line_once():
    """As Z-Waif v1.14-R4 does."""
    code = (
        "import logging, sys; logging.basicConfig(level=logging.INFO, stream=sys.stdout); "
        "from zwaif_hooks import log; log.say('hello')"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert shown == "[API] hello\n"
