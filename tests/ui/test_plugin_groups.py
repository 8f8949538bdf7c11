"""The settings of other plugins on the page: a group for each, edited as ours; secrets and free text stay away."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

gr: Any = pytest.importorskip("gradio", reason="gradio is not installed here")

from tests.helpers.page_caller import INJECTIONS, Caller  # noqa: E402  (after the skip)
from tests.helpers.pages import page  # noqa: E402
from tests.helpers.scripted_service import ScriptedDownload, ScriptedService  # noqa: E402
from tests.helpers.weather_plugin import zwaif_weather  # noqa: E402
from zwaif_fallback.ui import section  # noqa: E402
from zwaif_fallback.ui.model_list import ModelList  # noqa: E402
from zwaif_fallback.ui.panel import Panel  # noqa: E402
from zwaif_hooks.host import env_file as envfile  # noqa: E402
from zwaif_hooks.host import webui  # noqa: E402
from zwaif_hooks.plugins import PluginManager  # noqa: E402

SECRET = "wx-5b1c7-secret"
SHOWN = ["WEATHER_ENABLED", "WEATHER_CITY", "WEATHER_UNITS", "WEATHER_DAYS", "WEATHER_WIND"]
HIDDEN = ["WEATHER_API_KEY", "WEATHER_COMMAND"]
CHROMIUM = os.environ.get("ZWAIF_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def host(host: Any) -> Any:
    """With the weather plugin, whose key is set."""
    host.settings.set("API_FALLBACK_THREADS", 2)
    envfile.write(host.tree / ".env", "WEATHER_API_KEY", SECRET)
    host.settings.reload()
    manager = PluginManager(lambda line, error: None)
    assert manager.register(zwaif_weather, "weather")
    manager.register_settings(host.settings)
    assert host.settings.secret(zwaif_weather.KEY) == SECRET
    return host


@pytest.fixture
def panel(host: Any, service: ScriptedService, model_list: ModelList) -> Panel:
    return Panel(host, service, model_list=model_list)


@pytest.fixture
def demo(host: Any, service: ScriptedService, model_list: ModelList, download: ScriptedDownload) -> Any:
    demo = page(nested_settings=True)
    build = lambda: section.build(gr, host, service, model_list=model_list, download=download)  # noqa: E731
    assert webui.add_to_settings_tab(demo, gr, [("fallback", build)]) == ["fallback"]
    return demo


@pytest.fixture
def address(demo: Any) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    demo.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True)
    yield f"http://127.0.0.1:{port}"
    demo.close()


def leaves(block: Any) -> Iterator[Any]:
    """The components inside a block, top to bottom."""
    for child in getattr(block, "children", ()):
        yield from leaves(child) if getattr(child, "children", ()) else (child,)


def group(demo: Any) -> list[Any]:
    (found,) = [block for block in demo.blocks.values() if getattr(block, "label", None) == "Plugin weather"]
    return list(leaves(found))


def test_a_plugin_has_a_group_with_a_component_for_each_setting_that_may_be_changed(demo: Any) -> None:
    made = [(type(one).__name__, getattr(one, "label", None), one.value) for one in group(demo)]
    assert made[:-1] == [
        ("Checkbox", "Know the weather", True),
        ("Textbox", "City", "Oslo"),
        ("Dropdown", "Units", "metric"),
        ("Textbox", "Days ahead", "3"),
        ("Slider", "Wind", 0.5),
    ]
    assert ", ".join(HIDDEN) in made[-1][2] and "settings set" in made[-1][2]


def test_edits_are_checked_saved_undone_and_reset_as_ours(panel: Panel, env_file: Path) -> None:
    panel.advanced.change("WEATHER_DAYS", "7")
    panel.advanced.change("WEATHER_CITY", "Rome")
    assert {"WEATHER_DAYS": "7", "WEATHER_CITY": "Rome"}.items() <= envfile.read(env_file).items()
    refused, _ = panel.advanced.change("WEATHER_DAYS", "70")
    assert "Plugin 'weather': Days ahead is '70', but it must be a whole number from 1 to 14" in refused["info"]
    assert refused["value"] == 7
    panel.undo()
    assert panel.edits.get("WEATHER_CITY") == "Oslo" and panel.edits.get("WEATHER_DAYS") == 7
    panel.reset()
    assert panel.edits.get("WEATHER_DAYS") == 3
    panel.undo()
    assert panel.edits.get("WEATHER_DAYS") == 7


@pytest.mark.parametrize("name", HIDDEN)
def test_the_page_can_neither_change_nor_show_the_others(panel: Panel, env_file: Path, name: str) -> None:
    before = env_file.read_bytes()
    assert "cannot be changed on this page" in panel.edits.set(name, "/bin/evil")
    assert env_file.read_bytes() == before
    assert name not in panel.edits.names


def test_no_function_of_the_open_api_tells_or_changes_them(address: str, demo: Any, host: Any, env_file: Path) -> None:
    caller = Caller(address, demo)
    outputs = [requests.get(f"{address}{path}", timeout=20).text for path in ("/", "/config", "/info")]
    for value in ("x", *INJECTIONS):
        for number in caller.ours():
            if caller.inputs_of(number) and "stream" not in demo.fns[number].fn.__name__:
                outputs.append(json.dumps(caller.call(number, *[value] * caller.inputs_of(number))))
    outputs += [json.dumps(caller.call(number)) for number in caller.ours() if not caller.inputs_of(number)]
    assert any("WEATHER_API_KEY" in one for one in outputs), "the search looks at what the page shows"
    assert not [one for one in outputs if SECRET in one or "secret-folder" in one]
    saved = envfile.read(env_file)
    assert saved["WEATHER_API_KEY"] == SECRET and "WEATHER_COMMAND" not in saved
    assert host.settings.secret(zwaif_weather.KEY) == SECRET


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found (set ZWAIF_TEST_CHROMIUM)")
def test_in_a_browser(address: str, host: Any, env_file: Path) -> None:
    sync_api: Any = pytest.importorskip("playwright.sync_api", reason="playwright is not installed here")
    expect: Any = sync_api.expect
    received: list[Any] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        opened = browser.new_context(viewport={"width": 1280, "height": 1600}).new_page()
        opened.route("**/*", lambda route: route.continue_() if "127.0.0.1" in route.request.url else route.abort())
        opened.on("response", lambda response: received.append(response))
        opened.set_default_timeout(20_000)
        opened.goto(address, wait_until="domcontentloaded")
        opened.get_by_role("tablist").first.get_by_role("tab", name="Settings", exact=True).first.click()
        opened.get_by_role("button", name=re.compile("Plugin weather")).click()
        city = opened.get_by_label(re.compile("^City"))
        city.fill("Rome")
        city.press("Enter")
        expect(opened.get_by_text("✓ Saved. The city.")).to_be_visible()
        assert envfile.read(env_file)["WEATHER_CITY"] == "Rome"
        days = opened.get_by_label(re.compile("^Days ahead"))
        days.fill("70")
        days.press("Enter")
        expect(opened.get_by_text("it must be a whole number from 1 to 14")).to_be_visible()
        expect(days).to_have_value("3")
        opened.get_by_role("button", name="Undo Last Change").click()
        expect(city).to_have_value("Oslo")
        host.settings.set("WEATHER_CITY", "Bonn")  # elsewhere, for example by the plugin
        expect(city).to_have_value("Bonn")
        html = opened.content()
        bodies = [one.text() for one in received if "json" in (one.headers.get("content-type") or "")]
        browser.close()
    assert "WEATHER_API_KEY" in html and bodies
    assert not [one for one in (html, *bodies) if SECRET in one or "secret-folder" in one]
