"""Token counts in an OpenAI-style reply."""

from __future__ import annotations

from zwaif_hooks.stream import Usage


def usage_of(reply: object) -> Usage | None:
    """Return the counts in ``usage`` of a reply or stream event (llama.cpp: ``timings``); None if it has none."""
    if not isinstance(reply, dict):
        return None
    if isinstance(counts := reply.get("usage"), dict):
        return _told(counts.get("prompt_tokens"), counts.get("completion_tokens"))
    if isinstance(counts := reply.get("timings"), dict):
        fresh, cached = _count(counts.get("prompt_n")), counts.get("cache_n")
        # Without cache_n, prompt_n does not count what was cached from the previous turn.
        prompt = (fresh or 0) + cached if isinstance(cached, int) else None
        return _told(prompt, counts.get("predicted_n"))
    return None


def _told(prompt: object, reply: object) -> Usage | None:
    usage = Usage(_count(prompt), _count(reply))
    return usage if usage != Usage() else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
