"""The section in a real Chromium: what a person clicks, and what is in ``.env`` afterwards.

Needs Gradio, Python's ``playwright`` and a Chromium on this machine (``ZWAIF_TEST_CHROMIUM`` names another one); no
browser is downloaded. Everything but the loopback address is cut off.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

gr: Any = pytest.importorskip("gradio", reason="gradio is not installed here")
sync_api: Any = pytest.importorskip("playwright.sync_api", reason="playwright is not installed here")

from tests.helpers.chromium import CHROMIUM, loopback_only  # noqa: E402  (after the skips)
from tests.helpers.pages import page, served  # noqa: E402
from tests.helpers.scripted_service import ENV, ScriptedDownload, ScriptedService, loaded  # noqa: E402
from zwaif_fallback.answering.outages import Outages  # noqa: E402
from zwaif_fallback.models.search import FoundModel  # noqa: E402
from zwaif_fallback.settings import SETTINGS  # noqa: E402
from zwaif_fallback.ui.model_list import ModelList  # noqa: E402
from zwaif_fallback.ui.section import build as build_section  # noqa: E402
from zwaif_fallback.ui.setting_edits import ENABLED, HOST, MODEL  # noqa: E402
from zwaif_hooks.host import webui  # noqa: E402
from zwaif_hooks.host.settings_store import SettingsStore  # noqa: E402
from zwaif_hooks.messages import FailureKind, PrimaryFailure  # noqa: E402
from zwaif_hooks.stream import PrimaryError  # noqa: E402
from zwaif_hooks.turn_log import TurnRecord  # noqa: E402

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found (set ZWAIF_TEST_CHROMIUM)"),
]

expect = sync_api.expect
Window = Callable[[], Any]


@pytest.fixture
def address(
    host: Any, service: ScriptedService, model_list: ModelList, download: ScriptedDownload, outages: Outages
) -> Iterator[str]:
    demo = page(nested_settings=True)
    build = lambda: build_section(gr, host, service, outages, model_list=model_list, download=download)  # noqa: E731
    webui.add_to_settings_tab(demo, gr, [("fallback", build)])
    with served(demo) as where:
        yield where


@pytest.fixture
def window(browser: Any, address: str) -> Iterator[Window]:
    context = browser.new_context(viewport={"width": 1280, "height": 1600})
    context.route("**/*", loopback_only)
    expect.set_options(timeout=20_000)

    def open_settings() -> Any:
        opened = context.new_page()
        opened.goto(address, wait_until="domcontentloaded")
        return settings_tab(opened)

    yield open_settings
    context.close()


def settings_tab(opened: Any) -> Any:
    outer_tab(opened, "Settings").click()
    expect(live(opened)).to_be_visible()
    return opened


def outer_tab(opened: Any, label: str) -> Any:
    return opened.get_by_role("tablist").first.get_by_role("tab", name=label, exact=True).first


def reload(opened: Any) -> Any:
    opened.reload(wait_until="domcontentloaded")
    return settings_tab(opened)


def live(opened: Any) -> Any:
    return opened.locator(".zwaif-fallback-live")


def section(opened: Any) -> Any:
    """The words of the open tab: what a person can read in it."""
    return opened.locator('[role="tabpanel"]:visible').first


def button(opened: Any, name: str) -> Any:
    return opened.get_by_role("button", name=name, exact=True).last


def change_host(opened: Any, text: str) -> None:
    opened.get_by_label(re.compile("^Fallback Host")).fill(text)
    button(opened, "Change Host").click()
    expect(section(opened)).to_contain_text(f"Saved: Fallback Host is {text}.")


def choose_model(opened: Any, name: str) -> None:
    """Pick a row of the list once the page has filled it."""
    models = opened.get_by_label("Fallback Model")
    expect(models).not_to_have_value("")
    models.click()
    opened.get_by_role("option", name=name).click()


def restarted(env_file: Path) -> SettingsStore:
    return SettingsStore(SETTINGS, env_file, environ={}, say=pytest.fail)


def test_enable_toggle(window: Window, env_file: Path) -> None:
    here = window()
    expect(here.get_by_label("Enable API Fallback")).to_be_checked()
    button(here, "Check/Uncheck").click()
    expect(here.get_by_label("Enable API Fallback")).not_to_be_checked()
    assert restarted(env_file).get(ENABLED) is False
    button(here, "Check/Uncheck").click()
    expect(here.get_by_label("Enable API Fallback")).to_be_checked()
    assert env_file.read_text(encoding="utf-8") == ENV


def test_found_model_from_the_list_and_its_load(
    window: Window, service: ScriptedService, model_list: ModelList, env_file: Path
) -> None:
    here, model = window(), model_list.found()[0].setting
    expect(here.get_by_label("Fallback Model")).to_have_value(
        "Other: TinyLlama 1.1B Chat, Basic, about 6 tokens/s, 2.2 GB to download"
    )
    choose_model(here, "On this computer: companion:1b (Ollama)")
    expect(section(here)).to_contain_text("Tiny Companion (from Ollama")
    service.progress = ["Loading the companion: 40 %"]
    button(here, "Load Model").click()
    expect(section(here)).to_contain_text("Loading the companion: 40 %")
    _wait_until(here, lambda: service.loads == [(model, False)])
    assert restarted(env_file).get(MODEL) == model
    reload(here)
    expect(section(here)).to_contain_text("Loading the companion: 40 %")
    service.progress = ["Loading the companion: 80 %"]
    expect(section(here)).to_contain_text("Loading the companion: 80 %")
    service.progress, service.speaks = [], loaded(model)
    expect(section(here)).to_contain_text("Loaded now: companion:1b, on the processor, 0.3 GB.")
    expect(here.get_by_label("Fallback Model")).to_have_value(_containing("On this computer: companion:1b (Ollama)"))
    button(here, "Unload Model").click()
    expect(section(here)).to_contain_text("Unloaded.")


def test_gguf_model_of_our_own_list_is_taken(window: Window, download: ScriptedDownload) -> None:
    here = window()
    choose_model(here, "Other: Llama 3.2 3B Instruct")
    expect(section(here)).to_contain_text("Load Model downloads it (2.0 GB).")
    button(here, "Load Model").click()
    expect(section(here)).to_contain_text("Downloading Llama 3.2 3B Instruct: 0.50 of 2.00 GB")
    assert download.asked == ["bartowski/Llama-3.2-3B-Instruct-GGUF:Llama-3.2-3B-Instruct-Q4_K_M.gguf"]


def test_who_has_nothing_is_offered_the_best_first(
    window: Window,
    model_list: ModelList,
    models: list[FoundModel],
    service: ScriptedService,
    download: ScriptedDownload,
) -> None:
    models.clear()
    service.automatic, best = True, model_list.recommended()
    assert best is not None
    here = window()
    expect(here.get_by_label("Fallback Model")).to_have_value("Automatic: no model on this computer yet")
    expect(section(here)).to_contain_text("Load Model downloads the one that suits it best")
    expect(section(here)).to_contain_text(best.name)
    here.get_by_label("Fallback Model").click()
    expect(here.get_by_role("option").nth(1)).to_contain_text(f"Recommended: {best.title}, {best.quality}")
    here.get_by_label("Fallback Model").press("Escape")
    button(here, "Load Model").click()
    expect(section(here)).to_contain_text(f"Downloading {best.title}")
    assert download.asked == [best.name]


def test_open_list_keeps_its_rows_when_the_tab_has_been_refreshed(
    window: Window, model_list: ModelList, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, digest = window(), model_list.digest
    expect(here.get_by_label("Fallback Model")).not_to_have_value("")
    outer_tab(here, "Chat").click()
    answered: list[float] = []

    def slow(service: Any) -> str:
        time.sleep(0.5)  # a search of the disks takes that long
        answered.append(time.monotonic())
        return digest(service)

    monkeypatch.setattr(model_list, "digest", slow)
    outer_tab(here, "Settings").click()
    here.get_by_label("Fallback Model").click()
    rows = here.get_by_role("option").count()
    assert rows > 3
    _wait_until(here, lambda: bool(answered))
    here.wait_for_timeout(500)
    expect(here.get_by_role("option")).to_have_count(rows)


def test_model_that_is_none_is_refused_at_the_list(window: Window, service: ScriptedService) -> None:
    here = window()
    here.get_by_label("Fallback Model").fill("banana")
    here.get_by_label("Fallback Model").press("Enter")
    button(here, "Load Model").click()
    expect(here.get_by_role("alert").first).to_contain_text("There is no such model in the list.")
    assert service.loads == []


def test_automatic_is_shown_with_who_answers(window: Window, service: ScriptedService) -> None:
    service.automatic = True
    here = window()
    expect(here.get_by_label("Fallback Model")).to_have_value("Automatic: companion:1b (Ollama)")
    for label in ("Debug", "Settings"):
        outer_tab(here, label).click()
        here.wait_for_timeout(1500)
    expect(here.get_by_label("Fallback Model")).to_have_value("Automatic: companion:1b (Ollama)")
    service.speaks = loaded("owner/SmolLM2-135M-Instruct")
    expect(here.get_by_label("Fallback Model")).to_have_value("Automatic: SmolLM2 135M Instruct")
    button(here, "Load Model").click()
    expect(section(here)).to_contain_text("Loaded now: SmolLM2 135M Instruct")
    _wait_until(here, lambda: service.loads == [("auto", False)])


def test_download_is_watched_by_every_window_and_cancelled(
    window: Window, service: ScriptedService, download: ScriptedDownload
) -> None:
    one, two = window(), window()
    one.get_by_label("Fallback Model").fill("owner/own-model")
    one.get_by_label("Fallback Model").press("Enter")
    expect(section(one)).to_contain_text("Load Model downloads it.")
    button(one, "Load Model").click()
    for here in (one, two):
        expect(section(here)).to_contain_text("Downloading own model: 0.50 of 2.00 GB")
    button(two, "Cancel Download").click()
    expect(section(one)).to_contain_text("continues from there")
    assert (download.asked, service.loads) == (["owner/own-model"], [])
    download.go_on.set()
    button(one, "Load Model").click()
    expect(section(one)).to_contain_text("Downloaded: own model.")
    assert service.loads == [("owner/own-model", False)]


def test_host_good_and_bad(window: Window, env_file: Path) -> None:
    here = window()
    change_host(here, "10.0.0.7:5000")
    reload(here)
    expect(here.get_by_label(re.compile("^Fallback Host"))).to_have_value("10.0.0.7:5000")
    here.get_by_label(re.compile("^Fallback Host")).fill("no host at all")
    button(here, "Change Host").click()
    expect(here.get_by_role("alert").first).to_contain_text("Fallback Host is 'no host at all'")
    expect(here.get_by_label(re.compile("^Fallback Host"))).to_have_value("10.0.0.7:5000")
    assert restarted(env_file).get(HOST) == "10.0.0.7:5000"


def test_test_button_generates(window: Window, service: ScriptedService) -> None:
    here = window()
    here.get_by_label("Test Message").fill("Are you there?")
    button(here, "Test Fallback").click()
    expect(here.get_by_label("Test Reply")).to_have_value(_containing("Yes, loud and clear."))
    expect(here.get_by_label("Test Reply")).to_have_value(_containing("[Scripted 1B: first words after"))
    assert service.asked == ["Are you there?"]


def test_deadline_typed_beside_its_slider(window: Window, env_file: Path) -> None:
    here = window()
    here.get_by_text("Advanced", exact=True).click()
    number = here.get_by_label("number input for Seconds to the First Word")
    number.fill("42")
    number.press("Enter")
    expect(section(here)).to_contain_text("\u2713 Saved. ")
    reload(here)
    here.get_by_text("Advanced", exact=True).click()
    expect(number).to_have_value("42")
    assert restarted(env_file).get("API_FALLBACK_FIRST_TOKEN_TIMEOUT") == 42


def test_text_box_of_advanced_counts_when_it_is_left(window: Window, env_file: Path) -> None:
    here = window()
    here.get_by_text("Advanced", exact=True).click()
    box = here.get_by_label("Context Window")
    box.fill("4096")
    assert restarted(env_file).get("API_FALLBACK_CONTEXT_WINDOW") == 0
    box.press("Tab")
    expect(section(here)).to_contain_text("\u2713 Saved. How many tokens")
    assert restarted(env_file).get("API_FALLBACK_CONTEXT_WINDOW") == 4096
    box.fill("many")
    box.press("Enter")
    expect(section(here)).to_contain_text("\u26a0 Context Window is 'many', but it must be a whole number")
    expect(box).to_have_value("4096")
    device = here.get_by_label("Device")
    device.fill("banana")
    device.press("Enter")
    expect(section(here)).to_contain_text("\u26a0 Device is 'banana', but it must be auto, cpu, cuda")
    expect(device).to_have_value("auto")
    device.fill("cpu")
    device.press("Enter")
    expect(section(here)).to_contain_text("\u2713 Saved. Where the local model runs.")
    expect(section(here)).not_to_contain_text("banana")


def test_switch_of_advanced(window: Window, host: Any) -> None:
    here = window()
    here.get_by_text("Advanced", exact=True).click()
    here.get_by_label("Download a Missing Model at Start").click()
    expect(section(here)).to_contain_text("\u2713 Saved. ON downloads the model")
    assert host.settings.get("API_FALLBACK_DOWNLOAD") is True


def test_undo_and_reset(window: Window, host: Any) -> None:
    here = window()
    change_host(here, "10.0.0.7:5000")
    change_host(here, "10.0.0.8:5000")
    button(here, "Undo Last Change").click()
    expect(section(here)).to_contain_text("Undone: Fallback Host is")
    expect(here.get_by_label(re.compile("^Fallback Host"))).not_to_have_value("10.0.0.8:5000")
    host.settings.set("API_FALLBACK_THREADS", 3)
    button(here, "Reset to Defaults").click()
    expect(section(here)).to_contain_text("Reset: ")
    expect(here.get_by_label(re.compile("^Fallback Host"))).to_have_value("")
    assert host.settings.get("API_FALLBACK_THREADS") == 0
    button(here, "Undo Last Change").click()
    expect(section(here)).to_contain_text("Undone: ")
    assert host.settings.get("API_FALLBACK_THREADS") == 3


def test_two_windows_agree_by_themselves(window: Window, host: Any) -> None:
    """Within a second or two, and what is being typed stays."""
    one, two = window(), window()
    two.get_by_label("Test Message").fill("half a sent")
    button(one, "Check/Uncheck").click()
    change_host(one, "10.0.0.8:5000")
    for here in (one, two):
        expect(here.get_by_label("Enable API Fallback")).not_to_be_checked()
        expect(here.get_by_label(re.compile("^Fallback Host"))).to_have_value("10.0.0.8:5000")
    two.get_by_label(re.compile("^Fallback Host")).fill("10.0.0.9:50")
    host.settings.set("API_FALLBACK_PRELOAD", "never")
    two.get_by_text("Advanced", exact=True).click()
    expect(two.get_by_label("Load the Local Model")).to_have_value("never")
    expect(two.get_by_label(re.compile("^Fallback Host"))).to_have_value("10.0.0.9:50")
    expect(two.get_by_label("Test Message")).to_have_value("half a sent")


def test_live_state_follows_by_itself(window: Window, host: Any, outages: Outages) -> None:
    here = window()
    expect(live(here)).to_contain_text("0 replies in the last hour")
    host.records.add(TurnRecord(time.time(), "127.0.0.1:5000", "oobabooga", "Tiny", seconds=1.5))
    outages.began("127.0.0.1:5000", "nothing listens")
    expect(live(here)).to_contain_text("1 reply in the last hour, 1 by the fallback; 1 outage")
    expect(live(here)).to_contain_text("after 1.5 s, by Tiny on this computer.")
    expect(live(here).locator("svg")).to_be_visible()


def test_phone_shows_everything_and_scrolls_nothing_sideways(window: Window) -> None:
    here = window()
    here.set_viewport_size({"width": 390, "height": 844})
    here.get_by_text("Advanced", exact=True).click()
    expect(here.get_by_label("Context Window")).to_be_visible()
    wide = """() => [...document.querySelectorAll('.zwaif-fallback-words *, .zwaif-fallback-words')]
        .filter(one => one.offsetParent && one.getBoundingClientRect().right > window.innerWidth + 1)
        .map(one => one.outerHTML.slice(0, 100))"""
    assert here.evaluate(wide) == []
    hidden = """() => [...document.querySelectorAll('.zwaif-fallback-words')]
        .filter(one => one.offsetParent && one.scrollHeight > one.clientHeight + 1)
        .map(one => one.outerHTML.slice(0, 100))"""
    assert here.evaluate(hidden) == []
    picture, words = live(here).locator("svg").bounding_box(), live(here).bounding_box()
    assert picture["width"] == words["width"]


def test_picture_is_as_wide_as_the_section(window: Window) -> None:
    here = window()
    here.set_viewport_size({"width": 1800, "height": 1000})
    assert live(here).locator("svg").bounding_box()["width"] == live(here).bounding_box()["width"] > 1000


def test_nothing_jumps_while_the_page_asks_for_news(window: Window) -> None:
    """Gradio stretches HTML that waits for its new value."""
    here = window()
    heights = here.evaluate(
        """async () => {
            const seen = new Set();
            for (const end = Date.now() + 3500; Date.now() < end; await new Promise(requestAnimationFrame))
                seen.add(document.querySelector('[role="tabpanel"]:not([style*="none"])').scrollHeight);
            return [...seen];
        }"""
    )
    assert len(heights) == 1


def test_chat_page_says_who_speaks_and_stops_when_the_server_is_back(window: Window, host: Any) -> None:
    here = window()
    asked: list[str] = []
    outer_tab(here, "Chat").click()
    line = here.locator("#zwaif-fallback-chat")
    expect(line).not_to_be_visible()
    server = host.primaries.get("127.0.0.1:5000")
    server.failed(PrimaryFailure(FailureKind.REFUSED, "nothing listens"), probe=_silent)
    host.records.add(TurnRecord(time.time(), "127.0.0.1:5000", "oobabooga", "owner/Tiny-1B", seconds=1.5))
    expect(line).to_have_text("Answered by Tiny 1B on this computer while Oobabooga is down.")
    server.succeeded()
    expect(line).not_to_be_visible()
    outer_tab(here, "Debug").click()
    here.wait_for_timeout(1500)  # what was asked just before may still be under way
    here.on("request", lambda request: asked.append(request.url) if request.method == "POST" else None)
    here.wait_for_timeout(2500)
    assert asked == []


def _wait_until(here: Any, holds: Callable[[], bool]) -> None:
    """Playwright must go on meanwhile: it lets the page's requests through."""
    end = time.monotonic() + 20.0
    while not holds():
        assert time.monotonic() < end
        here.wait_for_timeout(50)


def _silent(scope: Any) -> Iterator[Any]:
    """A probe of a server that is away."""
    raise PrimaryError(FailureKind.REFUSED, "nothing listens")
    yield


def test_nothing_is_asked_while_nobody_looks(window: Window) -> None:
    """Once a second while the section is seen; never while another tab is open."""
    here = window()
    asked: list[str] = []
    here.on("request", lambda request: asked.append(request.url) if request.method == "POST" else None)
    expect(live(here)).to_be_visible()
    here.wait_for_timeout(4200)
    seen = len(asked)
    outer_tab(here, "Debug").click()
    expect(live(here)).not_to_be_visible()
    here.wait_for_timeout(1500)  # what was asked just before may still be under way
    asked.clear()
    here.wait_for_timeout(4200)
    assert 1 <= seen <= 6
    assert asked == []


def test_opening_the_tab_shows_what_changed_meanwhile(window: Window, host: Any) -> None:
    here = window()
    outer_tab(here, "Debug").click()
    host.settings.set(ENABLED, False)
    settings_tab(here)
    expect(here.get_by_label("Enable API Fallback")).not_to_be_checked()


def _containing(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text))
