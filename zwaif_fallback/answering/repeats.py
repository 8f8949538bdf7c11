"""Whether a reply repeats a recent one. Z-Waif compares replies like this and asks again when one repeats."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

_HALF_ENTITY = re.compile(r"&#?\w{0,8}$")


def repeats(text: str, recent: Sequence[str]) -> bool:
    """Whether ``text`` is one of the recent replies."""
    return bool(text.strip()) and _plain(text) in map(_plain, recent)


def may_repeat(text: str, recent: Sequence[str]) -> bool:
    """Whether ``text`` could still become one of them."""
    begun = _plain(_HALF_ENTITY.sub("", text))
    return any(_plain(reply).startswith(begun) for reply in recent)


def _plain(text: str) -> str:
    return html.unescape(text).strip()
