"""Adding to a finished page, on a real ``gradio.Blocks`` (no browser, nothing is launched)."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

gr: Any = pytest.importorskip("gradio", reason="gradio is not installed here")

from fastapi.testclient import TestClient  # noqa: E402  (after the skip)
from gradio import routes  # noqa: E402
from gradio.context import Context  # noqa: E402

from tests.helpers.pages import labels_in, page, tab  # noqa: E402
from zwaif_hooks import log  # noqa: E402
from zwaif_hooks.host import webui  # noqa: E402


def config(demo: Any) -> str:
    return json.dumps(demo.get_config_file(), sort_keys=True, default=str)


def is_error(block: dict[str, Any]) -> bool:
    """Whether this component is the paragraph about a section that failed."""
    return "this section is left out" in str(block["props"].get("value"))


def config_without_errors(demo: Any) -> str:
    """As ``config``, but for the paragraphs about sections that failed."""
    found = demo.get_config_file()
    errors = {block["id"] for block in found["components"] if is_error(block)}
    found["components"] = [block for block in found["components"] if block["id"] not in errors]

    def without(layout: dict[str, Any]) -> dict[str, Any]:
        children = [without(child) for child in layout.get("children", []) if child["id"] not in errors]
        return {**layout, "children": children} if "children" in layout else layout

    found["layout"] = without(found["layout"])
    return json.dumps(found, sort_keys=True, default=str)


def errors_on(demo: Any) -> list[str]:
    return [str(block["props"]["value"]) for block in demo.get_config_file()["components"] if is_error(block)]


def section(label: str) -> Any:
    def build() -> None:
        with gr.Accordion(label), gr.Row():
            box = gr.Textbox(label=f"{label} box")
            gr.Button("Go").click(lambda text: text, box, box, api_name=False)

    return build


def broken(error: BaseException) -> Any:
    def build() -> None:
        section("half a section")()
        for block in Context.root_block.blocks.values():
            block.elem_id = "vandal"
        Context.root_block.load(lambda: None)
        raise error

    return build


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(log, "report", lambda line, exception=None: lines.append(line))
    return lines


def test_section_lands_at_the_end_of_the_settings_tab() -> None:
    demo = page()
    assert webui.add_to_settings_tab(demo, gr, [("fallback", section("Mine"))]) == ["fallback"]
    assert labels_in(tab(demo, "Settings"))[-2:] == ["Mine", "Mine box"]
    assert "Mine" in config(demo)


def test_of_two_settings_tabs_the_outer_one_is_taken() -> None:
    demo = page(nested_settings=True)
    webui.add_to_settings_tab(demo, gr, [("fallback", section("Mine"))])
    chat, outer = tab(demo, "Chat"), [b for b in demo.blocks.values() if isinstance(b, gr.Tab)]
    assert "Mine" not in labels_in(chat)
    assert [b.label for b in outer if "Mine" in labels_in(b)] == ["Settings"]


@pytest.mark.parametrize("label", ["settings", " SETTINGS ", "⚙️ Settings"])
def test_settings_tab_is_found_however_it_is_written(label: str) -> None:
    demo = page(settings=label)
    webui.add_to_settings_tab(demo, gr, [("fallback", section("Mine"))])
    assert "Mine" in labels_in(tab(demo, label))


def test_page_without_settings_tab_gets_one_new_tab_beside_the_others() -> None:
    demo = page(settings="Options")
    webui.add_to_settings_tab(demo, gr, [("a", section("A")), ("b", section("B"))])
    assert [t.label for t in tab(demo, "Chat").parent.children] == ["Chat", "Options", "Debug", "API Fallback"]
    assert {"A", "B"} <= set(labels_in(tab(demo, "API Fallback")))


def test_page_without_any_tab_gets_one() -> None:
    with gr.Blocks(analytics_enabled=False) as demo:
        gr.Textbox(label="alone")
    webui.add_to_settings_tab(demo, gr, [("a", section("A"))])
    assert "A" in labels_in(tab(demo, "API Fallback"))


def test_called_twice_adds_one_section() -> None:
    demo = page()
    webui.add_to_settings_tab(demo, gr, [("fallback", section("Mine"))])
    once = config(demo)
    assert webui.add_to_settings_tab(demo, gr, [("fallback", section("Mine"))]) == []
    assert config(demo) == once


def test_nothing_of_the_host_changes() -> None:
    demo = page(nested_settings=True)
    ids, events = list(demo.blocks), dict(demo.fns)
    parents = {key: block.parent for key, block in demo.blocks.items()}
    webui.add_to_settings_tab(demo, gr, [("a", section("A")), ("b", section("B"))])
    assert list(demo.blocks)[: len(ids)] == ids
    assert {key: demo.blocks[key].parent for key in ids} == parents
    assert {key: demo.fns[key] for key in events} == events
    assert len(demo.fns) == len(events) + 2, "a load event of the host was attached again"
    assert demo.exited
    assert (Context.root_block, Context.block) == (None, None)


@pytest.fixture
def apps_made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The pages for which Gradio made a web application."""
    pages: list[Any] = []
    make = routes.App.create_app

    def create_app(blocks: Any, *args: Any, **how: Any) -> Any:
        pages.append(blocks)
        return make(blocks, *args, **how)

    monkeypatch.setattr(routes.App, "create_app", staticmethod(create_app))
    return pages


def test_web_application_is_not_made_again_and_serves_the_section(apps_made: list[Any]) -> None:
    demo = page()
    app, make = demo.app, routes.App.create_app
    apps_made.clear()
    webui.add_to_settings_tab(demo, gr, [("a", section("A")), ("b", section("B"))])
    assert apps_made == [], "no other step keeps Z-Waif's start waiting as long"
    assert demo.app is app
    assert routes.App.create_app is make
    served = TestClient(app).get("/config").text
    assert "A box" in served
    assert "B box" in served


def test_page_built_inside_a_section_gets_a_web_application_of_its_own(apps_made: list[Any]) -> None:
    demo, inner = page(), []
    apps_made.clear()

    def build() -> None:
        context = Context.root_block, Context.block
        Context.root_block = Context.block = None
        inner.append(page())
        Context.root_block, Context.block = context

    webui.add_to_settings_tab(demo, gr, [("a", build)])
    assert set(map(id, apps_made)) == {id(inner[0])}
    assert inner[0].app.blocks is inner[0]


@pytest.mark.parametrize("strange", [lambda demo: delattr(demo, "app"), lambda demo: setattr(demo.app, "blocks", None)])
def test_page_whose_web_application_is_not_its_own_gets_one(strange: Any, apps_made: list[Any]) -> None:
    demo = page()
    strange(demo)
    apps_made.clear()
    webui.add_to_settings_tab(demo, gr, [("a", section("A"))])
    assert apps_made == [demo]
    assert demo.app.blocks is demo


@pytest.mark.parametrize("error", [RuntimeError("no such widget"), KeyboardInterrupt()])
def test_builder_that_fails_leaves_gradios_own_way_to_make_a_web_application(
    error: BaseException, reports: list[str]
) -> None:
    demo, make = page(), vars(routes.App)["create_app"]
    with suppress(KeyboardInterrupt):
        webui.add_to_settings_tab(demo, gr, [("bad", broken(error))])
    assert vars(routes.App)["create_app"] is make


def test_load_events_of_a_new_section_are_attached() -> None:
    demo = page()
    before = len(demo.fns)
    webui.add_to_settings_tab(demo, gr, [("a", lambda: gr.Textbox(value=lambda: "x", label="A") and None)])
    webui.add_to_settings_tab(demo, gr, [("b", section("B"))])
    assert len(demo.fns) == before + 2


@pytest.mark.parametrize("error", [RuntimeError("no such widget"), SystemExit(3), ImportError("torch")])
def test_builder_that_fails_leaves_only_its_error_and_is_named(error: BaseException, reports: list[str]) -> None:
    demo = page(nested_settings=True)
    before, attributes = config(demo), dict(vars(demo))
    assert webui.add_to_settings_tab(demo, gr, [("bad-plugin", broken(error))]) == []
    assert config_without_errors(demo) == before
    (shown,) = errors_on(demo)
    assert "bad-plugin" in shown and str(error) in shown
    attributes["config"] = vars(demo)["config"]  # has the paragraph
    assert {k: v for k, v in vars(demo).items() if k in attributes} == attributes
    assert demo.exited
    assert (Context.root_block, Context.block) == (None, None)
    assert len(reports) == 1
    assert "'bad-plugin'" in reports[0] and str(error) in reports[0]


def test_an_error_on_the_page_is_text(reports: list[str]) -> None:
    demo = page()
    webui.add_to_settings_tab(demo, gr, [("<i>bad</i>", broken(ValueError("<script>alert(1)</script>")))])
    (shown,) = errors_on(demo)
    assert "<i>" not in shown and "<script" not in shown


def test_an_error_that_gradio_cannot_show_is_only_reported(
    reports: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(log, "log_path", lambda: tmp_path / "log.txt")
    demo = page()
    before = config(demo)
    monkeypatch.setattr(gr, "HTML", broken(RuntimeError("no such component")))
    assert webui.add_to_settings_tab(demo, gr, [("bad", broken(ValueError("x")))]) == []
    assert config(demo) == before
    assert len(reports) == 1


def test_builder_that_fails_does_not_stop_the_others(reports: list[str]) -> None:
    demo = page()
    added = webui.add_to_settings_tab(
        demo, gr, [("a", section("A")), ("bad", broken(ValueError("x"))), ("b", section("B"))]
    )
    assert added == ["a", "b"]
    assert labels_in(tab(demo, "Settings"))[-4:] == ["A", "A box", "B", "B box"]
    assert "vandal" not in config(demo)


def test_builder_that_fails_says_so_in_the_tab_made_for_it(reports: list[str]) -> None:
    demo = page(settings="Options")
    webui.add_to_settings_tab(demo, gr, [("bad", broken(ValueError("x")))])
    assert "vandal" not in config(demo) and len(errors_on(demo)) == 1


def test_section_that_gradio_cannot_serve_is_taken_out(reports: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    demo = page()
    before = config(demo)

    def build() -> None:
        box = gr.Textbox(label="unservable")
        monkeypatch.setattr(box, "get_config", lambda *_: 1 / 0, raising=False)

    assert webui.add_to_settings_tab(demo, gr, [("bad", build)]) == []
    assert config_without_errors(demo) == before


def test_keyboard_interrupt_is_not_swallowed() -> None:
    demo = page()
    before = config(demo)
    with pytest.raises(KeyboardInterrupt):
        webui.add_to_settings_tab(demo, gr, [("slow", broken(KeyboardInterrupt()))])
    assert config(demo) == before


def test_builder_that_failed_is_told_once(reports: list[str]) -> None:
    demo = page()
    for _ in range(2):
        webui.add_to_settings_tab(demo, gr, [("a", broken(ValueError("x")))])
    assert len(errors_on(demo)) == len(reports) == 1


def test_a_part_can_stand_below_a_component_of_another_tab() -> None:
    demo = page(nested_settings=True)
    (conversation,) = [block for block in demo.blocks.values() if isinstance(block, gr.Chatbot)]
    before = list(conversation.parent.children)

    def build() -> None:
        with webui.below(gr, "Chat", gr.Chatbot) as place:
            assert place is conversation
            gr.HTML("mine", elem_id="mine")
        gr.Textbox(label="in Settings")

    assert webui.add_to_settings_tab(demo, gr, [("a", build)]) == ["a"]
    children = conversation.parent.children
    assert [block.elem_id for block in children[children.index(conversation) + 1 :][:1]] == ["mine"]
    assert [block for block in children if block.elem_id != "mine"] == before
    assert labels_in(tab(demo, "Settings"))[-1] == "in Settings"


def test_a_part_below_a_component_leaves_no_trace_when_its_builder_fails(reports: list[str]) -> None:
    demo = page()
    before = config(demo)

    def build() -> None:
        with webui.below(gr, "Chat", gr.Chatbot):
            gr.HTML("mine")
            raise ValueError("no")

    assert webui.add_to_settings_tab(demo, gr, [("a", build)]) == []
    assert config_without_errors(demo) == before and len(reports) == 1


def test_there_may_be_no_such_place(reports: list[str]) -> None:
    demo, places = page(), []

    def build() -> None:
        for label, kind in (("Nowhere", gr.Chatbot), ("Debug", gr.Chatbot)):
            with webui.below(gr, label, kind) as place:
                places.append(place)

    assert webui.add_to_settings_tab(demo, gr, [("a", build)]) == ["a"]
    assert (places, reports) == ([None, None], [])
