"""kill -9 at any moment while ``.env`` is being saved: a thousand times, over files of every kind users have.

A child that has imported everything forks a saver for each try, so that a try costs milliseconds.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dotenv import dotenv_values

from zwaif_hooks.storage.rewrite import finish

TRIES = 1000
LONGER, SHORTER = 1.06, 0.9
"""How the time a saver is given changes after one that saved nothing, and after one that saved: so the moments of the
kills lie around those of the saves, however busy the machine is. How many of them hit one is luck, and not asked."""
KEY = b"API_FALLBACK_STALL_TIMEOUT"
PADDING = b"# " + b"-" * 60 + b"\n"

# Each has one @, where the value is, between what must stay byte for byte.
FILES = {
    "plain": PADDING * 20 + KEY + b" = @\nLAST = line\n",
    "crlf": b"A = 1\r\n" * 30 + KEY + b" = @ # in seconds\r\n\r\n#end\r\n",
    "no final newline": b"A=1\nB = it's \n" + KEY + b"=@",
    "byte order mark": b"\xef\xbb\xbfCHAR_NAME = Waifu\n" + KEY + b" = @\n# \xe6\xbc\xa2\n",
    "cp1252": b"CHAR_NAME = \xc4nn\xe4\n# 50 \x80\n" + KEY + b" = @\nYOUR_NAME = Ren\xe9\n",
    "quotes": b"A = \"two # words\"\nB = 'x\\'y'\nexport " + KEY + b' = @ # was "5"\nC = ${HOME}\n',
    "long": PADDING * 400 + KEY + b" = @\n" + PADDING * 400,
}

NURSERY = """
import os, sys
from pathlib import Path
from zwaif_hooks.host import env_file
import filelock, platformdirs

def save(path, key, start, report):
    number = start
    while True:
        number += 1
        env_file.write(path, key, str(number))
        os.write(report, b"%d\\n" % number)

key = sys.argv[1]
print("ready", flush=True)
for line in sys.stdin:
    start, _, path = line.rstrip("\\n").partition(" ")
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        try:
            save(Path(path), key, int(start), writer)
        finally:
            os._exit(1)
    os.close(writer)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as reported:
        done = reported.read().split()
    print(done[-1] if done else start, status, flush=True)
"""


class Nursery:
    """Starts a saver that counts the value up, and tells which number it had saved for certain when it ended."""

    def __init__(self) -> None:
        code = f"import sys\nsys.path[:0] = {sys.path!r}\n{NURSERY}"
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", code, KEY.decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def kill_a_saver(self, path: Path, start: int, seconds: float) -> int:
        """Kill one after ``seconds``; the last number it reported."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{start} {path}\n")
        self._process.stdin.flush()
        pid = int(self._line())
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        reported, status = map(int, self._line().split())
        assert os.WTERMSIG(status) == signal.SIGKILL, "it was still saving"
        return reported

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="fork and kill -9 are POSIX")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("linked", [False, True], ids=["replaced", "written over"])
def test_a_thousand_savers_killed_at_any_moment(tmp_path: Path, linked: bool) -> None:
    """A file with a second hard link is written over: there a later save finishes what was cut."""
    chance, nursery, longest = random.Random(20261124), Nursery(), 0.01

    def after_a_kill(path: Path, last: int, seconds: float) -> tuple[int, int]:
        """The number that the saver reported last, and the one in the file."""
        reported = nursery.kill_a_saver(path, last, seconds)
        if linked:
            finish(path)
            assert path.stat().st_nlink == 2
        found = check(path, FILES[path.parent.name], reported, path.parent.name)
        remove_leftovers(path)
        return reported, found

    try:
        for name, content in FILES.items():
            path = tmp_path / name / ".env"
            path.parent.mkdir()
            path.write_bytes(content.replace(b"@", b"1000"))
            if linked:
                os.link(path, path.with_name("link"))
            last = 1000
            for _ in range(TRIES // len(FILES) + 1):
                reported, found = after_a_kill(path, last, chance.random() * longest)
                longest *= SHORTER if reported > last else LONGER
                last = found
            while last == 1000:  # where nothing was ever saved nothing would be shown
                longest *= LONGER
                _, last = after_a_kill(path, last, longest)
    finally:
        nursery.close()


def remove_leftovers(path: Path) -> None:
    """Each is a save that was cut in the middle; a later save would remove them when they are a minute old."""
    for entry in path.parent.iterdir():
        if entry.name not in (path.name, "link"):
            entry.unlink()


def check(path: Path, content: bytes, reported: int, name: str) -> int:
    """The value in the file: what was reported last, or the one after it; everything else as it was."""
    before, after = content.split(b"@")
    data = path.read_bytes()
    assert data.startswith(before) and data.endswith(after), name
    value = int(data[len(before) : len(data) - len(after)])
    assert value in (reported, reported + 1), name
    if name != "cp1252":  # python-dotenv itself wants to be told of such a file
        assert dotenv_values(path, encoding="utf-8-sig")[KEY.decode()] == str(value), name
    return value
