"""The section as Gradio will serve it, read from the page's configuration."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

gr: Any = pytest.importorskip("gradio", reason="gradio is not installed here")

from tests.helpers.pages import labels_in, page, tab  # noqa: E402  (after the skip)
from tests.helpers.scripted_service import PRIVATE, ScriptedDownload, ScriptedService  # noqa: E402
from zwaif_fallback.settings import SETTINGS  # noqa: E402
from zwaif_fallback.ui import advanced, chat_line, section  # noqa: E402
from zwaif_fallback.ui.components import title  # noqa: E402
from zwaif_fallback.ui.model_list import ModelList  # noqa: E402
from zwaif_fallback.ui.panel import Panel  # noqa: E402
from zwaif_fallback.ui.setting_edits import ENABLED, HOST, MODEL  # noqa: E402
from zwaif_hooks import turn_log  # noqa: E402
from zwaif_hooks.host import live_part, webui  # noqa: E402

ROOT = Path(__file__).parents[2]
BUILD_ALONE = """
import sys
import gradio
from pathlib import Path
from tests.helpers.pages import page
from zwaif_fallback import plugin
from zwaif_hooks.host_handle import Host
from zwaif_hooks.host import webui
from zwaif_hooks.host.settings_store import SettingsStore
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.failover.registry import PrimaryRegistry

manager = PluginManager(lambda line, error: sys.exit(line))
manager.register(plugin, "fallback")
tree = Path(sys.argv[1])
host = Host(tree, SettingsStore(env_path=tree / ".env", environ={}), PrimaryRegistry(lambda *_: None), manager)
before = set(sys.modules)
assert webui.add_to_settings_tab(page(), gradio, manager.builders(gradio, host)) == ["fallback"]
print(*(set(sys.modules) - before))
"""
NEEDED_AFTER_A_CLICK = {
    "psutil",
    "torch",
    "transformers",
    *(f"zwaif_fallback.choosing.{name}" for name in ("listing", "memory_fit", "ranking", "suggestions")),
    *(f"zwaif_fallback.models.{name}" for name in ("display_names", "search", "gguf_header", "measurements", "memory")),
    *(f"zwaif_fallback.models.{name}" for name in ("ollama_store", "program_folders", "find_by_name")),
    "zwaif_fallback.choosing.server_model",
    "zwaif_fallback.engines.gguf_plan",
}


@pytest.fixture
def build(host: Any, service: ScriptedService, model_list: ModelList, download: ScriptedDownload) -> Any:
    return lambda: section.build(gr, host, service, model_list=model_list, download=download)


@pytest.fixture
def demo(build: Any) -> Any:
    demo = page(nested_settings=True)
    assert webui.add_to_settings_tab(demo, gr, [("fallback", build)]) == ["fallback"]
    return demo


def by_label(demo: Any, label: str) -> Any:
    (found,) = [block for block in demo.blocks.values() if getattr(block, "label", None) == label]
    return found


def _within(block: Any, label: str) -> bool:
    while block := getattr(block, "parent", None):
        if getattr(block, "label", None) == label:
            return True
    return False


def own_events(demo: Any) -> list[Any]:
    return [event for event in demo.fns.values() if "zwaif_fallback" in getattr(event.fn, "__module__", "")]


@pytest.mark.usefixtures("unmeasured")
def test_what_is_needed_after_a_click_is_not_imported_while_z_waif_waits_for_its_page(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILD_ALONE, str(tmp_path)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, check=True)
    imported = set(built.stdout.split())
    assert "zwaif_fallback.ui.model_actions" in imported, "the page is built by what is imported for it"
    assert not NEEDED_AFTER_A_CLICK & imported


@pytest.mark.parametrize("module", sorted(NEEDED_AFTER_A_CLICK))
def test_each_of_those_modules_exists(module: str) -> None:
    assert importlib.util.find_spec(module)


def test_building_the_section_neither_reads_earlier_replies_nor_looks_for_models(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_log, "read", lambda path: pytest.fail("Z-Waif's start waits for this"))
    model_list = ModelList(host.settings, host.tree, lambda *_: pytest.fail("and for this"))
    demo = page()
    assert webui.add_to_settings_tab(
        demo, gr, [("a", lambda: section.build(gr, host, ScriptedService(), model_list=model_list))]
    )


def test_earlier_replies_are_shown_when_the_page_is_looked_at(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = [turn_log.TurnRecord(1.0, "127.0.0.1:5000", "oobabooga", turn_log.BY_PRIMARY)]
    monkeypatch.setattr(turn_log, "read", lambda path: earlier)
    panel = Panel(host, ScriptedService())
    assert "by Oobabooga." in panel.live.html()


def test_order_of_the_section(demo: Any) -> None:
    assert labels_in(tab(demo, "Settings"))[2:] == [
        "API Fallback",
        "Enable API Fallback",
        "Fallback Model",
        "Test Message",
        "Test Reply",
        "Fallback Host",
        "Advanced",
        "Seconds to Connect",
        "Seconds to the First Word",
        "Seconds Between Words",
        "Seconds of Silence",
        "Model on the Second Server",
        "Load the Local Model",
        "Standby Process",
        "Device",
        "Quantization",
        "Context Window",
        "Longest Reply",
        "Temperature",
        "Processor Cores",
        "Download a Missing Model at Start",
        "Seconds Until the Local Model is Restarted",
    ]


def test_the_manual_has_every_control_and_no_other(demo: Any) -> None:
    """What is folded into Advanced is in docs/settings.md."""
    folded = {title(setting) for setting in SETTINGS if setting.name in advanced.names()}
    own = [block for block in demo.blocks.values() if _within(block, "API Fallback")]
    shown = {getattr(block, "label", None) for block in own} | {
        block.value for block in own if isinstance(block, gr.Button)
    }
    table = (ROOT / "docs" / "settings-tab.md").read_text(encoding="utf-8").partition("|---")[2].partition("\n\n")[0]
    told = set(re.findall(r"\*\*([^*]+)\*\*", table))
    assert told == {label for label in shown if label} - folded - {"Check/Uncheck"}


def test_every_advanced_setting_has_its_sentence_of_help(demo: Any) -> None:
    for setting in SETTINGS:
        if setting.name in advanced.names():
            assert by_label(demo, title(setting)).info == setting.help


def test_settings_that_name_places_or_who_gets_the_key_are_not_on_the_page(demo: Any) -> None:
    labels = labels_in(by_label(demo, "API Fallback"))
    private = [setting for setting in SETTINGS if not setting.on_page]
    assert [setting.name for setting in private] == PRIVATE
    assert not {title(setting) for setting in private} & set(labels)


def test_what_can_be_typed_into_and_what_cannot(demo: Any) -> None:
    labels = labels_in(by_label(demo, "API Fallback"))
    locked = {label for label in labels if getattr(by_label(demo, label), "interactive", True) is False}
    assert locked == {"Enable API Fallback", "Test Reply"}
    assert all(getattr(by_label(demo, label), "interactive", True) is not None for label in labels)


def test_values_come_from_the_settings(host: Any, build: Any) -> None:
    host.settings.set(HOST, "10.0.0.7:5000")
    host.settings.set("API_FALLBACK_FIRST_TOKEN_TIMEOUT", 400)
    demo = page()
    webui.add_to_settings_tab(demo, gr, [("fallback", build)])
    assert by_label(demo, "Fallback Model").value is None, "it comes with its list when the page is loaded"
    assert by_label(demo, "Fallback Host").value == "10.0.0.7:5000"
    slider = by_label(demo, "Seconds to the First Word")
    assert (slider.value, slider.maximum) == (400, 400), "a value beyond the slider's end must not be cut"


def test_building_the_page_searches_no_disk(host: Any, service: ScriptedService) -> None:
    """Z-Waif builds its page while it starts."""
    model_list = ModelList(
        host.settings, host.tree, lambda *_: pytest.fail("looked for models"), lambda: pytest.fail("asked")
    )
    with gr.Blocks(analytics_enabled=False):
        section.build(gr, host, service, model_list=model_list)


def test_events_are_no_public_api(demo: Any) -> None:
    events = own_events(demo)
    assert len(events) > 30
    assert {event.api_name for event in events if getattr(event, "api_visibility", "private") != "private"} <= {False}
    named = demo.get_api_info()["named_endpoints"]
    assert not [
        name for name in named if any(word in name for word in ("fallback", "refresh", "toggle", "load", "undo"))
    ]


def test_public_api_is_the_same_with_and_without_us(build: Any) -> None:
    demo = page(nested_settings=True)
    before = demo.get_api_info()["named_endpoints"]
    webui.add_to_settings_tab(demo, gr, [("fallback", build)])
    assert demo.get_api_info()["named_endpoints"] == before


def test_no_window_holds_a_connection_open(demo: Any) -> None:
    """In Z-Waif it ends in a traceback on the console: Gradio 4.36 was started in a thread there."""
    assert not demo.get_config_file().get("connect_heartbeat")


def test_gradio_polls_nothing_of_ours(demo: Any) -> None:
    """The browser presses Refresh, and only where somebody sees it."""
    assert not [event for event in own_events(demo) if getattr(event, "every", None)]
    assert not [block for block in demo.blocks.values() if type(block).__name__ == "Timer"]
    (script,) = [event for event in demo.fns.values() if event.js == live_part.PRESS_BUTTONS]
    assert script.fn is None
    for name, label in ((section.REFRESH_ID, "Refresh"), (chat_line.BUTTON_ID, "Look who answers")):
        (button,) = [block for block in demo.blocks.values() if getattr(block, "elem_id", "") == name]
        assert (button.value, button.elem_classes) == (label, ["zwaif-every-1"])


def test_long_load_in_one_window_keeps_no_other_waiting(demo: Any) -> None:
    limits = {event.fn.__name__: event.concurrency_limit for event in own_events(demo)}
    assert limits.pop("stream") == 1, "one test at a time is enough for one model"
    assert limits.pop("check") == 1
    assert set(limits.values()) == {None}


def test_page_shows_current_values_when_it_loads(demo: Any, host: Any) -> None:
    (refresh,) = [event for event in own_events(demo) if event.fn.__name__ == "page_loaded"]
    host.settings.set(ENABLED, False)
    shown = dict(zip((getattr(block, "label", None) for block in refresh.outputs), refresh.fn(), strict=True))
    assert shown["Enable API Fallback"] is False
    assert shown["Fallback Model"]["choices"][1][0].startswith("On this computer: companion:1b (Ollama")
    assert shown["Fallback Model"]["value"] == host.settings.get(MODEL)


def test_section_needs_no_settings_tab(build: Any) -> None:
    with gr.Blocks(analytics_enabled=False) as demo:
        build()
    assert by_label(demo, "Test Reply").value == ""


def test_chat_page_has_its_line_right_below_the_conversation(demo: Any) -> None:
    (conversation,) = [block for block in demo.blocks.values() if isinstance(block, gr.Chatbot)]
    column = conversation.parent.children
    line, button = column[column.index(conversation) + 1 : column.index(conversation) + 3]
    assert (line.elem_id, button.elem_id) == (chat_line.LINE_ID, chat_line.BUTTON_ID)
    assert not line.visible and not button.visible
    rest = [label for block in column for label in labels_in(block)]
    assert rest == ["Conversation", "Message", "Voice", "inner", "Settings", "nested"], "and the rest is as it was"


def test_page_without_a_conversation_has_no_line(build: Any) -> None:
    with gr.Blocks(analytics_enabled=False) as demo, gr.Tab("Settings"):
        pass
    assert webui.add_to_settings_tab(demo, gr, [("fallback", build)]) == ["fallback"]
    assert not [block for block in demo.blocks.values() if getattr(block, "elem_id", "") == chat_line.LINE_ID]


def test_older_switch_of_the_host_is_followed_and_never_written(build: Any) -> None:
    demo = page()
    with demo, tab(demo, "Chat"):
        older = gr.Checkbox(label="Enable API Fallback")
        older.change(lambda value: None, older, None)
    webui.add_to_settings_tab(demo, gr, [("fallback", build)])
    (follows,) = [event for event in demo.fns.values() if event.targets[0][0] == older._id and event.outputs]
    assert [block.label for block in follows.outputs] == ["Enable API Fallback"]
    assert older not in [block for event in own_events(demo) for block in event.outputs]
