"""Files that several processes write, that others hold open, and names that mean something else on Windows."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from zwaif_hooks.storage import files

WRITER = """
import sys
from pathlib import Path
from zwaif_hooks.storage import files
path, who, lines, largest = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
older = [path.with_name(f"{path.name}.{number}") for number in (1, 2)]
for number in range(lines):
    files.append(path, f"{who} {number} {'x' * 90}\\n".encode(), largest, older)
"""


def held(winerror: int = 32) -> PermissionError:
    """As Windows says that another program has the file open."""
    error = PermissionError(13, "The process cannot access the file")
    error.winerror = winerror  # type: ignore[attr-defined]
    return error


def failing(times: int, error: Callable[[], OSError] = held) -> Callable[[], str]:
    left = [error() for _ in range(times)]

    def act() -> str:
        if left:
            raise left.pop()
        return "done"

    return act


# --- held open by others ----------------------------------------------------------------------------------------------


def test_a_file_that_is_held_for_a_moment_is_waited_for() -> None:
    waited: list[float] = []
    assert files.retry_while_open(failing(3), waited.append) == "done"
    assert waited == [0.02, 0.05, 0.1]


def test_a_file_that_is_held_for_ever_is_given_up_in_under_a_second() -> None:
    waited: list[float] = []
    with pytest.raises(PermissionError):
        files.retry_while_open(failing(99), waited.append)
    assert sum(waited) < 1


@pytest.mark.parametrize("error", [lambda: PermissionError(13, "Permission denied"), lambda: held(3)])
def test_what_will_not_pass_is_not_waited_for(error: Callable[[], OSError]) -> None:
    waited: list[float] = []
    with pytest.raises(PermissionError):
        files.retry_while_open(failing(1, error), waited.append)
    assert waited == []


def test_a_reader_on_windows_keeps_no_file_from_being_replaced_once_it_is_done(tmp_path: Path) -> None:
    """On other systems the reader is in nobody's way."""
    path, new = tmp_path / "file", tmp_path / "new"
    path.write_bytes(b"old")
    new.write_bytes(b"new")
    reader = path.open("rb")
    files.replace(new, path, lambda _: reader.close())
    reader.close()
    assert path.read_bytes() == b"new"
    reader = path.open("rb")
    files.remove(path, lambda _: reader.close())
    reader.close()
    assert not path.exists()
    files.remove(path)


def test_a_failed_write_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep" / "file"
    files.write_atomically(path, b"old")

    def refuse(*_: object) -> None:
        raise held()

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError):
        files.write_atomically(path, b"new", wait=lambda _: None)
    assert [(entry.name, entry.read_bytes()) for entry in path.parent.iterdir()] == [("file", b"old")]


# --- written by several processes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("writers", [2, 4])
def test_no_line_of_several_processes_is_lost_or_torn(tmp_path: Path, writers: int) -> None:
    path, each = tmp_path / "x.log", 2000 // writers
    largest = 80_000  # all of it fits into three files, after moving on twice
    commands = [[sys.executable, "-c", WRITER, str(path), str(who), str(each), str(largest)] for who in range(writers)]
    running = [subprocess.Popen(command) for command in commands]
    assert [process.wait(60) for process in running] == [0] * writers
    written = sorted(path.parent.glob("x.log*"))
    lines = [line for file in written for line in file.read_text(encoding="ascii").splitlines()]
    expected = [f"{who} {number} {'x' * 90}" for who in range(writers) for number in range(each)]
    assert Counter(lines) == Counter(expected)
    assert [file.name for file in written] == ["x.log", "x.log.1", "x.log.2"]
    assert all(file.stat().st_size <= largest for file in written)


def test_the_size_is_bounded_also_while_somebody_looks(tmp_path: Path) -> None:
    """On Windows a file that is open in a viewer cannot be renamed."""
    path, older = tmp_path / "x.log", [tmp_path / "x.old"]
    files.append(path, b"0" * 50, 100, older)
    with path.open("rb"):
        for number in range(1, 10):
            files.append(path, str(number).encode() * 50, 100, older)
    assert path.read_bytes() == b"8" * 50 + b"9" * 50
    assert older[0].read_bytes() == b"6" * 50 + b"7" * 50


def test_a_lock_that_is_never_let_go_costs_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.01)
    path = tmp_path / "x.log"
    with files.locked(path):
        with pytest.raises(files.Busy), files.locked(path):
            pass
        files.append(path, b"line", 1, [tmp_path / "x.old"])
    assert path.read_bytes() == b"line"


# --- names ------------------------------------------------------------------------------------------------------------

NAMES = {
    "model.safetensors": "model.safetensors",
    ".env": ".env",
    "Zoë 猫 (1).gguf": "Zoë 猫 (1).gguf",
    "console": "console",
    "com10": "com10",
    "nullable.json": "nullable.json",
    "con": "_con",
    "NUL": "_NUL",
    "Aux.gguf": "_Aux.gguf",
    "com1": "_com1",
    "LPT9.tar.gz": "_LPT9.tar.gz",
    "COM¹": "_COM¹",
    "con .txt": "_con .txt",
    "conout$": "_conout$",
    "model.": "model_",
    "model. .": "model___",
    "model ": "model_",
    "con.": "con_",
    "a:b": "a_b",
    "D:folder": "D_folder",
    "C:": "C_",
    "model.gguf:Zone.Identifier": "model.gguf_Zone.Identifier",
    "a/b": "a_b",
    "a\\b": "a_b",
    "..": "__",
    ".": "_",
    "": "_",
    'a?b*c"d<e>f|g': "a_b_c_d_e_f_g",
    "a\nb\0c": "a_b_c",
}


@pytest.mark.parametrize(("text", "name"), NAMES.items())
def test_what_a_file_is_called(text: str, name: str) -> None:
    assert files.plain_name(text) == name
    assert files.is_plain_name(text) is (text == name)
    assert files.is_plain_name(name), "what is made can be used"


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("model.gguf", True),
        ("original/part 1/model.gguf", True),
        ("a//b", False),
        ("/etc/passwd", False),
        ("../x", False),
        ("a/./b", False),
        ("a\\..\\b", False),
        ("C:/Windows/x", False),
        ("D:x", False),
        ("a/nul/b", False),
        ("a/b:c", False),
        ("a/", False),
    ],
)
def test_which_paths_stay_in_a_folder(path: str, plain: bool) -> None:
    assert files.is_plain_path(path) is plain


@pytest.mark.skipif(sys.platform != "win32", reason="asks Windows itself")
@pytest.mark.parametrize("name", [name for name in NAMES.values() if name not in ("__", "_")])
def test_windows_takes_every_name_that_is_called_plain(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
