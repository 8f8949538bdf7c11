"""A program that calls the functions of a page without a browser, and what it may send."""

from __future__ import annotations

import json
from typing import Any

import requests

INJECTIONS = [
    "x\nCHAR_NAME = Eve",
    "x\r\nHOST_PORT = evil:1",
    'x" \nCHAR_NAME = Eve',
    "/etc/passwd",
    "\\\\server\\share\\model",
    "http://169.254.169.254/latest/meta-data",
    "file:///etc/passwd",
    "${HOME}",
    "\x00",
    ["/etc", "/root"],
    {"__type__": "update", "value": "x"},
    None,
    -1,
    1e300,
    True,
]


class Caller:
    """A program that speaks Gradio's protocol; no browser."""

    def __init__(self, address: str, demo: Any) -> None:
        self._address, self._demo = address, demo
        config = requests.get(f"{address}/config", timeout=20).json()
        self._prefix = address + config.get("api_prefix", "")

    def ours(self, name: str = "") -> list[int]:
        """Numbers of our functions, or of those called ``name``."""
        return [
            number
            for number, event in self._demo.fns.items()
            if "zwaif_fallback" in getattr(event.fn, "__module__", "") and name in ("", event.fn.__name__)
        ]

    def call(self, number: int, *data: object) -> list[dict[str, Any]]:
        """What a function tells; an empty list where Gradio refuses the call by itself."""
        asked = {"data": list(data), "fn_index": number, "session_hash": f"caller{number}", "trigger_id": None}
        if self._demo.fns[number].queue is False:
            answer = requests.post(f"{self._prefix}/run/predict", json=asked, timeout=20)
            return [answer.json()] if answer.ok else []
        joined = requests.post(f"{self._prefix}/queue/join", json=asked, timeout=20)
        if not joined.ok:
            return []
        told = []
        with requests.get(
            f"{self._prefix}/queue/data",
            params={"session_hash": f"caller{number}"},
            stream=True,
            timeout=20,
        ) as lines:
            for line in lines.iter_lines():
                event = json.loads(line[5:]) if line.startswith(b"data:") else {}
                told.append(event)
                if event.get("msg") in ("process_completed", "close_stream", "unexpected_error"):
                    break
        return told

    def inputs_of(self, number: int) -> int:
        return len(self._demo.fns[number].inputs)
