"""Checks of the LLM server and the second server: each is asked for one word."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from zwaif_fallback.addresses import same_server
from zwaif_fallback.answering import who_speaks
from zwaif_fallback.answering.second_server import PASS_HEADER, Deadlines, second_server
from zwaif_fallback.doctor.findings import Finding, ok, skipped
from zwaif_fallback.doctor.situation import Situation
from zwaif_fallback.errors import EngineError
from zwaif_hooks.failover.start_check import configured_primary
from zwaif_hooks.messages import Message, Sampling
from zwaif_hooks.network.connect import listens

_GREETING = [{"role": "user", "content": "Hi"}]
_FROM_FALLBACK = "Replies come from the fallback until it is back."


@dataclass(frozen=True)
class Primary:
    """Z-Waif's own LLM server."""

    kind: str
    """As in ``API_TYPE``."""
    name: str
    """The program's name for people."""
    address: str
    """Empty for an LM Studio that is not running: only its library knows where to look."""
    reachable: bool
    """Whether it accepts connections."""

    @property
    def place(self) -> str:
        """Name and address for people."""
        return f"{self.name} at {self.address}" if self.address else self.name


def find_primary(env: Mapping[str, str]) -> Primary:
    """Return Z-Waif's own LLM server. Tries a connection, which takes a second at most."""
    kind, address = configured_primary(env)
    if kind == "LMStudio":
        address = find_lmstudio()
        reachable = bool(address)  # its library has just spoken to it
    else:
        reachable = bool(address) and listens(address)
    return Primary(kind, who_speaks.server_program(env), address, reachable)


def check_primary(here: Situation) -> Finding:
    if here.tree is None:
        return skipped("unknown, as there is no Z-Waif here")
    primary = find_primary(here.env)
    if not primary.reachable:
        return Finding(
            "warning",
            f"{primary.place} is down",
            _FROM_FALLBACK,
            f"Start it, or correct its address in {here.tree / '.env'}.",
        )
    seconds = float(here.store.get("API_FALLBACK_FIRST_TOKEN_TIMEOUT"))
    return _ask_for_a_word(primary, here.env, seconds)


def _ask_for_a_word(primary: Primary, env: Mapping[str, str], seconds: float) -> Finding:
    name, (path, body) = primary.place, question(primary.kind, env)
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy for the internet must not get requests to this machine
            response = session.post(
                f"http://{primary.address}{path}",
                json=body,
                headers=PASS_HEADER,
                timeout=(2.0, seconds),
                allow_redirects=False,
            )
            text = response.text
    except requests.Timeout:
        return Finding(
            "warning",
            f"{name} accepts connections, but did not answer within {seconds:.0f} s",
            "When it is this slow, the local model starts to answer as well.",
            "If it was still loading its model, run this again; otherwise raise API_FALLBACK_FIRST_TOKEN_TIMEOUT.",
        )
    except requests.RequestException:
        return Finding(
            "warning",
            f"{name} accepts connections, but closed this one without an answer",
            _FROM_FALLBACK,
            "Look in that server's window for the reason, then restart it.",
        )
    if response.status_code == 200 and (word := reply_in(text)) is not None:
        return ok(f"{name} answers" + ("" if word else ", though its first token was blank"))
    return _refused(name, response.status_code, text, primary.kind)


def question(kind: str, env: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Return path and body of a request for one token, in the form Z-Waif uses."""
    if kind == "Ollama":
        body = {"model": env.get("ZW_OLLAMA_MODEL", ""), "messages": _GREETING, "stream": False}
        return "/api/chat", {**body, "options": {"num_predict": 1}}
    body = {"messages": _GREETING, "max_tokens": 1}
    if kind == "LMStudio":
        return "/v1/chat/completions", {**body, "model": env.get("ZW_LMSTUDIO_MODEL", "")}
    return "/v1/chat/completions", {**body, "mode": "chat", "character": env.get("CHARACTER_CARD") or None}


def reply_in(text: str) -> str | None:
    """Return the text of a reply in any of the three forms; None if it is not a reply."""
    try:
        answer = json.loads(text)
        message = answer["choices"][0]["message"] if "choices" in answer else answer["message"]
        content = message["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None
    return str(content or "")


def _refused(name: str, status: int, text: str, kind: str) -> Finding:
    said = " ".join(text.split())[:160]
    setting = {"Ollama": "ZW_OLLAMA_MODEL", "LMStudio": "ZW_LMSTUDIO_MODEL"}.get(kind, "HOST_PORT")
    return Finding(
        "problem",
        f"{name} is running, but gives no reply (HTTP {status}{f': {said}' if said else ''})",
        "Waiting will not fix this: until then every reply comes from the fallback.",
        f"Load a model in that server, and check {setting} in Z-Waif's .env.",
    )


def find_lmstudio() -> str:
    """Return the address of LM Studio, or an empty string. Its library knows the ports it may use."""
    try:
        from lmstudio import Client
    except Exception:  # not installed, or broken
        return ""
    return str(Client.find_default_local_api_host() or "")


def check_fallback_host(here: Situation) -> Finding:
    host = here.text("API_FALLBACK_HOST")
    if not host:
        return skipped("none is set; the local model answers")
    kind, address = configured_primary(here.env)
    if here.tree is not None and kind != "LMStudio" and same_server(host, address):
        return Finding(
            "warning",
            f"{host} is your main server",
            "It is skipped, and the local model answers.",
            'Set another server, or none: zwaif-fallback settings set API_FALLBACK_HOST ""',
        )
    mend = 'Start it, or remove it: zwaif-fallback settings set API_FALLBACK_HOST ""'
    meaning = "The local model answers instead, a little later."
    try:
        deadlines = Deadlines(connect=2.0, first_token=float(here.store.get("API_FALLBACK_FIRST_TOKEN_TIMEOUT")))
        chat = second_server(here.store.get, host, here.text("API_FALLBACK_HOST_MODEL"), deadlines)
        word = next(chat.stream([Message("user", "Hi")], sampling=Sampling(), max_tokens=8), "")
    except EngineError as error:
        return Finding("warning", str(error), meaning, mend)
    return ok(f"{host} answers" + ("" if word.strip() else ", though its first token was blank"))
