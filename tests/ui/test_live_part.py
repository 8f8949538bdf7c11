"""Live parts of a plugin's section, in a real Chromium: what ``every`` does, and when it does nothing."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

gr: Any = pytest.importorskip("gradio", reason="gradio is not installed here")
sync_api: Any = pytest.importorskip("playwright.sync_api", reason="playwright is not installed here")

from tests.helpers.chromium import CHROMIUM, loopback_only  # noqa: E402  (after the skips)
from tests.helpers.pages import page, served, tab  # noqa: E402
from zwaif_hooks import Every, PluginManager, PluginProblem, hookimpl  # noqa: E402
from zwaif_hooks.host import live_part, webui  # noqa: E402

expect = sync_api.expect


def in_a_browser(test: Callable[..., None]) -> Any:
    needed = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found (set ZWAIF_TEST_CHROMIUM)")
    return pytest.mark.browser(needed(test))


class Clock:
    """A plugin with a live part; ``tell`` is the function that it updates itself with."""

    def __init__(self, tell: Callable[[], Any], seconds: float = 1, boxes: int = 1) -> None:
        self.tell, self.seconds, self.boxes = tell, seconds, boxes
        self.got: tuple[Any, Any] = None, None

    @hookimpl
    def register_settings_ui(self, gradio: Any, page: Any, tab: Any, every: Every) -> None:
        self.got = page, tab
        boxes = [gradio.HTML("not yet", elem_id=f"live-{number}") for number in range(self.boxes)]
        every(self.seconds, self.tell, boxes[0] if self.boxes == 1 else boxes)


class Old:
    """A plugin as it was written before there was ``every``."""

    @hookimpl
    def register_settings_ui(self, gradio: Any, host: Any) -> None:
        gradio.HTML(f"old: {host}", elem_id="old")


class Site:
    """A page with the sections of some plugins, and the lines that the user was told."""

    def __init__(self, **plugins: object) -> None:
        self.lines: list[str] = []
        self.demo = page(nested_settings=True)
        manager = PluginManager(lambda line, error: self.lines.append(line))
        for name, plugin in plugins.items():
            assert manager.register(plugin, name, guarded=True)
        added = webui.add_to_settings_tab(self.demo, gr, manager.builders(gr, "the host"))
        assert sorted(added) == sorted(plugins)

    def press(self, number: int = 0) -> Any:
        """Do what the browser does when the button of a live part is pressed."""
        return self.presses()[number].fn()

    def presses(self) -> list[Any]:
        return [event for event in self.demo.fns.values() if getattr(event.fn, "__name__", "") == "refresh"]


@pytest.fixture
def window(browser: Any) -> Iterator[Callable[[str], Any]]:
    context = browser.new_context()
    context.route("**/*", loopback_only)
    expect.set_options(timeout=20_000)

    def open_settings(address: str) -> Any:
        opened = context.new_page()
        opened.goto(address, wait_until="domcontentloaded")
        show(opened, "Settings")
        return opened

    yield open_settings
    context.close()


def show(opened: Any, label: str) -> None:
    opened.get_by_role("tablist").first.get_by_role("tab", name=label, exact=True).first.click()


def counter() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"number {next(numbers)}"


def at_least(number: int) -> re.Pattern[str]:
    """The text of ``counter``: a window may have seen a later one already."""
    return re.compile(rf"\bnumber ({'|'.join(str(one) for one in range(number, number + 60))})\b")


def number_in_hidden(opened: Any) -> int:
    return int(opened.locator("#live-0").text_content().strip().removeprefix("number "))


# --- in a browser ----------------------------------------------------------------------------------------------------


@in_a_browser
def test_a_value_changes_while_the_tab_is_visible_and_not_while_it_is_hidden(window: Callable[[str], Any]) -> None:
    with served(Site(clock=Clock(counter())).demo) as address:
        here = window(address)
        expect(here.locator("#live-0")).to_have_text(at_least(3))
        show(here, "Debug")
        here.wait_for_timeout(1500)  # what was asked just before may still be under way
        before = number_in_hidden(here)
        here.wait_for_timeout(3200)
        assert number_in_hidden(here) == before
        show(here, "Settings")
        expect(here.locator("#live-0")).to_have_text(at_least(before + 2))


@in_a_browser
def test_two_windows_are_both_up_to_date(window: Callable[[str], Any]) -> None:
    told = ["one"]
    with served(Site(clock=Clock(lambda: told[0])).demo) as address:
        first, second = window(address), window(address)
        for text in ("one", "two"):
            told[0] = text
            for opened in (first, second):
                expect(opened.locator("#live-0")).to_have_text(text)


@in_a_browser
def test_parts_have_their_own_pace_and_one_timer(window: Callable[[str], Any]) -> None:
    quick, slow = [0], [0]

    def count(calls: list[int]) -> Callable[[], None]:
        return lambda: calls.__setitem__(0, calls[0] + 1)

    with served(Site(quick=Clock(count(quick)), slow=Clock(count(slow), seconds=60)).demo) as address:
        here = window(address)
        end = time.monotonic() + 20
        while quick[0] < 4 and time.monotonic() < end:
            here.wait_for_timeout(50)
        assert quick[0] >= 4
        assert slow[0] == 1
        before, began = quick[0], time.monotonic()
        here.wait_for_timeout(4000)
        assert quick[0] - before <= time.monotonic() - began + 2, "two timers would call it twice as often"


@in_a_browser
def test_a_closed_accordion_asks_nothing(window: Callable[[str], Any]) -> None:
    calls: list[float] = []

    class Folded:
        @hookimpl
        def register_settings_ui(self, gradio: Any, every: Every) -> None:
            with gradio.Accordion("More", open=False):
                every(1, lambda: calls.append(time.monotonic()), gradio.HTML("closed", elem_id="live-0"))

    with served(Site(folded=Folded(), clock=Clock(counter())).demo) as address:
        here = window(address)
        expect(here.get_by_text(at_least(3))).to_be_visible()
        assert calls == []
        here.get_by_text("More", exact=True).click()
        end = time.monotonic() + 20
        while not calls and time.monotonic() < end:
            here.wait_for_timeout(50)
        assert calls


@in_a_browser
def test_a_function_that_fails_is_told_once_and_the_others_go_on(window: Callable[[str], Any]) -> None:
    calls: list[float] = []

    def broken() -> str:
        calls.append(time.monotonic())
        raise ValueError("no such clock")

    site = Site(broken=Clock(broken), clock=Clock(counter()))
    with served(site.demo) as address:
        here = window(address)
        expect(here.get_by_text(at_least(4))).to_be_visible()
        expect(here.get_by_text("not yet")).to_be_visible()
        assert here.locator(".toast-wrap .error").count() == 0
    assert site.lines == ["Plugin 'broken' failed in every(1, broken), which is skipped for 30 s: no such clock"]
    assert len(calls) == 1


# --- without one -----------------------------------------------------------------------------------------------------


def test_page_and_tab_are_those_of_zwaif() -> None:
    clock = Clock(counter())
    site = Site(clock=clock)
    assert clock.got == (site.demo, tab(site.demo, "Settings"))


def test_an_old_plugin_stands_beside_a_live_one() -> None:
    site = Site(old=Old(), clock=Clock(counter()))
    assert [block.value for block in site.demo.blocks.values() if getattr(block, "elem_id", "") == "old"] == [
        "old: the host"
    ]
    assert site.press() == "number 1"


def test_several_outputs_get_a_value_each() -> None:
    site = Site(clock=Clock(lambda: ("a", "b"), boxes=2))
    assert site.press() == ("a", "b")
    assert len(site.presses()[0].outputs) == 2


@pytest.mark.parametrize(("boxes", "unchanged"), [(1, gr.update()), (2, [gr.update(), gr.update()])])
def test_none_leaves_the_outputs_alone(boxes: int, unchanged: Any) -> None:
    site = Site(clock=Clock(lambda: None, boxes=boxes))
    assert site.press() == unchanged
    assert site.lines == []


@pytest.mark.parametrize(("result", "got"), [("ab", "str"), (("a", "b", "c"), "3")])
def test_a_wrong_number_of_values_is_named(result: object, got: str) -> None:
    site = Site(clock=Clock(lambda: result, boxes=2))
    assert site.press() == [gr.update(), gr.update()]
    (line,) = site.lines
    assert f"expected 2 values or None, got {got}" in line and "'clock'" in line


def test_a_plugin_may_say_itself_what_is_wrong() -> None:
    def away() -> str:
        raise PluginProblem("the parrot is away", retry_after=5)

    site = Site(parrot=Clock(away))
    site.press()
    assert site.lines == ["Plugin 'parrot': its every(1, away) is skipped for 5 s: the parrot is away"]


def test_calls_do_not_pile_up() -> None:
    """While one window waits for a slow function, the others get the last values at once."""
    go_on, calls = threading.Event(), [0]

    def slow() -> str:
        calls[0] += 1
        if calls[0] > 1:
            assert go_on.wait(20)
        return f"call {calls[0]}"

    site, waited = Site(slow=Clock(slow)), []
    assert site.press() == "call 1"
    waiting = threading.Thread(target=lambda: waited.append(site.press()))
    waiting.start()
    end = time.monotonic() + 20
    while calls[0] < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert [site.press() for _ in range(50)] == ["call 1"] * 50
    go_on.set()
    waiting.join()
    assert (waited, calls, site.lines) == (["call 2"], [2], [])


@pytest.mark.parametrize(("seconds", "name"), [(0.1, "zwaif-every-1"), (1, "zwaif-every-1"), (2.5, "zwaif-every-3")])
def test_seconds_are_whole_and_at_least_one(seconds: float, name: str) -> None:
    assert live_part.pressed_every(seconds) == {"elem_classes": [name]}


def test_live_parts_are_not_in_the_public_api() -> None:
    without = page(nested_settings=True).get_api_info()
    assert Site(clock=Clock(counter())).demo.get_api_info() == without


def test_a_live_part_that_cannot_be_built_leaves_nothing() -> None:
    class Breaks(Clock):
        @hookimpl
        def register_settings_ui(self, gradio: Any, every: Every) -> None:
            every(1, self.tell, gradio.HTML())
            raise ValueError("no such widget")

    demo = page()
    before = len(demo.fns)
    manager = PluginManager(lambda line, error: None)
    assert manager.register(Breaks(counter()), "breaks")
    assert webui.add_to_settings_tab(demo, gr, manager.builders(gr, "the host")) == []
    assert len(demo.fns) == before
