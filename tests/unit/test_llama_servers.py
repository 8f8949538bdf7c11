"""Which llama-server of the user's is run, and which never is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.helpers.access import let_others_write
from tests.helpers.llama_program import make_program
from zwaif_fallback import llama_servers
from zwaif_fallback.hardware import Gpu
from zwaif_fallback.llama_servers import (
    LlamaProgram,
    distrust,
    environment,
    find,
    known_places,
    remember,
    remembered_cards,
)
from zwaif_fallback.models.program_folders import Machine

LINUX_CARD = "  Vulkan0: AMD Radeon RX 6800 (RADV NAVI21) (16384 MiB, 15000 MiB free)"


SYSTEM = "Windows" if sys.platform == "win32" else "Linux"
NAME = "llama-server.exe" if sys.platform == "win32" else "llama-server"


def machine(home: Path, system: str = SYSTEM, **environ: str) -> Machine:
    return Machine(system, home, environ)


def placed(folder: Path, name: str = NAME, **how: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return make_program(folder, **how).rename(folder / name)  # type: ignore[arg-type]


def jan_of(home: Path) -> tuple[Path, dict[str, str]]:
    """Return the folder of Jan's llama.cpp on this system, and the variables that tell it."""
    if sys.platform == "win32":
        return home / "AppData/Roaming/Jan/data/llamacpp/backends", {"APPDATA": str(home / "AppData/Roaming")}
    return home / ".config/Jan/data/llamacpp/backends", {}


def test_in_the_places_of_known_programs(tmp_path: Path) -> None:
    packages = "site-packages/llama_cpp_binaries/bin"
    jan, environ = jan_of(tmp_path)
    there = {
        tmp_path / "bin": "the PATH",
        tmp_path / "text-generation-webui/installer_files/env/lib/python3.11" / packages: "text-generation-webui",
        tmp_path / "textgen-3/portable_env/lib/python3.11" / packages: "text-generation-webui",
        tmp_path / "textgen-4.7.3/app/portable_env/lib/python3.13" / packages: "text-generation-webui",
        jan / "b6800/linux-vulkan-x64/build/bin": "Jan",
        jan / "b6500/linux-vulkan-x64/build/bin": "Jan",
        jan / "b6900/linux-vulkan-x64": "Jan",
        tmp_path / ".lmstudio/extensions/backends/llama.cpp-linux-x86_64-vulkan-avx2-2.31.2": "LM Studio",
        tmp_path / ".unsloth/llama.cpp/build/bin": "Unsloth Studio",
        tmp_path / ".unsloth/llama.cpp": "Unsloth Studio",
    }
    for folder in there:
        placed(folder)
    (tmp_path / "elsewhere").mkdir()
    placed(tmp_path / "elsewhere")
    search = f"relative{os.pathsep}{tmp_path / 'bin'}"
    found = list(known_places(machine(tmp_path, PATH=search, **environ)))
    assert [(source, path.parent) for source, path in found if path.is_relative_to(tmp_path)] == [
        (source, folder) for folder, source in there.items()
    ]


def test_in_windows_places(tmp_path: Path) -> None:
    local, roaming, programs = (tmp_path / name for name in ("AppData/Local", "AppData/Roaming", "Program Files"))
    there = [
        tmp_path / "text-generation-webui/installer_files/env/Lib/site-packages/llama_cpp_binaries/bin",
        tmp_path / "Desktop/textgen-portable-4.7.3-windows-vulkan/textgen-4.7.3/app/portable_env/Lib"
        "/site-packages/llama_cpp_binaries/bin",
        roaming / "Jan/data/llamacpp/backends/b6800/win-vulkan-x64/build/bin",
        tmp_path / ".lmstudio/extensions/backends/llama.cpp-win-x86_64-vulkan-avx2-2.31.2",
        tmp_path / ".unsloth/llama.cpp/build/bin/Release",
        local / "Microsoft/WinGet/Packages/ggml.llamacpp_Microsoft.Winget.Source_8wekyb3d8bbwe",
        tmp_path / "Program Files/WinGet/Packages/ggml.llamacpp_Microsoft.Winget.Source_8wekyb3d8bbwe",
    ]
    for folder in there:
        placed(folder, "llama-server.exe")
    here = machine(tmp_path, "Windows", LOCALAPPDATA=str(local), APPDATA=str(roaming), ProgramFiles=str(programs))
    found = [path.parent for _, path in known_places(here) if path.is_relative_to(tmp_path)]
    assert found == there
    assert not any(distrust(path, here) for _, path in known_places(here) if path.is_relative_to(tmp_path))


def test_the_first_that_sees_a_card_is_named(tmp_path: Path) -> None:
    placed(tmp_path / "bin", devices="Available devices:\n  (none)")
    backends, environ = jan_of(tmp_path)
    jan = placed(backends / "b1/linux-vulkan-x64/build/bin", devices=LINUX_CARD)
    program = find("auto", machine=machine(tmp_path, PATH=str(tmp_path / "bin"), **environ))
    assert isinstance(program, LlamaProgram)
    assert (program.path, program.title) == (jan, "llama-server 4321 from Jan")
    (device,) = program.devices
    assert (device.id, device.backend, device.name) == ("Vulkan0", "Vulkan", "AMD Radeon RX 6800 (RADV NAVI21)")
    assert device.free == 15000 * 1024 * 1024


@pytest.mark.parametrize(
    ("listed", "used"),
    [
        ("  Vulkan0: Intel(R) UHD Graphics 770 (8000 MiB, 8000 MiB free)", []),
        ("  Vulkan0: AMD Radeon 780M (RADV PHOENIX) (8000 MiB, 8000 MiB free)", []),
        ("  Vulkan0: AMD Radeon(TM) Graphics (8000 MiB, 8000 MiB free)", []),
        ("  Vulkan0: llvmpipe (LLVM 15.0.6, 256 bits) (2048 MiB, 2048 MiB free)", []),
        ("  BLAS0: OpenBLAS (0 MiB, 0 MiB free)", []),
        (f"  Vulkan1: AMD Radeon(TM) Graphics (8000 MiB, 8000 MiB free)\n{LINUX_CARD}", ["Vulkan0"]),
        ("  Vulkan0: Intel(R) Arc(TM) A770 Graphics (16000 MiB, 16000 MiB free)", ["Vulkan0"]),
        (
            "  CUDA0: NVIDIA GeForce RTX 3060 (12000 MiB, 11000 MiB free)\n"
            "  Vulkan0: NVIDIA GeForce RTX 3060 (12000 MiB, 11000 MiB free)",
            ["CUDA0"],
        ),
    ],
)
def test_only_cards_with_memory_of_their_own_and_each_once(listed: str, used: list[str], tmp_path: Path) -> None:
    program = find(str(placed(tmp_path, devices=listed)), machine=machine(tmp_path))
    assert [one.id for one in program.devices if program] == used if program else used == []


def test_a_device_that_the_user_names_is_used(tmp_path: Path) -> None:
    listed = "  Vulkan0: llvmpipe (LLVM 15.0.6, 256 bits) (2048 MiB, 2048 MiB free)"
    place = str(placed(tmp_path, devices=listed))
    assert find(place, machine=machine(tmp_path)) is None
    assert find(place, machine=machine(tmp_path, GGML_VK_VISIBLE_DEVICES="0"))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"version": "hello"}, "it does not say which version of llama.cpp it is"),
        ({"devices": "Available devices:"}, "it sees no graphics card"),
        ({"first": "if '--help' in sys.argv: print('--model'); sys.exit()"}, "it is too old (no --api-key, "),
        ({"first": "import time; time.sleep(20)"}, "it did not answer within 0.5 seconds"),
    ],
)
def test_one_that_the_user_named_and_that_cannot_be_used(
    how: dict[str, str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "sleep" in how.get("first", ""):
        monkeypatch.setattr(llama_servers, "_SECONDS", 0.5)
    lines: list[str] = []
    place = placed(tmp_path, **how)
    assert find(str(place), lines.append, machine(tmp_path)) is None
    (line,) = lines
    assert line.startswith(f"API_FALLBACK_LLAMA_SERVER: {place} is not used: ") and reason in line


def test_off_and_macos_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: pytest.fail("it ran"))
    place = str(placed(tmp_path))
    assert find("off", machine=machine(tmp_path, PATH=str(tmp_path))) is None
    assert find(place, machine=machine(tmp_path, "Darwin")) is None


def test_a_strangers_program_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = tmp_path / "ran"
    place = placed(tmp_path / "folder" / "bin", first=f"open({str(ran)!r}, 'w')")
    lines: list[str] = []

    def refused(why: str) -> bool:
        lines.clear()
        assert find(str(place), lines.append, machine(tmp_path)) is None
        return why in lines[0] and not ran.exists()

    for changed in (place, place.parent, place.parent.parent):
        let_others_write(changed)
        assert refused(f"other users can change {changed}")
        let_others_write(changed, False)
    if sys.platform != "win32":
        place.parent.chmod(0o1777)
        assert refused(f"other users can change {place.parent}"), "anybody could put a library there"
        place.parent.chmod(0o700)
    (tmp_path / "Downloads").mkdir()
    down = place.rename(tmp_path / "Downloads" / NAME)
    assert distrust(down, machine(tmp_path)) == "it is in a folder for downloads"
    assert find("auto", machine=machine(tmp_path, PATH=str(tmp_path / "Downloads"))) is None and not ran.exists()
    place = down
    if sys.platform != "win32" and down.stat().st_uid:  # root's files are the system's
        with monkeypatch.context() as patch:
            patch.setattr(os, "getuid", lambda: 4711)
            assert refused("belongs to another user")
    assert distrust(tmp_path / "gone", machine(tmp_path)) == "there is no such file"
    assert find(str(down), lines.append, machine(tmp_path)) and ran.exists(), (
        "a control: it runs where nothing is wrong"
    )


def test_what_it_started_may_go_on(tmp_path: Path) -> None:
    """A program whose child keeps the output open has answered all the same."""
    started = tmp_path / "started.txt"
    lives = "import time; time.sleep(60)"
    first = (
        "import subprocess\nif '--version' in sys.argv:\n"
        f"    child = subprocess.Popen([sys.executable, '-c', {lives!r}])\n"
        f"    open({str(started)!r}, 'w').write(str(child.pid))"
    )
    began = time.monotonic()
    found = find(str(placed(tmp_path, first=first)), machine=machine(tmp_path))
    needed = time.monotonic() - began
    psutil.Process(int(started.read_text())).kill()
    assert found and needed < llama_servers._SECONDS


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_counts_as_what_it_leads_to(tmp_path: Path) -> None:
    target = placed(tmp_path / "open")
    target.parent.chmod(0o777)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / NAME).symlink_to(target)
    assert find("auto", machine=machine(tmp_path, PATH=str(tmp_path / "bin"))) is None


def test_nothing_from_outside_changes_what_it_does(tmp_path: Path) -> None:
    outside = {"LLAMA_ARG_HOST": "0.0.0.0", "LLAMA_API_KEY": "known", "GGML_BACKEND_PATH": "/evil.so", "HOME": "/h"}
    libraries = {} if sys.platform == "win32" else {"LD_LIBRARY_PATH": str(tmp_path / "bin")}
    assert environment(tmp_path / "bin" / NAME, outside) == {"HOME": "/h", **libraries}


def test_what_was_found_is_remembered_until_it_changes(tmp_path: Path) -> None:
    place = placed(tmp_path, devices=LINUX_CARD)
    wish = str(place)
    assert remembered_cards(wish) == ()
    remember(wish, find(wish, machine=machine(tmp_path)))
    mib = 1024 * 1024
    assert remembered_cards(wish) == (Gpu("AMD Radeon RX 6800 (RADV NAVI21)", 16384 * mib, 15000 * mib),)
    assert remembered_cards("auto") == remembered_cards("off") == ()
    os.utime(place, ns=(1, 1))
    assert remembered_cards(wish) == ()
    remember(wish, find(wish, machine=machine(tmp_path)))
    assert remembered_cards(wish)
    place.unlink()
    assert remembered_cards(wish) == ()
    remember(wish, find(wish, machine=machine(tmp_path)))
    assert remembered_cards(wish) == ()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"wish": "auto"}', '{"wish": "auto", "program": {"path": 1}}'])
def test_a_damaged_answer_is_none(content: str) -> None:
    llama_servers._memo().write_text(content)
    assert remembered_cards("auto") == ()


def test_an_answer_that_cannot_be_kept_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(llama_servers, "_memo", lambda: tmp_path / "file" / "llama-server.json")
    remember("auto", None)
    assert remembered_cards("auto") == ()
