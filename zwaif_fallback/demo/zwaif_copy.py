"""A copy of a real Z-Waif for the demo: its ``.env`` points to the demo's server, its hardware libraries do nothing.

Z-Waif imports libraries for microphones, keyboards and games when it starts. The demo needs none of them, and many
machines lack what they depend on, so each is replaced by a module that accepts every call and does nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from zwaif_fallback.errors import FallbackError

HARDWARE = (
    "faster_whisper keyboard pyaudio pyautogui pygetwindow pythmc pyvts sentence_transformers silero_vad sounddevice "
    "tkinter whisper win32com win32com.client"
)
"""Modules imported at Z-Waif's start-up that need a microphone, a screen, Windows, or a download."""
_SILENT = '''"""Accepts every call and does nothing: the demo uses no such device."""


class Nothing:
    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        return self

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __iter__(self):
        return iter(())


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return Nothing
'''
OLD_PORT = 5000
"""The only port at which a release before v1.9 looks for its server."""
_SETTINGS = {
    "API_TYPE": "Oobabooga",
    "API_STREAM_CHATS": "ON",
    "USE_CHATPOPS": "ON",
    "USE_ROLLING_SUMMARIES": "OFF",
    "MODULE_RAG": "OFF",
    "MESSAGE_PAIR_LIMIT": "12",
}


class UnusableTree(FallbackError):
    """The demo cannot be played on this folder."""


def prepare(zwaif: Path, scratch: Path, values: Mapping[str, str], env: dict[str, str]) -> Path:
    """Copy ``zwaif`` into ``scratch``, write its ``.env``, and put the silent modules on ``env``'s PYTHONPATH.

    Raises:
        UnusableTree: the folder has no ``main.py`` or no ``utils/web_ui.py``, or it is older than v1.9 and the port in
            ``HOST_PORT`` is not :data:`OLD_PORT`.
    """
    for name in ("main.py", "utils/web_ui.py"):
        if not (zwaif / name).is_file():
            raise UnusableTree(f"{zwaif} is not a Z-Waif folder: it has no {name}. Give the folder that holds main.py.")
    old = not (zwaif / "API" / "api_controller.py").is_file()
    if old and not values.get("HOST_PORT", "").endswith(f":{OLD_PORT}"):
        raise UnusableTree(
            f"{zwaif} is a Z-Waif older than v1.9, which uses one fixed port. The demo needs v1.9 or newer."
        )
    tree = scratch / "z-waif"
    leave_out = shutil.ignore_patterns(".git", "venv", ".venv", "__pycache__", "models")
    shutil.copytree(zwaif, tree, ignore=leave_out)
    _write_env(tree, {**_SETTINGS, **values})
    silent = scratch / "silent"
    for module in HARDWARE.split():
        _silence(silent, module)
    parts = [str(silent), env.get("PYTHONPATH", "")]
    env["PYTHONPATH"] = os.pathsep.join(part for part in parts if part)
    env.update(MPLBACKEND="agg", GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")
    return tree


def _write_env(tree: Path, values: Mapping[str, str]) -> None:
    """Append ``values``: for python-dotenv the last line of a key wins."""
    path = tree / ".env"
    template = next(
        (tree / name for name in (".env", ".env_example", "env_example.txt") if (tree / name).exists()), None
    )
    text = template.read_text(encoding="utf-8", errors="replace") if template else ""
    lines = [f"{key} = {value}" for key, value in values.items()]
    path.write_text(text + "\n" + "\n".join(lines) + "\n", encoding="utf-8")


def _silence(folder: Path, module: str) -> None:
    package = folder / Path(*module.split("."))
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(_SILENT, encoding="utf-8")
