"""A stage for tests: the stand-in host as a real process, and the server that it talks to, which fails when told to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.helpers.fault_server import FaultServer
from zwaif_fallback.demo import MODEL
from zwaif_fallback.standin import copy_tree
from zwaif_fallback.standin.launch import environment

CHILD = Path(__file__).with_name("outage_child.py")
WATCH = {"outage_watch": "outage_child:watch"}
"""Plugins by name: module and object, both beside this file."""


class Stage:
    """The server and the host's process."""

    def __init__(
        self, folder: Path, backend: str, plugins: Mapping[str, str] = WATCH, page_port: int = 0, **settings: str
    ) -> None:
        """``page_port``: where the host serves its page; none is built without one. ``settings`` go to ``.env``."""
        self.backend = backend
        self.server = FaultServer().__enter__()
        self.port = self.server.server_port
        self.log = folder / "host.log"
        address = f"127.0.0.1:{self.port}"
        values = {
            "API_TYPE": backend,
            "HOST_PORT": address,
            "SEARCH_POINT_SIZE": "2",
            "API_FALLBACK_MODEL": str(MODEL),
            "API_FALLBACK_PRELOAD": "start",
            "API_FALLBACK_SILENCE_LIMIT": "120",  # a busy machine loads the model for longer than a user should wait
            **settings,
        }
        self.tree = copy_tree(folder / "z-waif", values)
        env = environment(folder / "site")
        _install(folder / "plugins", plugins)
        parts = [str(folder / "plugins"), str(CHILD.parent), env.get("PYTHONPATH", "")]
        env |= {"PYTHONPATH": os.pathsep.join(parts), "OLLAMA_HOST": f"http://{address}"}
        env |= {"ZWAIF_STANDIN_PORT": str(page_port)} if page_port else {"ZWAIF_STANDIN_UI": "OFF"}
        env["XDG_STATE_HOME"] = str(folder / "state")  # what these outages leave in the log is nobody's own
        self._env = env
        self._process = self._started()

    def restart(self) -> None:
        """Kill the host's process, and start another one with the same tree and the same files of the user's."""
        self._process.kill()
        self._process.wait()
        self._process = self._started()

    def _started(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(CHILD), str(self.log)],
            cwd=self.tree,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def do(self, **command: Any) -> dict[str, Any]:
        """One command; the state of the host after it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self.log.read_text(encoding="utf-8", errors="replace")[-3000:]
        state: dict[str, Any] = json.loads(line)
        return state

    def fails_with(self, fault: str) -> None:
        if fault == "refused":
            self.server.stop()
        else:
            self.server.fault = fault

    def is_well_again(self) -> None:
        if self.server.stopping.is_set():
            self.server = FaultServer(self.port).__enter__()
        self.server.fault = "healthy"
        assert self.do(until_well=True)["error"] == ""

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        finally:
            self._process.kill()
            self._process.wait()
            if not self.server.stopping.is_set():
                self.server.stop()


def _install(folder: Path, plugins: Mapping[str, str]) -> None:
    """Write the metadata that pip would install for a distribution with these plugins."""
    info = folder / "test_plugins-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: test-plugins\nVersion: 1.0\n", encoding="utf-8")
    lines = "".join(f"{name} = {place}\n" for name, place in plugins.items())
    (info / "entry_points.txt").write_text(f"[zwaif]\n{lines}", encoding="utf-8")
