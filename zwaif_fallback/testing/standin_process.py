"""The stand-in for Z-Waif in a process of its own, with the plugins that pip installed."""

from __future__ import annotations

import os
from pathlib import Path

from zwaif_fallback.demo import MODEL
from zwaif_fallback.demo.host_process import HostProcess, Turn
from zwaif_fallback.standin import copy_tree
from zwaif_fallback.standin.launch import environment

START_SECONDS = 120.0


class StandIn:
    """A running stand-in. Use it in a ``with`` statement, or call ``close``."""

    def __init__(
        self, folder: Path, server: str, plugins: Path | None = None, fallback: bool = False, **settings: str
    ) -> None:
        """Start it and wait until it is up.

        Args:
            folder: where its files go.
            server: address of its LLM server, such as ``FaultServer().address``.
            plugins: a folder that ``pip install --target`` filled; without it the plugins of this environment count.
            fallback: whether our own plugin runs as well, with the demo's tiny model (its first reply takes seconds).
            settings: further lines of ``.env``.

        Raises:
            DemoError: it did not come up.
        """
        ours = {"API_FALLBACK_MODEL": str(MODEL)} if fallback else {"ZWAIF_BLOCK_PLUGINS": "fallback"}
        self.tree = copy_tree(folder / "z-waif", {"HOST_PORT": server, **ours, **settings})
        self._log = folder / "console.txt"
        env = environment(folder / "site")
        paths = [str(plugins) if plugins else "", env.get("PYTHONPATH", "")]
        env["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        env |= {"ZWAIF_STANDIN_UI": "OFF", "XDG_STATE_HOME": str(folder / "state")}
        self._process = HostProcess(self.tree, env, self._log)
        self._process.event("ready", longest=START_SECONDS)

    @property
    def console(self) -> str:
        """What it printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def say(self, message: str) -> Turn:
        """Send a message as its user, and return the turn with the ``reply``."""
        return self._process.say(message, lambda piece: None)

    def wait_for(self, *texts: str) -> str:
        """Return the line of its Debug tab that contains one of ``texts``.

        Raises:
            DemoError: the process ended, or did nothing for two minutes.
        """
        return self._process.wait_for(*texts)

    def close(self) -> None:
        self._process.close()

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
