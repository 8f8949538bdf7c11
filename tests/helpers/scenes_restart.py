"""Who says the texts about starting the LLM server again."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.helpers.scenes import Scene, says
from zwaif_fallback.models.program_folders import Machine
from zwaif_fallback.restart import restarter, start_command
from zwaif_fallback.restart.start_command import StartCommand


def start(scene: Scene, kind: str) -> object:
    scene.patch.setattr(start_command, "_SERVICE_FOLDERS", [str(scene.folder)])
    machine = Machine("Linux", scene.folder / "home", {})
    return start_command.start_command("auto", kind, machine, scene.folder / "zwaif")


says("The command in API_FALLBACK_RESTART opens a quote and never closes it. Close it in Z-Waif's .env")(
    lambda scene: start_command.split("run 'it", Machine("Linux", scene.folder, {}))
)
says('… was not found on this computer (…). Set API_FALLBACK_RESTART to the command that starts it, or to "off"')(
    lambda scene: start(scene, "LMStudio")
)
says("It is not known how this server is started. …")(lambda scene: start(scene, "KoboldCpp"))


@says("Ollama is a service of this system, …: sudo systemctl restart ollama")
def _(scene: Scene) -> object:
    (scene.folder / "ollama.service").touch()
    return start(scene, "Ollama")


@says("… folders of text-generation-webui were found (…). Set API_FALLBACK_RESTART to the command …")
def _(scene: Scene) -> object:
    for name in ("text-generation-webui-1", "text-generation-webui-2"):
        (scene.folder / name / "installer_files" / "env").mkdir(parents=True)
        (scene.folder / name / "start_linux.sh").write_text("exit 0\n")
    return start(scene, "Oobabooga")


def restart(scene: Scene, command: StartCommand, starts: Any = restarter.Started) -> None:
    """Restart a server until it is given up."""
    given_up = threading.Event()

    def say(line: str) -> None:
        scene.say(line)
        if "could not be" in line:
            given_up.set()

    scene.patch.setattr(restarter.log, "report", lambda line, error: say(line))
    scene.patch.setattr(restarter, "PAUSES", (0.0,))
    server: Any = SimpleNamespace(program="Ollama", command=lambda: command)
    tools = restarter.Tools(say, wait=lambda over, seconds: over.wait(seconds / 20), start=starts)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        ours = restarter.Restarter(lambda _: server, tools)
        ours.primary_failed(address)
        assert given_up.wait(30)
        ours.close()


@says(
    "Starting … again (try … of …); its output is in …",
    "… ended before it accepted connections (exit code …); its output is in …",
    "… could not be restarted: …",
)
def _(scene: Scene) -> object:
    return restart(scene, StartCommand((sys.executable, "-c", "exit(3)")))


@says("… could not be restarted: its command cannot be run (…). Correct API_FALLBACK_RESTART")
def _(scene: Scene) -> object:
    return restart(scene, StartCommand((str(scene.folder / "gone"),)))


@says("… could not be started again: …")
def _(scene: Scene) -> object:
    def broken(command: StartCommand, output: Path, heading: str, folder: Path | None) -> None:
        raise RuntimeError("a bug of ours")

    return restart(scene, StartCommand(("serve",)), broken)
