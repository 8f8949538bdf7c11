"""The settings of the guards: whether they are on, and how long the LLM server may keep Z-Waif waiting."""

from __future__ import annotations

from zwaif_hooks.host.settings_store import Setting

GUARD_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "API_FALLBACK_ENABLED",
        True,
        "Keep talking when the LLM server does not answer. OFF leaves Z-Waif exactly as it is without this plugin.",
        label="Enable API Fallback",
        live_name="api_fallback_enabled",
    ),
    Setting(
        "API_FALLBACK_CONNECT_TIMEOUT",
        2.0,
        "Seconds to wait until the LLM server accepts the connection. Raise it for a server far away.",
        label="Seconds to connect",
        minimum=0.2,
        maximum=60,
    ),
    Setting(
        "API_FALLBACK_FIRST_TOKEN_TIMEOUT",
        15.0,
        "Seconds to wait for the first word of a reply before the fallback starts as well; whichever speaks first is "
        "heard. Raise it if your server thinks for long before it speaks.",
        label="Seconds to the first word",
        minimum=1,
        maximum=600,
    ),
    Setting(
        "API_FALLBACK_STALL_TIMEOUT",
        10.0,
        "Seconds that a reply may stand still between two words before the fallback goes on in its place.",
        label="Seconds between words",
        minimum=1,
        maximum=600,
    ),
    Setting(
        "API_FALLBACK_SILENCE_LIMIT",
        12.0,
        "Seconds of silence, once the LLM server was given up, before the companion says a short line such as "
        '"give me a moment"; the answer follows when it is ready in time.',
        label="Seconds of silence",
        minimum=3,
        maximum=600,
    ),
)
