"""A stand-in for Z-Waif: a small host with the same module names, files and behaviour, including its weak spots.

The tests, the demo and the self-test start it as a real process instead of a Z-Waif checkout. It is part of the package
because ``zwaif-fallback demo`` and ``zwaif-fallback test`` need it. Deliberate differences: speech is written to
``Spoken.jsonl``; there are no microphone and no games; memory (RAG) looks for shared words; the clients ``ollama`` and
``lmstudio`` are imported only if ``API_TYPE`` or ``API_TYPE_VISUAL`` names them; without Gradio there is no page.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

TREE = Path(__file__).with_name("tree")

DEFAULT_ENV: dict[str, str] = {
    "CHAR_NAME": "Mia",
    "CHARACTER_CARD": "Mia",
    "YOUR_NAME": "You",
    "NEWLINE_CUT_BOOT": "OFF",
    "RP_SUP_BOOT": "ON",
    "API_TYPE": "Oobabooga",
    "API_TYPE_VISUAL": "Oobabooga",
    "ZW_OLLAMA_MODEL": '"primary"',
    "ZW_OLLAMA_MODEL_VISUAL": '"primary"',
    "ZW_LMSTUDIO_MODEL": '"primary"',
    "ZW_LMSTUDIO_MODEL_VISUAL": '"primary"',
    "API_STREAM_CHATS": "ON",
    "USE_CHATPOPS": "ON",
    "TOKEN_LIMIT": "4096",
    "MESSAGE_PAIR_LIMIT": "30",
    "TIME_IN_ENCODING": "ON",
    "USE_ROLLING_SUMMARIES": "OFF",
    "SEARCH_POINT_SIZE": "10",
    "SUMMARY_TOKENS_MAX_COUNT": "310",
    "HOST_PORT": "127.0.0.1:5000",
    "IMG_PORT": "127.0.0.1:5000",
    "OLLAMA_VISUAL_ENCODE_GUIDANCE": "ON",
    "OLLAMA_VISUAL_CARD": "VISUAL",
    "MODULE_RAG": "OFF",
    "MODULE_VISUAL": "OFF",
}
"""The ``.env`` keys that the stand-in reads, with their values in a fresh copy."""


def copy_tree(destination: Path, env: Mapping[str, str]) -> Path:
    """Copy the stand-in to ``destination`` (created if missing), write its ``.env``, and return the folder.

    ``env`` overrides or adds to :data:`DEFAULT_ENV`. By default, pictures go to the same server as the chat.
    """
    shutil.copytree(TREE, destination, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    values = {**DEFAULT_ENV, **env}
    if "API_TYPE_VISUAL" not in env:
        values["API_TYPE_VISUAL"] = values["API_TYPE"]
    if "IMG_PORT" not in env:
        values["IMG_PORT"] = values["HOST_PORT"]
    lines = [
        "#Settings of the stand-in. Switches are ON or OFF.",
        *(f"{key} = {value}" for key, value in values.items()),
    ]
    (destination / ".env").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return destination
