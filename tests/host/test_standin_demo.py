"""The demo, played for real: a server process is killed in the middle of a sentence and comes back."""

from __future__ import annotations

import io
import re
import runpy
from pathlib import Path

import pytest

from zwaif_fallback.demo.host_child import lines_since
from zwaif_fallback.demo.host_process import BOTH, FALLBACK, SERVER
from zwaif_fallback.demo.llm_server import reply_to
from zwaif_fallback.demo.play import run

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_message_is_answered_by_the_one_who_should() -> None:
    out = io.StringIO()
    assert run(out=out) == 0, out.getvalue()
    who = re.findall(r"answered by (the [^(\n]*model|the LLM server)", out.getvalue())
    assert who == [SERVER, BOTH, FALLBACK, FALLBACK, SERVER]
    picture = runpy.run_path(str(ROOT / "scripts" / "pictures.py"))["page_of"](out.getvalue())
    assert picture.count('class="you"') == picture.count('class="companion"') == 5
    assert picture.count("server killed") == picture.count("server is back") == 1


def test_a_folder_that_is_not_z_waif_is_named_in_one_line(tmp_path: Path) -> None:
    out = io.StringIO()
    assert run(tmp_path, out) == 1
    assert "is not a Z-Waif folder" in out.getvalue()


def test_the_server_never_says_the_same_text_twice() -> None:
    assert reply_to("Hello", 1) != reply_to("Hello", 2)


@pytest.mark.parametrize("kept", [0, 60, 700], ids=["whole", "cut", "mostly gone"])
def test_new_lines_are_found_in_a_debug_text_that_repeats_itself_and_loses_its_beginning(kept: int) -> None:
    line = "[API] Successfully used fallback API: the model answered (first words after 0.1 s)\n"
    before, added = ("".join(f"start {number}\n" for number in range(100)) + line * 5), line * 2
    assert lines_since(before, (before + added)[kept:]) == added.splitlines()
