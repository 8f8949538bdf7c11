"""What a console gets: colours where it can show them, plain text where it cannot, and a start that costs little."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from zwaif_fallback.cli import console

ROOT = Path(__file__).parents[2]


class Stream(io.StringIO):
    """A console, or not, with the encoding it says."""

    def __init__(self, encoding: str = "utf-8", terminal: bool = True) -> None:
        super().__init__()
        self._encoding, self._terminal = encoding, terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize(
    ("stream", "environ", "plain"),
    [
        (Stream(), {}, False),
        (Stream(), {"TERM": "xterm-256color"}, False),
        (Stream(terminal=False), {}, True),
        (Stream("cp1252"), {}, True),
        (Stream("no-such-encoding"), {}, True),
        (Stream(), {"NO_COLOR": "1"}, True),
        (Stream(), {"NO_COLOR": ""}, False),
        (Stream(), {"TERM": "dumb"}, True),
    ],
)
def test_which_console_gets_plain_text(stream: Stream, environ: dict[str, str], plain: bool) -> None:
    assert console.is_plain(stream, environ) is plain


def test_a_closed_stream_gets_plain_text() -> None:
    stream = io.StringIO()
    stream.close()
    assert console.is_plain(stream, {})


def terminal(monkeypatch: pytest.MonkeyPatch, columns: int = 60) -> Stream:
    """No fixture: pytest puts its own stream in place between fixtures and test."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Stream()
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


def test_colours_and_tables_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch, columns=80)
    console.say("[odd] text :smile:", "red")
    console.table(("Name", "Value"), [("API_FALLBACK_FIRST_TOKEN_TIMEOUT", "z" * 40)], ("bold",))
    shown = stream.getvalue()
    assert "API_FALLBACK_FIRST_TOKEN_TIMEOUT" in shown
    assert "\x1b[31m[odd] text :smile:" in shown, "neither markup nor emoji codes are read into the user's text"
    assert "\x1b[1m" in shown and "Name" in shown
    assert "z" * 40 in shown


def test_a_line_is_never_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """People copy commands out of it."""
    stream = terminal(monkeypatch)
    console.say("zwaif-fallback download " + "a" * 100, "green")
    assert "a" * 100 in stream.getvalue()


@pytest.mark.parametrize("columns", [20, 60, 80])
@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_name_is_broken_where_a_console_is_narrow(
    columns: int, no_color: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = terminal(monkeypatch, columns)
    monkeypatch.setenv("NO_COLOR", no_color)
    name = "someone/a-model-with-a-name-that-is-longer-than-a-narrow-console-has-columns-GGUF:file.gguf"
    console.table(("", "Name", "Size", "Now"), [("1*", name, "1.5B", "CPU only, about 20 tokens/s")], names=2)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()
    assert lines[0] == f"1*  {name}"
    assert " ".join(" ".join(lines[1:]).split()) == "Size 1.5B; Now CPU only, about 20 tokens/s"
    assert all(len(line) <= max(columns, 24) for line in lines[1:])


def test_a_table_as_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(terminal=False)
    monkeypatch.setattr(sys, "stdout", stream)
    console.table(("Name", "Value"), [("long name", "1"), ("b", "")])
    assert stream.getvalue() == "Name       Value\nlong name  1\nb\n"


@pytest.mark.skipif(os.name == "nt", reason="opens a POSIX terminal")
@pytest.mark.parametrize(
    ("environ", "coloured"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm-256color", "PYTHONIOENCODING": "cp1252"}, False),
    ],
)
def test_on_a_real_terminal(environ: dict[str, str], coloured: bool, tmp_path: Path) -> None:
    import pty

    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "hooks")]), "ZWAIF_PLUGINS": "OFF"}
    for name in ("NO_COLOR", "PYTHONIOENCODING"):
        env.pop(name, None)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "zwaif_fallback", "settings", "show"]
    shown = b""
    with subprocess.Popen(command, env={**env, **environ}, stdout=theirs, stderr=theirs, cwd=tmp_path) as child:
        os.close(theirs)
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # Linux's way to say that the other end was closed
            assert shown
        os.close(ours)
        assert child.wait(30) == 0
    assert b"API_FALLBACK_ENABLED" in shown
    assert (b"\x1b[" in shown) is coloured


def modules_after(*arguments: str) -> set[str]:
    code = f"""
import sys
from zwaif_fallback.cli import main
try:
    main.main({list(arguments)!r})
except SystemExit:
    pass
print("\\n" + " ".join(sys.modules))
"""
    path = os.pathsep.join([str(ROOT), str(ROOT / "hooks")])
    env: dict[str, Any] = {**os.environ, "PYTHONPATH": path, "ZWAIF_PLUGINS": "OFF"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {"torch", "transformers", "huggingface_hub", "gradio", "requests", "rich", "psutil", "platformdirs", "dotenv"}


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("arguments", [["--help"], ["doctor", "--help"], ["settings"]])
def test_help_imports_next_to_nothing(arguments: list[str]) -> None:
    """Counted, not timed: beyond what Python itself brings, ``argparse`` and our own small files."""
    loaded = modules_after(*arguments)
    assert not loaded & HEAVY
    assert len([name for name in loaded if name.startswith(("zwaif_fallback", "zwaif_hooks"))]) < 24
    assert len(loaded) < 160
