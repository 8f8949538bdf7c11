"""The demo: a chat through an outage and back, with a tiny model that ships with the package."""

from pathlib import Path

MODEL = Path(__file__).with_name("model")
"""The embedded model: tiny but real. The demo, the self-test and the tests use it."""
