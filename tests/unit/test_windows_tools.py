"""How ``scripts/test-windows`` judges what it ran; the Windows itself is not made here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.windows import parts
from tools.windows.windows import Ended, Windows

REPORT = """<testsuites><testsuite>
<testcase name="one"/>
<testcase name="two"><skipped message="POSIX permissions"/></testcase>
<testcase name="three"><skipped message="POSIX permissions"/></testcase>
<testcase name="four"><failure>E  assert 1 == 2</failure></testcase>
<testcase name="five"><error>fixture broke</error></testcase>
</testsuite></testsuites>"""


class Home:
    """A home whose Python leaves ``report`` behind, None for none, and ends with ``status``."""

    def __init__(self, folder: Path, report: str | None, status: int | None) -> None:
        self.windows = Windows(folder)
        self.checkout = folder
        self.report, self.status = report, status
        self.windows.drive.mkdir(parents=True)
        (folder / "tests" / "unit").mkdir(parents=True)
        (folder / "tests" / "unit" / "test_things.py").touch()

    def python(self, *words: object, **options: object) -> Ended:
        if self.report is not None:
            (self.windows.drive / "report.xml").write_text(self.report)
        return Ended(self.status, "what it said")


def test_a_file_of_tests_is_counted_with_the_reasons_for_what_was_skipped(tmp_path: Path) -> None:
    (row,) = parts.tests(Home(tmp_path, REPORT, 1), "unit", "*")
    assert (row.name, row.passed, row.failed, row.skipped) == ("tests/unit/test_things.py", 1, 2, 2)
    assert row.reasons == {"POSIX permissions": 2}
    assert "assert 1 == 2" in row.problems[0]


@pytest.mark.parametrize(("report", "status"), [(None, 1), (None, None), ("<testsuites/>", None), ("<testsuites/>", 3)])
def test_tests_that_break_off_have_failed(tmp_path: Path, report: str | None, status: int | None) -> None:
    (row,) = parts.tests(Home(tmp_path, report, status), "unit", "*")
    assert row.failed == 1 and "what it said" in row.problems[0]


@pytest.mark.parametrize(
    ("ended", "well"),
    [
        (Ended(0, "all is well"), True),
        (Ended(1, "all is well"), False),
        (Ended(None, "all is well"), False),
        (Ended(0, "nothing is"), False),
        (Ended(0, "Traceback (most recent call last): all is well"), False),
    ],
)
def test_a_command_ends_well_and_says_what_it_should(ended: Ended, well: bool) -> None:
    row = parts._command("doctor", lambda: ended, "all is well")
    assert (row.passed, row.failed) == (int(well), int(not well))


def test_files_have_the_names_that_windows_gives_them(tmp_path: Path) -> None:
    windows = Windows(tmp_path)
    assert windows.path(windows.drive / "users" / "Jürgen" / "a b.gguf") == r"C:\users\Jürgen\a b.gguf"
    assert windows.path(Path("/srv/models/x.gguf")) == r"Z:\srv\models\x.gguf"
