"""Where programs store models: each program's own folders on Windows, macOS and Linux.

Sources: https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables,
https://github.com/ollama/ollama/blob/main/docs/faq.md (where models are stored),
https://github.com/lmstudio-ai/lms/issues/50 and https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/1601,
https://docs.gpt4all.io/gpt4all_desktop/settings.html, https://docs.gpt4all.io/gpt4all_python.html,
https://www.mintlify.com/janhq/jan/desktop/data-folder. KoboldCpp and text-generation-webui can be unpacked anywhere;
only the usual folders are searched.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zwaif_fallback.models.safetensors_facts import read_json
from zwaif_fallback.models.walk import Skip
from zwaif_hooks.storage import bounded

logger = logging.getLogger(__name__)

OWN, HUB, OLLAMA, LMSTUDIO = "Model folder", "Hugging Face", "Ollama", "LM Studio"
TEXTGEN, GPT4ALL, JAN, KOBOLD, DOWNLOADS = "text-generation-webui", "GPT4All", "Jan", "KoboldCpp", "Downloads"
_LONGEST_SETTINGS = 64 * 1024
_TEXTGEN_FOLDERS = ("text-generation-webui*", "textgen*", "oobabooga*")
_KOBOLD_FOLDERS = ("koboldcpp*", "KoboldCpp*", "KoboldCPP*")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Machine:
    """What determines where programs keep their files."""

    system: str
    """``Windows``, ``Darwin`` or ``Linux``."""
    home: Path
    environ: Mapping[str, str]
    moved: Mapping[str, Path] = field(default_factory=dict)
    """Actual folders of ``Desktop``, ``Documents`` and ``Downloads``, which may be on another disk or in OneDrive."""

    def variable(self, name: str) -> Path | None:
        """Return the folder in an environment variable; None if it is not set."""
        value = self.environ.get(name, "").strip().strip("\"'")
        return self.expanded(value) if value else None

    def folders(self, name: str) -> list[Path]:
        """Return the current folder for ``Desktop``, ``Documents`` or ``Downloads``, and the default one."""
        usual = self.home / name
        return list(dict.fromkeys([self.moved.get(name, usual), usual]))

    def expanded(self, path: str) -> Path:
        """Expand ``~`` to this machine's home."""
        return self.home / path[1:].lstrip("/\\") if path[:1] == "~" else Path(path)


def this_machine() -> Machine:
    """Return the computer and user this program runs on."""
    import platformdirs

    moved = {}
    for name in ("desktop", "documents", "downloads"):
        try:
            moved[name.title()] = Path(getattr(platformdirs, f"user_{name}_dir")())
        except (OSError, ValueError) as error:  # Windows has none for some users, such as services.
            logger.debug("The system names no folder %s: %s", name, error)
    return Machine(platform.system(), Path.home(), os.environ, moved)


@dataclass(frozen=True)
class Place:
    """A folder and how deep its models are."""

    source: str
    folder: Path
    depth: int = 2
    """Levels of folders below it that may contain models."""


def _unsaid(folder: Path, why: str) -> None:
    """Ignore it."""


def places(machine: Machine, tree: Path | None = None, model_dir: str = "", skip: Skip = _unsaid) -> list[Place]:
    """Return every existing folder to search.

    Args:
        tree: Z-Waif's folder; programs unpacked beside it are found.
        model_dir: ``FALLBACK_MODEL_DIR``: folders separated as in PATH, relative to ``tree``.
        skip: called for a program whose settings cannot be read.
    """
    found: dict[Path, Place] = {}
    for place in _all(machine, tree, model_dir, skip):
        try:
            real = place.folder.resolve()
            if real.is_dir():
                found.setdefault(real, Place(place.source, real, place.depth))
        except PermissionError:  # It exists; reading it will report the refusal.
            found.setdefault(place.folder, place)
        except (OSError, RuntimeError, ValueError):  # a broken link, or an invalid name
            continue
    return list(found.values())


def own_folders(model_dir: str, tree: Path | None = None) -> list[Path]:
    """Return the folders of ``FALLBACK_MODEL_DIR``, existing or not."""
    base = tree or Path.cwd()
    parts = [part.strip().strip("\"'") for part in model_dir.split(os.pathsep)]
    return [base / _expanded(part) for part in parts if part]


def _expanded(part: str) -> Path:
    try:
        return Path(part).expanduser()
    except RuntimeError:  # the home of a user that does not exist here
        return Path(part)


def hub_cache(machine: Machine) -> Path:
    """Return the Hugging Face cache, from the same variables as its library."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if named := machine.variable(name):
            return named
    if home := machine.variable("HF_HOME"):
        return home / "hub"
    return (machine.variable("XDG_CACHE_HOME") or machine.home / ".cache") / "huggingface" / "hub"


def _all(machine: Machine, tree: Path | None, model_dir: str, skip: Skip) -> Iterator[Place]:
    roots = _roots(machine, tree)
    programs: list[tuple[str, Callable[[], Iterator[Place]]]] = [
        (OWN, lambda: (Place(OWN, folder, 3) for folder in own_folders(model_dir, tree))),
        (HUB, lambda: iter([Place(HUB, hub_cache(machine))])),
        (OLLAMA, lambda: (Place(OLLAMA, folder) for folder in _ollama(machine))),
        (LMSTUDIO, lambda: (Place(LMSTUDIO, folder, 3) for folder in _lmstudio(machine))),
        (TEXTGEN, lambda: _textgen(machine, tree)),
        (GPT4ALL, lambda: (Place(GPT4ALL, folder, 1) for folder in _gpt4all(machine))),
        (JAN, lambda: (Place(JAN, folder, 4) for folder in _jan(machine))),
        (KOBOLD, lambda: (Place(KOBOLD, folder, 2) for root in roots for folder in _glob(root, _KOBOLD_FOLDERS))),
    ]
    for program, find in programs:
        try:
            yield from find()
        except Exception as error:  # a problem with one program's settings must not hide all other models
            logger.debug("The folders of %s are not known", program, exc_info=True)
            skip(Path(program), f"where its models lie cannot be understood ({type(error).__name__})")
    if machine.system != "Darwin":
        yield from (Place(DOWNLOADS, folder, 0) for folder in machine.folders("Downloads"))


def _ollama(machine: Machine) -> Iterator[Path]:
    if named := machine.variable("OLLAMA_MODELS"):
        yield named
    yield machine.home / ".ollama" / "models"
    if machine.system == "Linux":
        for service in ("/usr/share/ollama", "/var/lib/ollama"):
            yield Path(service) / ".ollama" / "models"
        yield Path("/var/lib/ollama/models")
        yield Path("/var/snap/ollama/common/models")


def lmstudio_homes(machine: Machine) -> list[Path]:
    """Return the folders in which LM Studio may keep its files, the most likely first."""
    homes = [machine.home / ".lmstudio", machine.home / ".cache" / "lm-studio"]
    pointer = machine.home / ".lmstudio-home-pointer"
    with contextlib.suppress(OSError, ValueError):  # Usually there is no pointer.
        homes.insert(0, machine.expanded(bounded.read_text(pointer, _LONGEST_SETTINGS).strip()))
    return homes


def _lmstudio(machine: Machine) -> Iterator[Path]:
    for home in lmstudio_homes(machine):
        try:
            chosen = read_json(home / "settings.json").get("downloadsFolder")
        except (OSError, ValueError):
            chosen = None
        if isinstance(chosen, str) and chosen.strip():
            yield machine.expanded(chosen.strip())
        yield home / "models"


def _gpt4all(machine: Machine) -> Iterator[Path]:
    application = _data(machine, "Local")
    settings = machine.home / ".config" / "nomic.ai" / "GPT4All.ini"
    if machine.system == "Windows":
        settings = _data(machine, "Roaming") / "nomic.ai" / "GPT4All.ini"
    if chosen := _ini_value(settings, "modelPath"):
        yield machine.expanded(chosen)
    yield application / "nomic.ai" / "GPT4All"
    yield machine.home / ".cache" / "gpt4all"


def jan_folders(machine: Machine) -> list[Path]:
    """Return the data folders that Jan may use, existing or not."""
    roots = [_data(machine, "Roaming") / "Jan" / "data", _data(machine, "Roaming") / "jan", machine.home / "jan"]
    if machine.system == "Linux":
        roots[:0] = [(machine.variable("XDG_CONFIG_HOME") or machine.home / ".config") / "Jan" / "data"]
    return roots


def _jan(machine: Machine) -> Iterator[Path]:
    for root in jan_folders(machine):
        yield root / "llamacpp" / "models"
        yield root / "models"


def _data(machine: Machine, part: str) -> Path:
    """Return where programs keep their data; ``part`` is ``Local`` or ``Roaming``, which differ on Windows only."""
    if machine.system == "Windows":
        named = machine.variable("LOCALAPPDATA" if part == "Local" else "APPDATA")
        return named or machine.home / "AppData" / part
    if machine.system == "Darwin":
        return machine.home / "Library" / "Application Support"
    return machine.variable("XDG_DATA_HOME") or machine.home / ".local" / "share"


def _roots(machine: Machine, tree: Path | None) -> list[Path]:
    """Return the folders in which people unpack programs."""
    near = [tree.absolute().parent, tree.absolute().parent.parent] if tree else []
    usual = [machine.home, *(machine.home / name for name in ("AI", "ai"))]
    if machine.system != "Darwin":  # macOS asks the user before a program may read these three.
        usual += [folder for name in ("Desktop", "Documents", "Downloads") for folder in machine.folders(name)]
    drives = [Path(f"{letter}:\\") for letter in "CDE"] if machine.system == "Windows" else [Path("/opt")]
    return [*near, *usual, *drives]


def textgen_folders(machine: Machine, tree: Path | None = None) -> list[Path]:
    """Return the folders that a text-generation-webui may be in, those beside Z-Waif first.

    Windows unpacks an archive into a folder of the archive's name, so one may lie inside another.
    """
    unpacked = [folder for root in _roots(machine, tree) for folder in _glob(root, _TEXTGEN_FOLDERS)]
    return [place for folder in unpacked for place in (folder, *_glob(folder, _TEXTGEN_FOLDERS))]


def _textgen(machine: Machine, tree: Path | None) -> Iterator[Place]:
    for folder in textgen_folders(machine, tree):
        yield Place(TEXTGEN, folder / "user_data" / "models", 3)
        yield Place(TEXTGEN, folder.parent / "user_data" / "models", 3)  # portable builds may share it
        yield Place(TEXTGEN, folder / "models", 3)


def _glob(root: Path, patterns: Iterable[str]) -> list[Path]:
    try:
        return sorted(folder for pattern in patterns for folder in root.glob(pattern) if folder.is_dir())
    except OSError:  # A folder that cannot be read has nothing for us.
        return []


def _ini_value(path: Path, key: str) -> str:
    try:
        lines = bounded.read_text(path, _LONGEST_SETTINGS, errors="replace").splitlines()
    except (OSError, ValueError):
        return ""
    values = (line.partition("=")[2].strip() for line in lines if line.partition("=")[0].strip() == key)
    return next(values, "")
