"""A live part of the Settings tab: who gave the last replies, and how long they took."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import zwaif_hooks as zw

SHOWN = zw.Setting("REPLIES_SHOWN", 5, "How many replies the list shows.", label="Replies shown", minimum=1, maximum=50)


@zw.hookimpl
def register_settings() -> zw.Setting:
    return SHOWN


@zw.hookimpl
def register_settings_ui(gradio: Any, host: zw.Host, every: zw.Every) -> None:
    headers = ["When", "By", "Seconds", "Why not the server"]
    table = gradio.Dataframe(rows(host), headers=headers, label="Last Replies", interactive=False)
    every(2, partial(rows, host), table)


def rows(host: zw.Host) -> list[list[str]]:
    """The newest reply first; one empty row if there is none."""
    newest = host.records.recent()[: -1 - host.settings.get(SHOWN.name) : -1]
    return [row(one) for one in newest] or [["", "", "", ""]]


def row(one: zw.TurnRecord) -> list[str]:
    when = time.strftime("%H:%M:%S", time.localtime(one.at))
    return [when, one.answered_by or "nobody", f"{one.seconds:.1f}", one.cause]
