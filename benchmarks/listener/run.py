"""What a listener hears of a real Z-Waif while its LLM server dies, is gone, and comes back.

    python -m benchmarks.listener ZWAIF_FOLDER [--model FILE_OR_FOLDER] [--api Ollama] [--pace 0.06] [--chat FILE]

Plays scenes through Z-Waif's own functions (microphone, reroll, hotkey, Discord, Minecraft, summary) with a recorded
voice, prints a table, and writes the chat as a page. It needs v1.13 or newer and Z-Waif's requirements in this
environment; hardware is replaced by silence, the folder is copied and not touched. Loopback only; it ends by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "hooks")) if path not in sys.path]

from benchmarks.listener.judge import Heard, Scene, chat, table  # noqa: E402
from benchmarks.listener.server import CUT  # noqa: E402
from zwaif_fallback.demo import MODEL, zwaif_copy  # noqa: E402
from zwaif_fallback.standin.launch import environment  # noqa: E402

HERE = Path(__file__).resolve().parent
LONGEST_RUN = 600.0
USER, CHAR = "Tom", "Mira"
CARD = """\
Mira is a young woman who keeps the lighthouse at Saltmarsh Point. She is 24 years old and has short red hair.
Her best friend is a seagull called Biscuit. She drinks strong black tea and hates the sound of alarm clocks.
Mira is cheerful, a little clumsy, and speaks in short, warm sentences. She likes Tom very much."""
_TALK = {"stream_chats": True, "newline_cut": False, "supress_rp": False, "speak_shadowchats": False}
SCENES = (
    Scene("Voice chat", "talk", "Good evening, Mira! How is the sea?", _TALK),
    Scene("Voice chat, next message", "talk", "What did you have for breakfast?"),
    Scene("Dies in the middle of a sentence", "talk", f"Tell me about the {CUT}.", server="dies"),
    Scene("Voice chat", "talk", "Who is your best friend up there?", server="gone"),
    Scene("Reroll", "reroll", server="gone"),
    Scene("Hotkey: next", "skip", "What do you do when the fog comes in?", server="gone"),
    Scene("Newline cut", "talk", "What do you like to drink?", {"newline_cut": True}, server="gone"),
    Scene(
        "RP suppression", "talk", "Do you remember my name?", {"newline_cut": False, "supress_rp": True}, server="gone"
    ),
    Scene("Discord", "discord", "Hi Mira, are you on Discord today?", server="gone", spoken=False),
    Scene("Minecraft", "minecraft", "Mira, come and build a house with me!", server="gone", spoken=False),
    Scene("Rolling summary", "summary", server="gone", spoken=False),
    Scene("Without streaming", "talk", "What sound do you hate?", {"stream_chats": False}, server="gone"),
    Scene("Back: voice chat", "talk", "Are you all right again?", {"stream_chats": True}),
    Scene("Back: Discord", "discord", "Good night, Mira!", spoken=False),
)


class Server:
    """The LLM server's process; the same port each time."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "benchmarks.listener.server", str(self.port)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


class ZWaif:
    """Z-Waif's process."""

    def __init__(self, tree: Path, env: dict[str, str], log: Path, pace: float) -> None:
        command = [sys.executable, str(HERE / "child.py"), str(log), str(pace)]
        self._process = subprocess.Popen(
            command, cwd=tree, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self._log = log

    def ask(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self.event()

    def event(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            last = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
            raise SystemExit("Z-Waif ended.\n" + "\n".join(last))
        return dict(json.loads(line))

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def stage(arguments: argparse.Namespace) -> Iterator[tuple[Server, ZWaif, frozenset[str]]]:
    """Both processes and Z-Waif's chatpops; all ended afterwards."""
    server = Server()
    with tempfile.TemporaryDirectory(prefix="zwaif-listener-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        env = environment(folder / "site")
        values = {
            "HOST_PORT": f"127.0.0.1:{server.port}",
            "API_TYPE": arguments.api,
            "CHAR_NAME": CHAR,
            "YOUR_NAME": USER,
            "ZW_OLLAMA_MODEL": "m",
            "API_FALLBACK_MODEL": str(arguments.model),
            **dict(pair.split("=", 1) for pair in arguments.env),
        }
        tree = zwaif_copy.prepare(arguments.zwaif, folder, values, env)
        env["OLLAMA_HOST"] = f"http://127.0.0.1:{server.port}"
        write_character(tree)
        chatpops = json.loads((tree / "Configurables" / "Chatpops.json").read_text(encoding="utf-8"))
        zwaif = ZWaif(tree, env, folder / "host.log", arguments.pace)
        watchdog = threading.Timer(LONGEST_RUN, zwaif.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            server.start()
            zwaif.event()
            yield server, zwaif, frozenset(pop.strip() for pop in chatpops)
        finally:
            watchdog.cancel()
            zwaif.kill()
            server.kill()


def write_character(tree: Path) -> None:
    """Her card in place of the one that Z-Waif ships, and a chat log of one pair."""
    card = "".join(f"    {line}\n" for line in CARD.splitlines())
    (tree / "Configurables" / "CharacterCard.yaml").write_text(f"Character Card: |-\n{card}", encoding="utf-8")
    log = [["Hello, I am back!", "Tom! Come in, the tea is still hot.", "", "2026-01-01 10:00:00"]]
    (tree / "LiveLog.json").write_text(json.dumps(log), encoding="utf-8")


def play(server: Server, zwaif: ZWaif, chatpops: frozenset[str]) -> list[Heard]:
    """All scenes in order; the server is killed when it is to be gone, and started again when it is to be well."""
    heard: list[Heard] = []
    gone = False
    for scene in SCENES:
        if scene.server == "gone" and not gone:
            server.kill()
        if scene.server == "well" and gone:
            server.start()
            zwaif.ask(wait_for="is back after")
        gone = scene.server == "gone"
        event = zwaif.ask(scene=scene.play, text=scene.text, set=scene.settings)
        if event.get("skipped"):  # summaries came with v1.14
            continue
        heard.append(Heard(scene, event, chatpops))
        print(f"{scene.title}: {heard[-1].reply!r}", file=sys.stderr, flush=True)
    return heard


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("zwaif", type=Path, help="Z-Waif's folder")
    parser.add_argument("--model", type=Path, default=MODEL, help="of the fallback; the demo's own by default")
    parser.add_argument("--api", choices=["Oobabooga", "Ollama"], default="Oobabooga")
    parser.add_argument("--pace", type=float, default=0.06, help="seconds that the voice takes for a word")
    parser.add_argument("--chat", type=Path, help="where to write the chat, as Markdown")
    parser.add_argument("--env", action="append", default=[], metavar="KEY=VALUE", help="another line of .env")
    arguments = parser.parse_args()
    began = time.monotonic()
    with stage(arguments) as (server, zwaif, chatpops):
        heard = play(server, zwaif, chatpops)
    print("\n".join(table(heard)))
    seconds = time.monotonic() - began
    print(f"\n{arguments.api}, {arguments.model.name}, Python {platform.python_version()}, {seconds:.0f} s.")
    if arguments.chat is not None:
        arguments.chat.write_text("\n".join(chat(heard, USER, CHAR)), encoding="utf-8")
    return 1 if any(one.problems() for one in heard) else 0


if __name__ == "__main__":
    sys.exit(main())
