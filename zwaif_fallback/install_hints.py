"""What to install where something is missing: the words for it, wherever a user meets them.

No line here removes what other packages need, and each names packages only where they can be had. Z-Waif's torch is
not on pip's own index, for example; its installer knows from where it comes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

GGUF_ENGINE = "pip install xllamacpp"
Z_WAIF_AGAIN = "run Z-Waif's own installer again (startup-Install.bat; on Linux: startup.sh --reinstall)"
VC_RUNTIME = (
    "Install Microsoft's Visual C++ Redistributable (2015-2022, x64), also over an older one: "
    "https://aka.ms/vs/17/release/vc_redist.x64.exe. Then start Z-Waif again."
)
"""torch and llama.cpp need ``msvcp140.dll`` of it, which Python does not bring. The package ``msvc-runtime`` would put
the file where a venv's Python does not look."""
# 126 and 127: a library or a function in one is missing; 1114: a library's own start failed, as with an old runtime.
# https://learn.microsoft.com/windows/win32/debug/system-error-codes
NO_VC_RUNTIME = r"DLL load failed|WinError (?:126|127|1114)\b"
"""Found in the text of an error that blames Windows' own libraries, in whatever language Windows speaks."""


def remedy_for(error: str, otherwise: str) -> str:
    """The next step after a library could not be loaded: about Windows' own libraries where the text blames those."""
    return VC_RUNTIME if re.search(NO_VC_RUNTIME, error) else otherwise


def this_package() -> str:
    """The command that installs this package again, from where it came."""
    checkout = Path(__file__).resolve().parents[1]
    source = checkout if (checkout / "setup.cfg").is_file() else _installed_from()
    return f'pip install "{source}"' if source else "pip install zwaif-fallback"


def _installed_from() -> Path | None:
    """The folder that pip was given; ``None`` where the package came from an index.

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
