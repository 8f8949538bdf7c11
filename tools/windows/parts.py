"""What is tried in the Windows, one function a part; each returns rows of the table at the end."""

from __future__ import annotations

import functools
import json
import shutil
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools.windows.installing import Home
from tools.windows.windows import Ended

FILE_LIMIT = 900.0
"""Seconds for one file of tests."""
COMMAND_LIMIT = 300.0
OWL = """import zwaif_hooks as zw


@zw.hooks.on_primary_failure
def answer(request: zw.ChatRequest, failure: zw.PrimaryFailure) -> str:
    return "Schuhu, grüße aus dem Wald!"
"""


@dataclass
class Row:
    """One line of the table."""

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    """Why tests were skipped, and how many for each reason."""


def tests(home: Home, folder: str, wanted: str) -> Iterator[Row]:
    """Each file of tests in a process of its own, so that one that hangs costs no other."""
    for file in sorted((home.checkout / "tests" / folder).glob(f"test_{wanted}.py")):
        started = time.monotonic()
        report = home.windows.drive / "report.xml"
        report.unlink(missing_ok=True)
        name = file.relative_to(home.checkout).as_posix()
        ended = home.python(
            *(
                "-m",
                "pytest",
                "-q",
                "--tb=short",
                "--timeout=300",
                "-p",
                "no:cacheprovider",
                "--junitxml",
                report,
                name,
            ),
            limit=FILE_LIMIT,
            cwd=home.checkout,
        )
        row = _read(report, Row(name))
        if ended.status not in (0, 1, 5) or not report.exists():
            row.failed += 1
            row.problems.append(f"{name} broke off:\n{ended.output[-3000:]}")
        row.seconds = time.monotonic() - started
        yield row


def _read(report: Path, row: Row) -> Row:
    for case in ElementTree.parse(report).iter("testcase") if report.exists() else ():
        skipped = case.find("skipped")
        failure = case.find("failure")
        error = case.find("error")
        if skipped is not None:
            row.skipped += 1
            row.reasons[skipped.get("message", "")] += 1
        elif (wrong := failure if failure is not None else error) is not None:
            row.failed += 1
            row.problems.append(f"{row.name}::{case.get('name')}\n{(wrong.text or '')[-1500:]}")
        else:
            row.passed += 1
    return row


def _command(name: str, run: Callable[[], Ended], *expected: str) -> Row:
    """A command that must end well and say what is expected, and nothing of a traceback."""
    started = time.monotonic()
    ended = run()
    row = Row(name, seconds=time.monotonic() - started)
    missing = [words for words in expected if words not in ended.output]
    if ended.status == 0 and not missing and "Traceback" not in ended.output:
        row.passed = 1
    else:
        row.failed = 1
        why = "ran out of time" if ended.status is None else f"exit status {ended.status}"
        row.problems.append(f"{name}: {why}; not said: {missing}\n{ended.output[-3000:]}")
    return row


def _fallback(home: Home, *words: str, said: str = "", **environment: str) -> Callable[[], Ended]:
    """The command ``zwaif-fallback``, as a user types it."""
    program = home.scripts / "zwaif-fallback.exe"
    return lambda: home.windows.run(program, *words, limit=COMMAND_LIMIT, cwd=home.zwaif, said=said, **environment)


def demo(home: Home) -> Iterator[Row]:
    """The README's first command, with the demo's own safetensors model."""
    yield _command("demo", _fallback(home, "demo"))


def test(home: Home) -> Iterator[Row]:
    """With the GGUF model."""
    yield _command("zwaif-fallback test", _fallback(home, "test"))


def doctor(home: Home) -> Iterator[Row]:
    """What it finds is for the reader; that it gets through is tried."""
    yield _command("doctor", _fallback(home, "doctor", "--json"), '"')


def chat(home: Home) -> Iterator[Row]:
    """One message, then a conversation from standard input, both with a GGUF model below a path with an umlaut."""
    yield _command("chat MESSAGE", _fallback(home, "chat", "Hello, how are you?"))
    yield _command("chat, a conversation", _fallback(home, "chat", said="Hello.\nWhat is your name?\n"))


def pythonw(home: Home) -> Iterator[Row]:
    """A reply in a program without console: there ``sys.stdout`` is None."""
    report = home.folder / "pythonw.json"
    report.unlink(missing_ok=True)
    inside = (
        "import json, pathlib, sys, traceback\n"
        "told = {'stdout': sys.stdout is None}\n"
        "try:\n"
        "    from zwaif_fallback.cli.main import main\n"
        "    told['status'] = main(['chat', '--json', 'Hello.'])\n"
        "except BaseException:\n"
        "    told['problem'] = traceback.format_exc()\n"
        "pathlib.Path(sys.argv[1]).write_text(json.dumps(told))\n"
    )
    start = (
        "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:], "
        "creationflags=subprocess.DETACHED_PROCESS, close_fds=True))"
    )
    program = home.scripts / "pythonw.exe"
    row = _command("pythonw", lambda: home.python("-c", start, program, "-c", inside, report, limit=COMMAND_LIMIT))
    told = json.loads(report.read_text()) if report.exists() else {}
    if row.passed and not told.get("stdout"):
        row.passed, row.skipped = 0, 1
        row.reasons["this Wine gave pythonw a standard output"] += 1
    elif row.passed and told.get("status"):
        row.passed, row.failed = 0, 1
        row.problems.append(f"pythonw: {told}")
    yield row


def cp1252(home: Home) -> Iterator[Row]:
    """A console that knows the characters of Western Europe only."""
    for words in (("models",), ("doctor",), ("status",), ("demo",), ("chat", "Grüße")):
        run = _fallback(home, *words, PYTHONIOENCODING="cp1252:strict")
        yield _command(f"cp1252: {words[0]}", run)


def plugins(home: Home) -> Iterator[Row]:
    """The commands for plugins: a single file in a folder with spaces and umlauts, on the console of ``cp1252``."""
    folder = home.folder / "Plug-ins für Z-Waif"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "eule.py").write_text(OWL, encoding="utf-8")
    place = home.windows.path(folder)
    for words, expected in (
        ((), "eule.py"),
        (("check", "eule"), "eule can be used."),
        (("try", "eule", "Grüße"), "Schuhu, grüße"),
        (("trace", "Grüße"), "[trace] eule: on_primary_failure"),
        (("explain",), "found last, called first"),
    ):
        run = _fallback(home, "plugins", *words, "--plugins-dir", place, PYTHONIOENCODING="cp1252:strict")
        yield _command(f"plugins: {words[0] if words else 'list'}", run, expected)
    made = folder / "zwaif-mein-kakadu"
    yield _command("plugins: new", _fallback(home, "plugins", "new", "mein-kakadu", "--in", place), "is made")
    if made.is_dir():
        run = functools.partial(home.python, "-m", "pytest", "-q", limit=COMMAND_LIMIT, cwd=made)
        yield _command("the tests of the new plugin", run, "3 passed")


COMMANDS: dict[str, Callable[[Home], Iterator[Row]]] = {
    part.__name__: part for part in (demo, test, doctor, chat, pythonw, cp1252, plugins)
}
COUNTS = ("passed", "failed", "skipped", "seconds")
TESTS = ("unit", "faults", "host", "engines")
