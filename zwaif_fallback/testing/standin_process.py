"""The stand-in for Z-Waif in a process of its own, with the plugins that pip installed."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path

import requests

from zwaif_fallback.demo import MODEL
from zwaif_fallback.demo.host_process import HostProcess, Turn
from zwaif_fallback.standin import copy_tree
from zwaif_fallback.standin.launch import environment

START_SECONDS = 120.0
_POLL_SECONDS = 0.1


class StandIn:
    """A running stand-in. Use it in a ``with`` statement, or call ``close``."""

    def __init__(
        self,
        folder: Path,
        server: str,
        plugins: Path | None = None,
        fallback: bool = False,
        page: bool = False,
        **settings: str,
    ) -> None:
        """Start it and wait until it is up.

        Args:
            folder: where its files go.
            server: address of its LLM server, such as ``FaultServer().address``.
            plugins: a folder that ``pip install --target`` filled; without it the plugins of this environment count.
            fallback: whether our own plugin runs as well, with the demo's tiny model (its first reply takes seconds).
            page: whether its page is served, which needs Gradio.
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
        port = _free_port() if page else 0
        self.page = f"http://127.0.0.1:{port}" if page else ""
        """The address of its page; empty if there is none."""
        env |= {"ZWAIF_STANDIN_PORT": str(port)} if page else {"ZWAIF_STANDIN_UI": "OFF"}
        env["XDG_STATE_HOME"] = str(folder / "state")
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

    def labels(self) -> list[str]:
        """Return the labels of the components on its page, as soon as it is served.

        Raises:
            TimeoutError: it is not served within two minutes.
        """
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(requests.ConnectionError):
                config = requests.get(f"{self.page}/config", timeout=START_SECONDS).json()
                return [str(one["props"].get("label") or "") for one in config["components"]]
            time.sleep(_POLL_SECONDS)
        raise TimeoutError(f"{self.page} is not served")

    def close(self) -> None:
        self._process.close()

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
