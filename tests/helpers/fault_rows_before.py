"""Rows that fail before a word was said."""

from __future__ import annotations

import time
from email.utils import formatdate

from zwaif_hooks.testing.fault_talk import MOST_PINGS, PING_SECONDS, Talk
from zwaif_hooks.testing.faults import healthy

RETRY_AFTER = 30
"""Seconds the row ``http_429`` asks to be left alone."""


def http_400(talk: Talk) -> None:
    talk.body_of(400, b'{"error": "context too long"}')


def http_401(talk: Talk) -> None:
    talk.body_of(401, b'{"error": "bad key"}')


def http_404(talk: Talk) -> None:
    talk.body_of(404, b'{"error": "model not found"}')


def http_429(talk: Talk) -> None:
    talk.body_of(429, b'{"error": "slow down"}', Retry_After=str(RETRY_AFTER))


def http_429_until(talk: Talk) -> None:
    """The other form of the header: a date."""
    talk.body_of(429, b'{"error": "slow down"}', Retry_After=formatdate(time.time() + RETRY_AFTER, usegmt=True))


def html_200(talk: Talk) -> None:
    talk.body_of(200, b"<html><body>proxy</body></html>", "text/html")


def error_in_200(talk: Talk) -> None:
    talk.body_of(200, b'{"error": "Unexpected endpoint or method."}')


def no_bytes_200(talk: Talk) -> None:
    talk.body_of(200, b"", "application/x-ndjson" if talk.ollama else "text/event-stream")


def no_text_json(talk: Talk) -> None:
    talk.body_of(200, b'{"model": "m", "done": true, "message": {"role": "assistant"}, "choices": []}')


def headers_then_silence(talk: Talk) -> None:
    talk.open_stream()
    talk.wfile.flush()
    talk.be_silent()


def comments_only(talk: Talk) -> None:
    talk.open_stream()
    for _ in range(3):
        talk.ping()
    talk.be_silent()


def role_then_silence(talk: Talk) -> None:
    talk.open_stream()
    talk.role()
    talk.be_silent()


def reset_at_once(talk: Talk) -> None:
    talk.reset()


def apology_of_v114(talk: Talk) -> None:
    talk.open_stream()
    talk.say(["Sorry, I'm having ", "connection issues ", "right now."])
    talk.complete()


def lists_models_but_hangs(talk: Talk) -> None:
    """Every GET is answered, no chat ever is."""
    talk.be_silent()


def loading_503(talk: Talk) -> None:
    """llama.cpp's server, which lists its model while it is still loading it."""
    talk.body_of(503, b'{"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}')


def busy_503(talk: Talk) -> None:
    talk.body_of(503, b'{"error": "server busy, please try again. maximum pending requests exceeded"}')


def no_models_loaded(talk: Talk) -> None:
    talk.body_of(404, b'{"error": {"message": "No models loaded.", "code": "model_not_found"}}')


def runner_died_500(talk: Talk) -> None:
    talk.body_of(500, b'{"error": "llama runner process has terminated: exit status 2"}')


def no_model_503(talk: Talk) -> None:
    talk.body_of(503, b'{"detail": "No model is loaded."}')


def wrong_host_400(talk: Talk) -> None:
    talk.body_of(400, b"Invalid host header", "text/plain")


def role_then_abort(talk: Talk) -> None:
    """text-generation-webui without a model."""
    talk.open_stream()
    talk.role()
    talk.abort()


def headers_then_abort(talk: Talk) -> None:
    talk.open_stream()
    talk.abort()


def refuses_a_parameter(talk: Talk) -> None:
    """text-generation-webui: an error for a request in one piece, nothing at all for a streamed one."""
    if talk.request_body.get("stream") and "preset" in talk.request_body:
        headers_then_abort(talk)
    elif "preset" in talk.request_body:
        talk.body_of(400, b'{"error": {"message": "Preset not found: Z-Waif-Mine"}}')
    else:
        healthy(talk)


def finish_without_text(talk: Talk) -> None:
    talk.open_stream()
    talk.role()
    talk.complete()


def reasoning_for_ever(talk: Talk) -> None:
    talk.open_stream()
    with talk.server.silence:
        for _ in range(MOST_PINGS):
            talk.reasoning("hm ")
            if talk.server.stopping.wait(PING_SECONDS):
                return


def reasoning_then_finish(talk: Talk) -> None:
    talk.open_stream()
    talk.reasoning("hm ")
    talk.complete()


def comments_for_ever(talk: Talk) -> None:
    talk.open_stream()
    talk.keep_pinging()
