"""What several tests share: servers that fail, workers and engines that follow a script, models made for a test."""

from pathlib import Path

HELPERS = Path(__file__).parent
"""Programs in this folder are started as processes of their own."""
