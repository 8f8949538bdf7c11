"""Claude answers while the LLM server is down, through Anthropic's API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import requests

import zwaif_hooks as zw

KEY = zw.Setting("CLAUDE_API_KEY", "", "The key of your account with Anthropic. Needed.", secret=True)
MODEL = zw.Setting("CLAUDE_MODEL", "claude-haiku-4-5", "The model that answers.", editable=True)
URL = zw.Setting("CLAUDE_URL", "https://api.anthropic.com/v1/messages", "The address of the API.")
hosts: list[zw.Host] = []


@zw.hookimpl
def register_settings() -> tuple[zw.Setting, ...]:
    return KEY, MODEL, URL


@zw.hookimpl
def zwaif_started(host: zw.Host) -> None:
    hosts[:] = [host]


@zw.hookimpl
def will_answer() -> bool:
    return bool(hosts and hosts[0].settings.secret(KEY))


@zw.hookimpl
def on_primary_failure(request: zw.ChatRequest, failure: zw.PrimaryFailure) -> Iterator[str] | None:
    """Leave pictures, and replies that the server has begun, to the local model."""
    return None if request.has_image or failure.delivered or not will_answer() else ask(request, hosts[0].settings)


def ask(request: zw.ChatRequest, settings: Any) -> Iterator[str]:
    system = [one.content for one in request.messages if one.role == "system"]
    if not request.persona_in_messages:  # an Oobabooga server adds the character itself
        system.insert(0, request.persona.character_card)
    body = {"model": settings.get(MODEL.name), "max_tokens": request.max_tokens, "stream": True}
    body["system"] = "\n\n".join(filter(None, system))
    body["messages"] = [vars(one) for one in request.messages if one.role != "system" and one.content]
    headers = {"x-api-key": settings.secret(KEY), "anthropic-version": "2023-06-01"}
    with requests.post(settings.get(URL.name), json=body, headers=headers, stream=True, timeout=30) as answer:
        if answer.status_code in (401, 403, 429):
            raise zw.PluginProblem(f"Claude refuses to answer (HTTP {answer.status_code}): look at your account", 300)
        answer.raise_for_status()
        for line in answer.iter_lines(chunk_size=1):
            event = json.loads(line[6:]) if line.startswith(b"data: ") else {}
            if event.get("type") == "error":
                raise zw.PluginProblem(f"Claude stopped: {event['error'].get('message', 'no reason given')}")
            yield event.get("delta", {}).get("text", "")
