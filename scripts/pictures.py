"""Make the pictures in ``docs/images``.

    python scripts/pictures.py outage                    the demo's chat; plays the demo
    python scripts/pictures.py tab settings-tab-v1.15    the section in the Settings tab of a running Z-Waif
    python scripts/pictures.py chat chat-v1.15-outage    the Chat tab of a running Z-Waif

The last two photograph whatever that Z-Waif does at the moment: for an outage, stop its LLM server and send a message.
Needs Playwright (the extra ``browser``) and Chromium: the first on the path, or ``ZWAIF_TEST_CHROMIUM``. Look at each
picture before you commit it.
"""

from __future__ import annotations

import argparse
import html
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
OUTAGE = "outage.png"
CHAT = "chat-v1.15-outage.png"
TAB = {
    "settings-tab-v1.15": ("", "-dark", "-phone"),
    "settings-tab-v1.15-outage": ("", "-dark", "-phone"),
    "settings-tab-v1.14-R4-outage": ("",),
}
"""The views that are kept of each state of the section."""
VIEWS = {"": (1100, ""), "-dark": (1100, "?__theme=dark"), "-phone": (390, "")}
"""Width in pixels, and what selects the theme."""
SECTION = (
    "xpath=//*[@id='zwaif-fallback-live']/ancestor::*[contains(@class,'block') and not(@id='zwaif-fallback-live')]"
)
KILLED = "[the server is killed]"
STYLE = """
body { margin: 0; font: 16px/1.45 Inter, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif; color: #e6edf6 }
main { width: 744px; padding: 20px 28px 20px 24px; border-radius: 16px; background: #131a26; border: 2px solid #2b3750 }
.turn, .back { border-left: 5px solid #2fbf71; padding: 5px 0 5px 18px }
.turn.down { border-color: #f0556a }
.turn.dies { border-image: linear-gradient(#2fbf71 52%, #f0556a 52%) 1 }
p { margin: 5px 0; padding: 9px 15px; border-radius: 14px; width: fit-content; max-width: 540px }
.you { margin-left: auto; background: #3267d6; color: #fff; border-bottom-right-radius: 4px }
.reply { display: flex; flex-wrap: wrap; align-items: center; gap: 0 12px }
.companion { background: #263247; border-bottom-left-radius: 4px }
.local { color: #ffd479 }
small { font-size: 13.5px; color: #9fb0c8 }
b { font-size: 13px; font-weight: 600; border-radius: 9px; padding: 2px 9px; white-space: nowrap }
.killed { background: #f0556a; color: #fff }
.back b { background: #2fbf71; color: #06240f }
"""


def names() -> set[str]:
    """The file of every picture that this script makes."""
    return {OUTAGE, CHAT, *(f"{name}{view}.png" for name, views in TAB.items() for view in views)}


# --- the chat through an outage --------------------------------------------------------------------------------------


def outage() -> None:
    """Play the demo and photograph its chat."""
    from PIL import Image

    demo = [sys.executable, "-m", "zwaif_fallback", "demo"]
    played = subprocess.run(
        demo, check=True, capture_output=True, encoding="utf-8", env={**os.environ, "PYTHONUTF8": "1"}
    )
    with browser() as chromium:
        page = chromium.new_page(viewport={"width": 800, "height": 600}, device_scale_factor=2)
        page.set_content(page_of(played.stdout))
        taken = page.locator("main").screenshot(omit_background=True)
    Image.open(BytesIO(taken)).quantize(128, Image.Quantize.FASTOCTREE).save(IMAGES / OUTAGE, optimize=True)


def page_of(printed: str) -> str:
    """The demo's printed chat as a page: the local model's words in another colour, the server's state at the edge."""
    turns = re.findall(
        r"  You:     (.+)\n  Z-Waif:  ((?:.|\n)+?)\n +-- answered by ([^(\n]+)(.*)|has been (started) again", printed
    )
    rows = (
        _turn(*turn[:4]) if not turn[4] else '<div class="back"><b>the LLM server is back</b></div>' for turn in turns
    )
    return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><main>{''.join(rows)}</main>"


def _turn(message: str, reply: str, who: str, detail: str) -> str:
    reply = html.escape(re.sub(r"^\[server \d+\] ", "", " ".join(reply.split())))
    state = ""
    if KILLED in reply:
        state = "dies"
        reply = reply.replace(f"{KILLED} ", '<b class="killed">server killed</b> <span class="local">') + "</span>"
    elif "local model" in who:
        state = "down"
        reply = f'<span class="local">{reply}</span>'
    seconds = re.search(r"first words after [\d.]+ s", detail)
    label = who.strip() + (f", {seconds[0]}" if seconds else "")
    return (
        f'<div class="turn {state}"><p class="you">{html.escape(message)}</p>'
        f'<div class="reply"><p class="companion">{reply}</p><small>{label}</small></div></div>'
    )


# --- Z-Waif's page ---------------------------------------------------------------------------------------------------


def tab(name: str, address: str) -> None:
    """Photograph the section in the Settings tab."""
    for view in TAB[name]:
        width, theme = VIEWS[view]
        with opened(address + "/" + theme, width, "Settings") as page:
            page.locator(".zwaif-fallback-live svg").wait_for()
            page.wait_for_timeout(2000)  # the page looks once a second
            page.locator(SECTION).last.screenshot(path=IMAGES / f"{name}{view}.png")


def chat(name: str, address: str) -> None:
    """Photograph the Chat tab."""
    with opened(address, VIEWS[""][0], "Chat") as page:
        page.wait_for_timeout(3000)
        page.screenshot(path=IMAGES / f"{name}.png")


@contextmanager
def opened(address: str, width: int, name: str) -> Iterator[Any]:
    """A tab of the page at ``address``; nothing else is asked for."""
    here = urlsplit(address).netloc
    with browser() as chromium:
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme="light")
        context.route("**/*", lambda route: route.continue_() if here in route.request.url else route.abort())
        page = context.new_page()
        page.goto(address, wait_until="domcontentloaded")
        page.get_by_role("tablist").first.get_by_role("tab", name=name, exact=True).first.click()
        yield page


@contextmanager
def browser() -> Iterator[Any]:
    """A Chromium, closed afterwards."""
    from playwright.sync_api import sync_playwright  # the tests read this file's tables without it

    chromium = os.environ.get("ZWAIF_TEST_CHROMIUM") or shutil.which("chromium") or sys.exit("No Chromium was found.")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


def main() -> None:
    """Make the pictures that the command line names."""
    parser = argparse.ArgumentParser(description="Make the pictures in docs/images.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("outage", help="the demo's chat through an outage")
    for kind, choices in (("tab", list(TAB)), ("chat", [Path(CHAT).stem])):
        one = kinds.add_parser(kind, help="from the page of a running Z-Waif")
        one.add_argument("name", choices=choices)
        one.add_argument("--address", default="http://127.0.0.1:7864")
    told = parser.parse_args()
    if told.kind == "outage":
        outage()
    else:
        {"tab": tab, "chat": chat}[told.kind](told.name, told.address)


if __name__ == "__main__":
    main()
