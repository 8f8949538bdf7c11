"""What starts an LLM server: the user's command, and what is found on the computer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from zwaif_fallback.models.program_folders import Machine
from zwaif_fallback.restart import llm_server, start_command
from zwaif_fallback.restart.start_command import NoStartCommand, StartCommand, split

COMSPEC = "C:\\Windows\\system32\\cmd.exe"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(start_command, "_SERVICE_FOLDERS", [str(tmp_path / "systemd")])
    return tmp_path / "home"


def machine(home: Path, system: str = "Linux", **environ: str) -> Machine:
    return Machine(system, home, environ)


def program(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(mode)
    return path


def textgen(script: Path, mode: int = 0o755, environment: str = "installer_files/env") -> Path:
    (script.parent / environment).mkdir(parents=True)
    return program(script, mode)


def auto(kind: str, here: Machine, tree: Path | None = None) -> StartCommand:
    return start_command.start_command("auto", kind, here, tree)


# --- the user's own command -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("serve", ("serve",)),
        ("/opt/my server/run --port 5000", ("/opt/my", "server/run", "--port", "5000")),
        ("'/opt/my server/run' --name \"a b\"", ("/opt/my server/run", "--name", "a b")),
        ("run; rm -rf $HOME && `x` | y > z", ("run;", "rm", "-rf", "$HOME", "&&", "`x`", "|", "y", ">", "z")),
        (r"run a\ b", ("run", "a b")),
    ],
)
def test_a_command_is_split_and_given_to_no_shell(command: str, arguments: tuple[str, ...], home: Path) -> None:
    assert split(command, machine(home)).arguments == arguments


def test_an_open_quote_is_an_error(home: Path) -> None:
    with pytest.raises(NoStartCommand, match="never closes it"):
        split("run 'it", machine(home))


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ('"D:\\my ai\\server.exe" --port 5000', '"D:\\my ai\\server.exe" --port 5000'),
        ("server.exe it's", "server.exe it's"),
        ("D:\\ai\\start.BAT --api", f'"{COMSPEC}" /d /s /c "D:\\ai\\start.BAT --api"'),
        ('"D:\\my ai\\start.cmd" --api', f'"{COMSPEC}" /d /s /c ""D:\\my ai\\start.cmd" --api"'),
        ("python start.bat.py", "python start.bat.py"),
    ],
)
def test_on_windows_the_line_stays_and_only_a_batch_file_gets_a_shell(command: str, line: str, home: Path) -> None:
    assert split(command, machine(home, "Windows", COMSPEC=COMSPEC)).arguments == line


# --- auto -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="on the PATH of Windows, programs end in .exe")
def test_ollama_in_its_folder_comes_before_the_path(home: Path, tmp_path: Path) -> None:
    on_path = program(tmp_path / "bin" / "ollama")
    assert auto("Ollama", machine(home, PATH=str(on_path.parent))).arguments == (str(on_path), "serve")
    own = program(home / ".local" / "bin" / "ollama")
    assert auto("Ollama", machine(home, PATH=str(on_path.parent))).arguments == (str(own), "serve")


def test_ollama_on_windows(home: Path) -> None:
    own = program(home / "Local" / "Programs" / "Ollama" / "ollama.exe")
    found = auto("Ollama", machine(home, "Windows", LOCALAPPDATA=str(home / "Local")))
    assert found.arguments == (str(own), "serve")


def test_ollama_that_is_a_service_is_not_started_as_this_user(home: Path, tmp_path: Path) -> None:
    program(home / ".local" / "bin" / "ollama")
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd" / "ollama.service").touch()
    with pytest.raises(NoStartCommand, match="sudo systemctl restart ollama"):
        auto("Ollama", machine(home))


@pytest.mark.parametrize("folder", [".lmstudio", ".cache/lm-studio", "elsewhere"])
def test_lm_studio_in_each_of_its_folders(folder: str, home: Path) -> None:
    own = program(home / folder / "bin" / "lms")
    (home / ".lmstudio-home-pointer").write_text(str(home / "elsewhere"))
    assert auto("LMStudio", machine(home)).arguments == (str(own), "server", "start")


@pytest.mark.parametrize(
    ("system", "script", "arguments"),
    [
        ("Linux", "start_linux.sh", ("bash", "{}", "--api")),
        ("Darwin", "start_macos.sh", ("bash", "{}", "--api")),
        ("Windows", "start_windows.bat", f'"{COMSPEC}" /d /s /c ""{{}}" --api"'),
        ("Linux", "textgen", ("bash", "{}", "--api")),
        ("Darwin", "textgen", ("bash", "{}", "--api")),
        ("Windows", "textgen.bat", f'"{COMSPEC}" /d /s /c ""{{}}" --api"'),
    ],
)
def test_the_start_script_beside_z_waif(
    system: str, script: str, arguments: str | tuple[str, ...], home: Path, tmp_path: Path
) -> None:
    own = textgen(tmp_path / "text-generation-webui-main" / script, 0o644)
    found = auto("Oobabooga", machine(home, system, COMSPEC=COMSPEC), tmp_path / "z-waif")
    wanted = arguments.format(own) if isinstance(arguments, str) else tuple(one.format(own) for one in arguments)
    assert (found.arguments, found.folder) == (wanted, own.parent)


def test_a_portable_build_in_the_folder_that_windows_unpacks_it_to(home: Path) -> None:
    unpacked = home / "Downloads" / "textgen-portable-4.7.3-windows-cuda12.4"
    own = textgen(unpacked / "textgen-4.7.3" / "textgen.bat", environment="app/portable_env")
    assert auto("Oobabooga", machine(home, "Windows", COMSPEC=COMSPEC)).folder == own.parent


def test_of_two_start_scripts_none_is_guessed(home: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, home):
        textgen(folder / "text-generation-webui" / "start_linux.sh", environment="portable_env")
    with pytest.raises(NoStartCommand, match="2 folders of text-generation-webui"):
        auto("Oobabooga", machine(home), tmp_path / "z-waif")
    shutil.rmtree(home / "text-generation-webui")
    (home / "text-generation-webui").symlink_to(tmp_path / "text-generation-webui")
    assert auto("Oobabooga", machine(home), tmp_path / "z-waif").folder == tmp_path / "text-generation-webui"


def test_a_folder_that_was_never_installed_is_not_started_as_its_script_would_download(home: Path) -> None:
    program(home / "text-generation-webui" / "start_linux.sh")
    with pytest.raises(NoStartCommand, match="text-generation-webui was not found"):
        auto("Oobabooga", machine(home))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_file_that_everybody_may_change_is_not_run(home: Path, tmp_path: Path) -> None:
    textgen(tmp_path / "text-generation-webui" / "start_linux.sh", 0o777)
    with pytest.raises(NoStartCommand, match="text-generation-webui was not found"):
        auto("Oobabooga", machine(home), tmp_path / "z-waif")


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has no user numbers")
def test_a_file_of_another_user_is_not_run(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = textgen(tmp_path / "text-generation-webui" / "start_linux.sh")
    real = Path.stat

    def of_another(path: Path, **how: bool) -> os.stat_result:
        found = list(real(path, **how))
        found[4] = 4321 if path == script else found[4]
        return os.stat_result(found)

    monkeypatch.setattr(Path, "stat", of_another)
    with pytest.raises(NoStartCommand, match="text-generation-webui was not found"):
        auto("Oobabooga", machine(home), tmp_path / "z-waif")


# --- which server -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "address", "setting", "program"),
    [
        ({}, "127.0.0.1:5000", "auto", "Oobabooga"),
        ({"HOST_PORT": "localhost:5001"}, "127.0.0.1:5001", "run it", "Oobabooga"),
        ({"API_TYPE": "Ollama"}, "127.0.0.1:11434", "auto", "Ollama"),
        ({"API_TYPE": "LMStudio"}, "localhost:41343", "auto", "LM Studio"),
        ({}, "127.0.0.1:5000", "OFF", None),
        ({}, "127.0.0.1:5001", "auto", None),
        ({"HOST_PORT": "192.168.1.5:5000"}, "192.168.1.5:5000", "auto", None),
    ],
)
def test_only_the_main_server_on_this_computer_is_started(
    env: dict[str, str],
    address: str,
    setting: str,
    program: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("API_TYPE", "HOST_PORT", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".env").write_text("".join(f"{name} = {value}\n" for name, value in env.items()))
    found = llm_server.llm_server(address, setting, tmp_path)
    assert (found.program if found else None) == program
