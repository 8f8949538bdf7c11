"""The section in a real Chromium: what a person clicks, and what is in ``.env`` afterwards.

Needs Gradio, Python's ``playwright`` and a Chromium on this machine (``ZWAIF_TEST_CHROMIUM`` names another one); no
browser is downloaded. Everything but the loopback address is cut off.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

gr: Any = pytest.importorskip("gradio", reason="gradio is not installed here")
sync_api: Any = pytest.importorskip("playwright.sync_api", reason="playwright is not installed here")
CHROMIUM = os.environ.get("ZWAIF_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")

from tests.ui.pages import page  # noqa: E402  (after the skips)
from tests.ui.scripted import ENV, ScriptedService  # noqa: E402
from zwaif_fallback import ui  # noqa: E402
from zwaif_fallback.settings import SETTINGS  # noqa: E402
from zwaif_hooks.host import webui  # noqa: E402
from zwaif_hooks.host.settings import SettingsStore  # noqa: E402

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found (set ZWAIF_TEST_CHROMIUM)"),
]

expect = sync_api.expect
Window = Callable[[], Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    switches = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=switches)
        yield browser
        browser.close()


@pytest.fixture
def address(host: Any, service: ScriptedService) -> Iterator[str]:
    demo = page(nested_settings=True)
    webui.add_to_settings_tab(demo, gr, [("fallback", lambda: ui.build(gr, host, service))])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    demo.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True)
    yield f"http://127.0.0.1:{port}"
    demo.close()


@pytest.fixture
def window(browser: Any, address: str) -> Iterator[Window]:
    context = browser.new_context(viewport={"width": 1280, "height": 1600})
    context.route("**/*", lambda route: _loopback_only(route))
    expect.set_options(timeout=20_000)

    def open_settings() -> Any:
        opened = context.new_page()
        opened.goto(address, wait_until="domcontentloaded")
        return settings_tab(opened)

    yield open_settings
    context.close()


def _loopback_only(route: Any) -> None:
    route.continue_() if "127.0.0.1" in route.request.url else route.abort()


def settings_tab(opened: Any) -> Any:
    outer_tab(opened, "Settings").click()
    expect(status(opened)).to_be_visible()
    return opened


def outer_tab(opened: Any, label: str) -> Any:
    return opened.get_by_role("tablist").first.get_by_role("tab", name=label, exact=True).first


def reload(opened: Any) -> Any:
    opened.reload(wait_until="domcontentloaded")
    return settings_tab(opened)


def status(opened: Any) -> Any:
    return opened.get_by_label("Fallback Status")


def button(opened: Any, name: str) -> Any:
    return opened.get_by_role("button", name=name, exact=True).last


def change_host(opened: Any, text: str) -> None:
    opened.get_by_label("Fallback Host").fill(text)
    button(opened, "Change Host").click()
    expect(status(opened)).to_have_value(_containing(f"Saved: Fallback Host is {text}."))


def restarted(env_file: Path) -> SettingsStore:
    return SettingsStore(SETTINGS, env_file, environ={}, say=pytest.fail)


def test_enable_toggle(window: Window, env_file: Path) -> None:
    here = window()
    expect(here.get_by_label("Enable API Fallback")).to_be_checked()
    button(here, "Check/Uncheck").click()
    expect(here.get_by_label("Enable API Fallback")).not_to_be_checked()
    assert restarted(env_file).get(ui.ENABLED) is False
    button(here, "Check/Uncheck").click()
    expect(here.get_by_label("Enable API Fallback")).to_be_checked()
    assert env_file.read_text(encoding="utf-8") == ENV


def test_model_from_the_list_and_its_load(window: Window, service: ScriptedService, env_file: Path) -> None:
    here = window()
    here.get_by_label("Fallback Model").click()
    here.get_by_role("option", name="microsoft/phi-2").click()
    expect(here.get_by_label("Model Information")).to_have_value(_containing("Phi-2 (microsoft/phi-2)"))
    service.progress = ["Loading microsoft/phi-2: 40 %"]
    button(here, "Load Model").click()
    expect(status(here)).to_have_value("Loading microsoft/phi-2: 40 %")
    assert service.loads == [("microsoft/phi-2", True)]
    assert restarted(env_file).get(ui.MODEL) == "microsoft/phi-2"
    reload(here)
    expect(status(here)).to_have_value("Loading microsoft/phi-2: 40 %")
    service.progress = ["Loading microsoft/phi-2: 80 %"]
    expect(status(here)).to_have_value("Loading microsoft/phi-2: 80 %")
    service.progress = []
    expect(status(here)).to_have_value("Ready.")
    expect(here.get_by_label("Fallback Model")).to_have_value("microsoft/phi-2")


def test_model_typed_by_hand(window: Window, service: ScriptedService) -> None:
    here = window()
    here.get_by_label("Fallback Model").fill("owner/own-model")
    here.get_by_label("Fallback Model").press("Enter")
    expect(here.get_by_label("Model Information")).to_have_value(_containing("owner/own-model (custom)"))
    service.progress = ["Loading owner/own-model"]
    button(here, "Load Model").click()
    expect(status(here)).to_have_value("Loading owner/own-model")
    service.progress = []
    reload(here)
    expect(here.get_by_label("Fallback Model")).to_have_value("owner/own-model")
    assert service.loads == [("owner/own-model", True)]


def test_host_good_and_bad(window: Window, env_file: Path) -> None:
    here = window()
    change_host(here, "10.0.0.7:5000")
    reload(here)
    expect(here.get_by_label("Fallback Host")).to_have_value("10.0.0.7:5000")
    here.get_by_label("Fallback Host").fill("no host at all")
    button(here, "Change Host").click()
    expect(status(here)).to_have_value(_containing("Fallback Host is 'no host at all'"))
    expect(here.get_by_label("Fallback Host")).to_have_value("10.0.0.7:5000")
    assert restarted(env_file).get(ui.HOST) == "10.0.0.7:5000"


def test_test_button_generates(window: Window, service: ScriptedService) -> None:
    here = window()
    here.get_by_label("Test Message").fill("Are you there?")
    button(here, "Test Fallback").click()
    expect(here.get_by_label("Test Reply")).to_have_value(_containing("Yes, loud and clear."))
    expect(here.get_by_label("Test Reply")).to_have_value(_containing("[Scripted 1B on cpu: first words after"))
    assert service.asked == ["Are you there?"]


def test_deadline_typed_beside_its_slider(window: Window, env_file: Path) -> None:
    here = window()
    here.get_by_text("Advanced", exact=True).click()
    number = here.get_by_label("number input for Seconds to the First Word")
    number.fill("42")
    number.press("Enter")
    expect(status(here)).to_have_value(_containing("Saved: Seconds to the First Word is 42."))
    reload(here)
    here.get_by_text("Advanced", exact=True).click()
    expect(number).to_have_value("42")
    assert restarted(env_file).get("API_FALLBACK_FIRST_TOKEN_TIMEOUT") == 42


def test_two_windows_agree_after_a_reload(window: Window, host: Any) -> None:
    one, two = window(), window()
    button(one, "Check/Uncheck").click()
    change_host(one, "10.0.0.8:5000")
    expect(one.get_by_label("Enable API Fallback")).not_to_be_checked()
    reload(one)
    reload(two)
    for here in (one, two):
        expect(here.get_by_label("Enable API Fallback")).not_to_be_checked()
        expect(here.get_by_label("Fallback Host")).to_have_value("10.0.0.8:5000")
    assert (host.settings.get(ui.ENABLED), host.settings.get(ui.HOST)) == (False, "10.0.0.8:5000")


def test_opening_the_tab_shows_what_changed_meanwhile(window: Window, host: Any) -> None:
    here = window()
    outer_tab(here, "Debug").click()
    host.settings.set(ui.ENABLED, False)
    settings_tab(here)
    expect(here.get_by_label("Enable API Fallback")).not_to_be_checked()


def _containing(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text))
