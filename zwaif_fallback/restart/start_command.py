"""The command that starts the LLM server: the user's own, or the one of the server's program (``auto``).

Sources: https://docs.ollama.com/cli (``ollama serve``), https://docs.ollama.com/linux (its system service),
https://lmstudio.ai/docs/cli/server-start and https://github.com/lmstudio-ai/lms/tree/main/src (``lms server start``
starts the program too, without a window), https://github.com/oobabooga/text-generation-webui (the start scripts, and
``.github/workflows/build-portable-release.yml``, which makes the portable builds).
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zwaif_fallback.errors import FallbackError
from zwaif_fallback.models.program_folders import Machine, lmstudio_homes, textgen_folders

OFF, AUTO = "off", "auto"
_SCRIPTS = {"Windows": ("textgen.bat", "start_windows.bat"), "Darwin": ("textgen", "start_macos.sh")}
"""What starts text-generation-webui: the portable builds' program (since 4.7), and the script of the others."""
_LINUX_SCRIPTS = ("textgen", "start_linux.sh")
_WITH_API = "--api"
"""Only the portable builds start text-generation-webui's API by themselves."""
_SERVICE_FOLDERS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_SET_IT = 'Set API_FALLBACK_RESTART to the command that starts it, or to "off"'


class NoStartCommand(FallbackError):
    """Nothing is known that starts the server."""


@dataclass(frozen=True)
class StartCommand:
    """What is run, without a shell."""

    arguments: str | tuple[str, ...]
    """A text on Windows, where each program splits its command line by itself."""
    folder: Path | None = None
    """Where it runs; None: in Z-Waif's folder."""

    def __str__(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else shlex.join(self.arguments)


def start_command(setting: str, kind: str, machine: Machine, tree: Path | None) -> StartCommand:
    """Return what starts the server.

    Args:
        setting: ``API_FALLBACK_RESTART``, which is not ``off``.
        kind: the server's program as in ``API_TYPE``.
        tree: Z-Waif's folder; a text-generation-webui beside it is found.

    Raises:
        NoStartCommand: the command cannot be split, or the program was not found.
    """
    if setting.casefold() != AUTO:
        return split(setting, machine)
    programs = {"ollama": _ollama, "lmstudio": _lmstudio, "oobabooga": _textgen}
    return programs.get(kind.casefold(), _unknown)(machine, tree)


def split(command: str, machine: Machine) -> StartCommand:
    """Return the user's own command.

    Raises:
        NoStartCommand: a quote is never closed.
    """
    if machine.system == "Windows":
        return StartCommand(_for_windows(command, machine))
    try:
        return StartCommand(tuple(shlex.split(command)))
    except ValueError as error:
        raise NoStartCommand(
            "The command in API_FALLBACK_RESTART opens a quote and never closes it. Close it in Z-Waif's .env"
        ) from error


def _for_windows(command: str, machine: Machine) -> str:
    """Windows runs a program; a batch file is run by ``cmd.exe``."""
    quoted = command.startswith('"')
    program = command[1:].partition('"')[0] if quoted else command.partition(" ")[0]
    if not program.casefold().endswith((".bat", ".cmd")):
        return command
    return f'"{machine.environ.get("COMSPEC", "cmd.exe")}" /d /s /c "{command}"'


def _ollama(machine: Machine, tree: Path | None) -> StartCommand:
    if machine.system == "Linux" and any((Path(folder) / "ollama.service").exists() for folder in _SERVICE_FOLDERS):
        raise NoStartCommand(
            "Ollama is a service of this system, with models of another user, and only an administrator can start it: "
            "sudo systemctl restart ollama"
        )
    return StartCommand((str(_program("Ollama", "ollama", _ollama_folders(machine), machine)), "serve"))


def _ollama_folders(machine: Machine) -> Iterator[Path]:
    if machine.system == "Windows":
        local = machine.variable("LOCALAPPDATA") or machine.home / "AppData" / "Local"
        yield local / "Programs" / "Ollama"
    elif machine.system == "Darwin":
        yield Path("/Applications/Ollama.app/Contents/Resources")
        yield Path("/opt/homebrew/bin")
    yield Path("/usr/local/bin")
    yield machine.home / ".local" / "bin"


def _lmstudio(machine: Machine, tree: Path | None) -> StartCommand:
    folders = (home / "bin" for home in lmstudio_homes(machine))
    return StartCommand((str(_program("LM Studio", "lms", folders, machine)), "server", "start"))


def _program(title: str, name: str, folders: Iterator[Path], machine: Machine) -> Path:
    """Return a program in its usual folders or on the PATH."""
    file = f"{name}.exe" if machine.system == "Windows" else name
    for folder in folders:
        if _is_ours_to_run(folder / file):
            return folder / file
    on_path = shutil.which(name, path=machine.environ.get("PATH", ""))
    if on_path is None:
        raise _not_found(title, name)
    return Path(on_path)


def _textgen(machine: Machine, tree: Path | None) -> StartCommand:
    names = _SCRIPTS.get(machine.system, _LINUX_SCRIPTS)
    installed = [folder for folder in textgen_folders(machine, tree) if _is_installed(folder)]
    scripts = [[folder / name for name in names] for folder in installed]
    usable = [next(filter(_is_ours_to_run, of_folder), None) for of_folder in scripts]
    found = {script.parent.resolve() / script.name for script in usable if script is not None}
    if not found:
        raise _not_found("text-generation-webui", " or ".join(names))
    if len(found) > 1:
        raise NoStartCommand(
            f"{len(found)} folders of text-generation-webui were found ({', '.join(map(str, sorted(found)))}). "
            "Set API_FALLBACK_RESTART to the command that starts the right one"
        )
    script = found.pop()
    if machine.system == "Windows":
        return StartCommand(_for_windows(f'"{script}" {_WITH_API}', machine), script.parent)
    return StartCommand(("bash", str(script), _WITH_API), script.parent)


def _is_installed(textgen: Path) -> bool:
    """Return whether it has its own Python. Otherwise its script would first ask questions and download gigabytes."""
    return any((textgen / place).is_dir() for place in ("installer_files/env", "portable_env", "app/portable_env"))


def _not_found(title: str, file: str) -> NoStartCommand:
    return NoStartCommand(f"{title} was not found on this computer ({file}). {_SET_IT}")


def _unknown(machine: Machine, tree: Path | None) -> StartCommand:
    raise NoStartCommand(f"It is not known how this server is started. {_SET_IT}")


def _is_ours_to_run(file: Path) -> bool:
    """Return whether it is a file that only its owner can change, and whose owner is this user or the system."""
    try:
        status = file.stat()
        owner = os.getuid() if hasattr(os, "getuid") else 0
    except OSError:
        return False
    return file.is_file() and status.st_uid in (0, owner) and (os.name == "nt" or not status.st_mode & 0o002)
