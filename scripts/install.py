"""What ``install.bat`` starts with the Python of Z-Waif's own environment: installs this project there, in plain words.

    venv/bin/python path/to/this/project/scripts/install.py FOLDER_OF_Z_WAIF

Nothing but the standard library: the package is not there yet.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PYTHONS = ((3, 10), (3, 14))
"""The oldest that is tried, and the first that is not."""
_PIP = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
_CAUSES = (
    (
        ("WinError 5]", "WinError 32]", "Access is denied"),
        "A file is in use or locked. Close Z-Waif, then start this again.",
    ),
    (("No space left", "Errno 28]"), "The disk is full. Free about 1 GB, then start this again."),
    (
        (
            "NewConnectionError",
            "ConnectionError",
            "Max retries",
            "getaddrinfo",
            "ReadTimeoutError",
            "ProxyError",
            "(from versions: none)",
        ),
        "The internet cannot be reached. Check the connection, then start this again; what came is kept.",
    ),
)
"""What pip says, and what to do about it."""


def main(zwaif: str) -> int:
    version = sys.version_info[:2]
    if not PYTHONS[0] <= version < PYTHONS[1]:
        print(
            f"Z-Waif's environment has Python {version[0]}.{version[1]}; 3.10 to 3.13 are needed (Z-Waif wants 3.11)."
        )
        return 1
    print(f"Installing zwaif-fallback into {sys.prefix}. This takes a minute or two; Z-Waif's files stay as they are.")
    said = _installed(f"{PROJECT}[gguf]")
    if said and _is_without_gguf(said):
        print("The package that runs GGUF models is not to be had for this computer: installing without it.")
        said = _installed(str(PROJECT))
    if said:
        print("\nIt was not installed. " + _what_to_do(said))
        return 1
    print("\nInstalled. Start Z-Waif as always; there is nothing else to switch on.\n", flush=True)
    ours = [sys.executable, "-m", "zwaif_fallback"]
    if subprocess.run([*ours, "status", "--zwaif", zwaif], check=False).returncode:
        print("\nOne thing is left: a model that can answer.\n", flush=True)
        subprocess.run([*ours, "download", "--zwaif", zwaif], check=False)
    return 0


def _installed(what: str) -> list[str]:
    """Let pip install it, its lines shown as they come; all lines where that failed, else none."""
    lines = []
    with subprocess.Popen(
        [*_PIP, what], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace"
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            lines.append(line.rstrip())
            if not line.startswith("Requirement already satisfied"):
                print(f"  {lines[-1]}"[:200], flush=True)
    return lines if pip.returncode else []


def _is_without_gguf(said: list[str]) -> bool:
    return any("No matching distribution found for xllamacpp" in line for line in said)


def _what_to_do(said: list[str]) -> str:
    text = "\n".join(said)
    for signs, cause in _CAUSES:
        if any(sign in text for sign in signs):
            return cause
    error = next((line for line in said if "ERROR:" in line), said[-1])
    return f"pip says: {error.partition('ERROR:')[2].strip() or error.strip()}"


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # old code pages lack some characters
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "."))
