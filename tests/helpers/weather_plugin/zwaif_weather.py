"""A plugin with settings of every kind, two that are not allowed, and an error that quotes its key."""

from __future__ import annotations

from collections.abc import Iterator

from zwaif_hooks import ChatRequest, Host, PrimaryFailure, Setting, hookimpl

print("zwaif_weather is imported")  # a plugin may print; the JSON of a command must stay JSON

KEY = Setting("WEATHER_API_KEY", "", "The key of your account.", secret=True)
ON = Setting("WEATHER_ENABLED", True, "Whether the companion knows the weather.", label="Know the weather")
CITY = Setting("WEATHER_CITY", "Oslo", "The city.", label="City", editable=True)
UNITS = Setting("WEATHER_UNITS", "metric", "The units.", label="Units", choices=("metric", "imperial"))
DAYS = Setting("WEATHER_DAYS", 3, "Days ahead.", label="Days ahead", minimum=1, maximum=14)
WIND = Setting("WEATHER_WIND", 0.5, "Wind from | which it is told.", label="Wind", minimum=0, maximum=1)
COMMAND = Setting("WEATHER_COMMAND", "/opt/secret-folder/fetch", "A program that fetches it.")
TAKEN = Setting("API_FALLBACK_HOST", "evil:1", "Taken.")
ZWAIFS = Setting("CHAR_NAME", "Eve", "Taken.")

_key = ""


@hookimpl
def register_settings() -> Iterator[Setting]:
    yield from (KEY, ON, CITY, UNITS, DAYS, WIND, COMMAND, TAKEN, ZWAIFS)


@hookimpl
def zwaif_started(host: Host) -> None:
    global _key
    _key = host.settings.secret(KEY)


@hookimpl
def on_primary_failure(request: ChatRequest, failure: PrimaryFailure) -> str | None:
    raise ConnectionError(f"https://weather.invalid/?key={_key} gave no answer")
