"""A bad plugin hurts nobody: it is named in one line, and the next one is asked."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.waiting import wait_until
from zwaif_hooks import specs
from zwaif_hooks.bridge import Bridge
from zwaif_hooks.host.settings_store import SettingsStore
from zwaif_hooks.messages import Answer, ChatRequest, FailureKind, Message, ModelInfo, PrimaryFailure
from zwaif_hooks.plugins import PluginManager, State, hook_table
from zwaif_hooks.plugins import manager as manager_module
from zwaif_hooks.plugins.manager import from_environment
from zwaif_hooks.specs import hookimpl

REQUEST = ChatRequest("oobabooga", (Message("user", "Hi"),))
FAILURE = PrimaryFailure(FailureKind.REFUSED, "connection refused by 127.0.0.1:5000")


class Gives:
    """Answers with whatever it was made with; raises it where it is an exception."""

    def __init__(self, what: Any) -> None:
        self.what = what

    @hookimpl
    def on_primary_failure(self) -> Any:
        if isinstance(self.what, BaseException):
            raise self.what
        return self.what


class Fallback:
    """As the built-in plugin: last in line."""

    @hookimpl(trylast=True)
    def on_primary_failure(self) -> str:
        return "from the fallback"


class Managed(SimpleNamespace):
    """``manager`` and the ``lines`` it reported."""


@pytest.fixture
def managed(monkeypatch: pytest.MonkeyPatch) -> Managed:
    for name in ("ZWAIF_BLOCK_PLUGINS", "ZWAIF_TRACE_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    return make()


def make(option: Callable[[str], Any] = from_environment) -> Managed:
    lines: list[str] = []
    return Managed(manager=PluginManager(lambda line, error: lines.append(line), option), lines=lines)


def options(**chosen: str) -> Callable[[str], str]:
    return lambda name: chosen.get(name, "")


def answered(manager: PluginManager, skip: tuple[str, ...] = ()) -> tuple[str, str] | None:
    found = manager.answer(REQUEST, FAILURE, skip)
    return None if found is None else (found[0], "".join(found[1].pieces))


# --- returns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nonsense",
    [7, 0, 1.5, True, b"bytes", bytearray(b"x"), {"text": "x"}, {}, object(), str, "", "  \n"],
    ids=lambda value: repr(value)[:12],
)
def test_nonsense_is_passed_over_and_named(managed: Managed, nonsense: object) -> None:
    managed.manager.register(Fallback(), "fallback")
    managed.manager.register(Gives(nonsense), "nonsense")
    assert answered(managed.manager) == ("fallback", "from the fallback")
    (line,) = managed.lines
    assert "'nonsense'" in line and "on_primary_failure" in line


@pytest.mark.parametrize("answer", ["Text.", ["Te", "xt."], ("Text.",), iter(["Text."]), Answer(["Text."], "me")])
def test_every_form_of_answer_is_taken(managed: Managed, answer: Any) -> None:
    managed.manager.register(Gives(answer), "good")
    assert answered(managed.manager) == ("good", "Text.")
    assert managed.lines == []


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), MemoryError(), AssertionError(), StopIteration()])
def test_one_that_raises_is_passed_over_and_named(managed: Managed, error: BaseException) -> None:
    managed.manager.register(Fallback(), "fallback")
    managed.manager.register(Gives(error), "broken")
    assert answered(managed.manager) == ("fallback", "from the fallback")
    (line,) = managed.lines
    assert "'broken'" in line and "on_primary_failure" in line


def test_ctrl_c_stays_ctrl_c(managed: Managed) -> None:
    managed.manager.register(Gives(KeyboardInterrupt()), "broken")
    with pytest.raises(KeyboardInterrupt):
        managed.manager.answer(REQUEST, FAILURE)


def test_none_means_not_me(managed: Managed) -> None:
    managed.manager.register(Gives(None), "shy")
    assert answered(managed.manager) is None
    assert managed.lines == []


@given(st.lists(st.sampled_from([None, ValueError("x"), 3, "", "yes"]), min_size=1, max_size=6))
def test_the_first_real_answer_wins_whatever_stands_before_it(given_by: list[Any]) -> None:
    managed = make()
    for number, what in enumerate(given_by):
        managed.manager.register(Gives(what), f"plugin{number}")
    speakers = [f"plugin{number}" for number, what in enumerate(given_by) if what == "yes"]
    found = answered(managed.manager)
    assert found == ((speakers[-1], "yes") if speakers else None)


def test_an_iterator_that_fails_in_the_middle_fails_where_it_is_read(managed: Managed) -> None:
    def breaking() -> Iterator[str]:
        yield "half"
        raise RuntimeError("worker died")

    managed.manager.register(Gives(breaking()), "breaking")
    name, answer = managed.manager.answer(REQUEST, FAILURE)
    pieces = iter(answer.pieces)
    assert (name, next(pieces)) == ("breaking", "half")
    with pytest.raises(RuntimeError, match="worker died"):
        next(pieces)


# --- order -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fallback_first", [True, False])
def test_a_third_party_goes_before_the_fallback(managed: Managed, fallback_first: bool) -> None:
    both = [(Fallback(), "fallback"), (Gives("from a third party"), "third")]
    for plugin, name in both if fallback_first else both[::-1]:
        managed.manager.register(plugin, name)
    assert answered(managed.manager) == ("third", "from a third party")


def test_those_who_were_asked_are_left_out(managed: Managed) -> None:
    managed.manager.register(Fallback(), "fallback")
    managed.manager.register(Gives("x"), "third")
    assert answered(managed.manager, ("third",)) == ("fallback", "from the fallback")
    assert answered(managed.manager, ("third", "fallback", "never heard of")) is None
    assert answered(managed.manager) == ("third", "x")


def test_an_unregistered_plugin_is_not_asked(managed: Managed) -> None:
    managed.manager.register(Gives("x"), "third")
    managed.manager.unregister("third")
    managed.manager.unregister("third")
    assert answered(managed.manager) is None
    assert managed.manager.names() == []


# --- what a plugin is made of ----------------------------------------------------------------------------------------


def test_a_misspelt_hook_is_named_with_its_plugin(managed: Managed) -> None:
    class Misspelt:
        @hookimpl
        def on_primary_failed(self) -> str:
            return "never"

    managed.manager.register(Misspelt(), "typo")
    (line,) = managed.lines
    assert "'typo'" in line and "'on_primary_failed'" in line
    assert "on_primary_failure" in line


def test_an_optional_hook_of_another_version_is_fine(managed: Managed) -> None:
    class Newer:
        @hookimpl(optionalhook=True)
        def hook_of_next_year(self) -> None:
            return None

    assert managed.manager.register(Newer(), "newer")
    assert managed.lines == []


def test_a_wrong_argument_costs_that_hook_and_is_named(managed: Managed) -> None:
    class HalfWrong:
        @hookimpl
        def on_primary_failure(self, reqest: Any) -> str:
            return "never"

        @hookimpl
        def say_while_waiting(self, request: Any) -> str:
            return "One moment."

    assert managed.manager.register(HalfWrong(), "half")
    assert managed.lines == [
        "Plugin 'half' has a hook that is not called: its on_primary_failure asks for 'reqest', but that hook only has "
        "request, failure"
    ]
    assert answered(managed.manager) is None
    assert managed.manager.line_while_waiting(REQUEST, FAILURE) == "One moment."


def test_a_name_that_is_taken_is_reported_and_the_first_one_stays(managed: Managed) -> None:
    managed.manager.register(Gives("first"), "same")
    assert not managed.manager.register(Gives("second"), "same")
    assert "'same'" in managed.lines[0]
    assert answered(managed.manager) == ("same", "first")


@pytest.mark.parametrize("mark", [hookimpl(wrapper=True), hookimpl(hookwrapper=True)], ids=["new", "old"])
def test_a_hook_wrapper_is_refused(managed: Managed, mark: Callable[[Any], Any]) -> None:
    class Wraps:
        @mark  # type: ignore[untyped-decorator,unused-ignore]
        def on_primary_failure(self) -> Any:
            yield
            raise RuntimeError("nobody else is heard either")

    managed.manager.register(Fallback(), "fallback")
    managed.manager.register(Wraps(), "wraps")
    assert "'wraps'" in managed.lines[0] and "wrapper" in managed.lines[0]
    assert answered(managed.manager) == ("fallback", "from the fallback")


def test_the_same_plugin_twice_is_one_plugin(managed: Managed) -> None:
    plugin = Gives("once")
    managed.manager.register(plugin, "one")
    assert not managed.manager.register(plugin, "two")
    assert managed.manager.names() == ["one"]
    assert answered(managed.manager) == ("one", "once")


def test_every_hook_has_its_line_in_the_table() -> None:
    """Without one, a plugin with that hook could not be registered."""
    specified = [name for name, item in vars(specs).items() if hasattr(item, f"{specs.PROJECT}_spec")]
    assert sorted(hook_table.HOOKS) == sorted(specified)


# --- hooks of which all run ------------------------------------------------------------------------------------------


def test_one_that_raises_does_not_keep_the_others_from_hearing(managed: Managed) -> None:
    heard: list[str] = []

    class Listener:
        def __init__(self, name: str, raises: bool) -> None:
            self.name, self.raises = name, raises

        @hookimpl
        def primary_failed(self, primary: str) -> None:
            heard.append(self.name)
            if self.raises:
                raise RuntimeError("full disk")

    for name in ("a", "b", "c"):
        managed.manager.register(Listener(name, name == "b"), name)
    managed.manager.hook.primary_failed(primary="127.0.0.1:5000", failure=FAILURE)
    assert heard == ["c", "b", "a"]
    (line,) = managed.lines
    assert "'b'" in line and "primary_failed" in line


def test_a_prompt_that_is_no_text_is_passed_over(managed: Managed) -> None:
    class Bytes:
        @hookimpl
        def format_prompt(self) -> Any:
            return b"prompt"

    class Text:
        @hookimpl(trylast=True)
        def format_prompt(self, partial: str) -> str:
            return "prompt" + partial

    managed.manager.register(Text(), "text")
    managed.manager.register(Bytes(), "bytes")
    assert managed.manager.format_prompt(REQUEST.messages, ModelInfo("m"), "Half") == "promptHalf"
    assert "'bytes'" in managed.lines[0]


def test_each_builder_of_the_settings_tab_is_its_own_call(managed: Managed) -> None:
    built: list[Any] = []

    class Builder:
        @hookimpl
        def register_settings_ui(self, host: Any) -> None:
            built.append(host)

    class Breaks:
        @hookimpl
        def register_settings_ui(self) -> None:
            raise RuntimeError("no such component")

    managed.manager.register(Builder(), "builder")
    managed.manager.register(Breaks(), "breaks")
    calls = dict(managed.manager.builders("gradio", "host"))
    with pytest.raises(RuntimeError):
        calls["breaks"]()
    calls["builder"]()
    assert built == ["host"]


# --- discovery -------------------------------------------------------------------------------------------------------

GOOD = "from zwaif_hooks.specs import hookimpl\n@hookimpl\ndef on_primary_failure():\n    return 'found'\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``install(name, code)``: a distribution with one plugin in the group ``zwaif``, as pip leaves it."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))

    def make_distribution(name: str, code: str) -> None:
        info = tmp_path / f"zwaif_test_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: zwaif-test-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[zwaif]\n{name} = zwaif_test_{name}\n")
        (tmp_path / f"zwaif_test_{name}.py").write_text(code)

    yield make_distribution
    for name in set(sys.modules) - before:
        if name.startswith("zwaif_test_"):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def without_the_built_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package is installed its own plugin is discovered too, which these tests are not about."""
    monkeypatch.setenv("ZWAIF_BLOCK_PLUGINS", "fallback")


def test_an_installed_plugin_is_found(install: Any) -> None:
    install("found", GOOD)
    managed = make()
    managed.manager.discover()
    managed.manager.discover()
    assert managed.manager.names() == ["found"]
    assert answered(managed.manager) == ("found", "found")


@pytest.mark.parametrize(
    "code", ["raise SystemExit(1)\n", "import no_such_module_anywhere\n", "def broken(:\n", "1 / 0\n"]
)
def test_one_that_cannot_be_imported_is_named_and_the_others_load(install: Any, code: str) -> None:
    install("broken", code)
    install("found", GOOD)
    managed = make()
    managed.manager.discover()
    assert managed.manager.names() == ["found"]
    (line,) = managed.lines
    assert "'broken'" in line


@pytest.mark.parametrize(
    "code", ["from zwaif_hooks import MoodSwing\n", "from zwaif_hooks import hooks\nhooks.on_mood\n"]
)
def test_one_that_was_written_for_a_newer_version_says_so(install: Any, code: str) -> None:
    install("newer", code)
    managed = make()
    managed.manager.discover()
    (line,) = managed.lines
    assert line.startswith("Plugin 'newer' could not be loaded") and line.endswith(
        "; it may need a newer zwaif-fallback"
    )


@pytest.mark.parametrize("written", ["parrot", "Parrot", " PARROT , other-plugin"])
def test_a_blocked_plugin_is_not_imported_however_its_name_is_written(install: Any, written: str) -> None:
    install("parrot", "raise SystemExit('imported')\n")
    install("other-plugin".replace("-", "_"), GOOD)
    managed = make(options(ZWAIF_BLOCK_PLUGINS=f"fallback,{written}"))
    managed.manager.discover()
    assert "parrot" not in managed.manager.names()
    states = {one.name: one for one in managed.manager.states()}
    assert states["parrot"].state is State.BLOCKED
    assert (states["parrot"].package, states["parrot"].version) == ("zwaif-test-parrot", "1.0")


@pytest.mark.parametrize(("exported", "blocked"), [(None, ["parrot"]), ("other", ["other"])])
def test_z_waifs_env_file_has_a_say_unless_a_variable_is_exported(
    install: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: str | None, blocked: list[str]
) -> None:
    monkeypatch.delenv("ZWAIF_BLOCK_PLUGINS")
    if exported:
        monkeypatch.setenv("ZWAIF_BLOCK_PLUGINS", f"{exported}, fallback")
    install("parrot", GOOD)
    install("other", GOOD)
    (tmp_path / ".env").write_text("ZWAIF_BLOCK_PLUGINS = parrot, fallback\n", encoding="utf-8")
    plugins = Bridge(tmp_path).plugins
    plugins.discover()
    assert [one.name for one in plugins.states() if one.state is State.BLOCKED and one.name != "fallback"] == blocked


@pytest.mark.parametrize("variable", ["ZWAIF_BLOCK_PLUGINS", "ZWAIF_PLUGIN_ORDER"])
@pytest.mark.parametrize(("name", "hint"), [("parot", "did you mean 'parrot'?"), ("xyz", "installed are ")])
def test_a_name_that_no_plugin_has_is_told(install: Any, variable: str, name: str, hint: str) -> None:
    install("parrot", GOOD)
    managed = make(options(**{variable: name}))
    managed.manager.discover()
    managed.manager.discover()
    (line,) = [line for line in managed.lines if variable in line]
    assert line.startswith(f"{variable} names {name!r}, but there is no plugin of that name; {hint}")


LISTENS = """
from zwaif_hooks import hookimpl
@hookimpl(%s)
def on_primary_failure():
    return __name__
"""


def test_the_user_decides_the_order(install: Any) -> None:
    for name, mark in (("one", ""), ("two", "tryfirst=True"), ("three", "trylast=True"), ("four", "")):
        install(name, LISTENS % mark)
    chosen = options(ZWAIF_BLOCK_PLUGINS="fallback", ZWAIF_PLUGIN_ORDER="Three, one")
    managed = make(chosen)
    managed.manager.discover()
    assert managed.lines == []
    assert managed.manager.order("on_primary_failure") == ["three", "one", "two", "four"]
    assert [one.name for one in managed.manager.states()[:2]] == ["three", "one"]
    assert managed.manager.answerers()[0] == "three"
    assert answered(managed.manager) == ("three", "zwaif_test_three")


COLLECTED = """
import zwaif_hooks as zw
@zw.hookimpl(trylast=%s)
def register_settings():
    return zw.Setting("%s_SIZE", 1, "How big it is.")
@zw.hookimpl
def register_engines():
    return zw.EngineSpec("loud", (), "zwaif_test_%s:make")
@zw.hookimpl
def register_settings_ui(host):
    host.append("%s")
"""


def test_the_order_means_the_same_where_the_results_of_all_are_collected(install: Any, tmp_path: Path) -> None:
    """The first that is named is called first, stands first, and wins where one wins."""
    for number, name in enumerate(("one", "two", "three", "four")):
        install(name, COLLECTED % (bool(number % 2), name.upper(), name, name))
    managed = make(options(ZWAIF_BLOCK_PLUGINS="fallback", ZWAIF_PLUGIN_ORDER="two, one"))
    managed.manager.discover()
    store = SettingsStore((), None, {}, say=managed.lines.append)
    managed.manager.register_settings(store)
    sections: list[str] = []
    for _, build in managed.manager.builders(None, sections):
        build()
    order = managed.manager.order("register_engines")
    assert order[:2] == ["two", "one"] and sections == order
    assert [setting.plugin for setting in store.table][:2] == ["two", "one"]
    assert [name for name, _ in managed.manager.engines()] == ["two"]
    assert [name for name, _ in managed.manager.turns("register_settings")][:2] == ["two", "one"]


def test_a_plugin_that_cannot_be_imported_is_listed_with_the_reason(install: Any) -> None:
    install("broken", "import no_such_module_anywhere\n")
    managed = make()
    managed.manager.discover()
    state = next(one for one in managed.manager.states() if one.name == "broken")
    assert (state.state, state.version, state.module) == (State.BROKEN, "1.0", "zwaif_test_broken")
    assert "No module named 'no_such_module_anywhere'" in state.why


def test_two_packages_with_a_plugin_of_one_name_are_told(install: Any, tmp_path: Path) -> None:
    install("same", GOOD)
    other = tmp_path / "zwaif_other-2.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: zwaif-other\nVersion: 2.0\n")
    (other / "entry_points.txt").write_text("[zwaif]\nsame = zwaif_other\n")
    managed = make()
    managed.manager.discover()
    (line,) = managed.lines
    assert "'same'" in line and "zwaif-test-same 1.0" in line and "zwaif-other 2.0" in line


HOOKS = """
import threading
from zwaif_hooks.specs import hookimpl

go_on = threading.Event()
called = []


def hang(what):
    go_on.wait(30)
    called.append(what)


@hookimpl
def zwaif_started(host):
    hang("zwaif_started")


@hookimpl
def primary_answered(reply):
    hang(reply)


@hookimpl
def format_prompt():
    hang("format_prompt")
    return "mine"


@hookimpl
def register_settings_ui(gradio):
    hang("register_settings_ui")
"""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager_module, "START_SECONDS", 0.1)
    for hook, rule in hook_table.HOOKS.items():
        monkeypatch.setitem(hook_table.HOOKS, hook, rule._replace(seconds=0.1))


def test_one_that_hangs_while_it_is_imported_is_named_and_joins_later(install: Any, impatient: None) -> None:
    install("slow", "import threading\nnever = threading.Event()\nnever.wait(1.0)\n" + HOOKS)
    install("found", GOOD)
    managed = make()
    managed.manager.discover()
    assert managed.manager.names() == ["found"]
    assert "'slow' was not imported within 0.1 s" in managed.lines[0]
    managed.manager.start(object())  # type: ignore[arg-type]
    assert wait_until(lambda: "slow" in managed.manager.names())
    slow = sys.modules["zwaif_test_slow"]
    slow.go_on.set()
    assert wait_until(lambda: slow.called == ["zwaif_started"]), "it is told that Z-Waif is up, when it is there"
    assert "'slow' is imported now" in managed.lines[1]


def test_one_that_hangs_in_any_hook_holds_up_nobody(install: Any, impatient: None) -> None:
    install("hangs", HOOKS)
    install("found", GOOD)
    managed = make()
    managed.manager.discover()
    began = time.monotonic()
    managed.manager.start(object())  # type: ignore[arg-type]
    for number in range(3):
        managed.manager.hook.primary_answered(primary="x:1", describe=lambda: REQUEST, reply=f"reply {number}")
    assert managed.manager.format_prompt((), ModelInfo("m"), "") is None
    ((name, build),) = managed.manager.builders(object(), object())
    with pytest.raises(TimeoutError):
        build()
    assert time.monotonic() - began < 3.0
    assert name == "hangs"
    for hook in ("zwaif_started", "format_prompt"):
        assert any("'hangs'" in line and hook in line for line in managed.lines)
    hangs = sys.modules["zwaif_test_hangs"]
    hangs.go_on.set()
    replies = ["reply 0", "reply 1", "reply 2"]
    assert wait_until(lambda: [what for what in hangs.called if what.startswith("reply")] == replies), "in their order"


def test_one_that_does_not_keep_up_is_named_once(install: Any, impatient: None) -> None:
    install("hangs", HOOKS)
    managed = make()
    managed.manager.discover()
    for number in range(300):
        managed.manager.hook.primary_answered(primary="x:1", describe=lambda: REQUEST, reply=f"reply {number}")
    assert [line for line in managed.lines if "too slow" in line] == [
        "Plugin 'hangs' is too slow and misses some calls"
    ]
    sys.modules["zwaif_test_hangs"].go_on.set()


def test_a_part_of_the_page_is_built_in_gradios_context(install: Any) -> None:
    install(
        "builds",
        "import contextvars\nfrom zwaif_hooks.specs import hookimpl\nbuilt = []\n"
        "@hookimpl\ndef register_settings_ui(gradio):\n    built.append(gradio.get())\n",
    )
    managed = make()
    managed.manager.discover()
    open_block: ContextVar[str] = ContextVar("open_block")
    open_block.set("the Settings tab")
    ((_, build),) = managed.manager.builders(open_block, object())
    build()
    assert sys.modules["zwaif_test_builds"].built == ["the Settings tab"]


def test_a_blocked_plugin_is_not_even_imported(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    install("blocked", "raise SystemExit('imported')\n")
    install("found", GOOD)
    monkeypatch.setenv("ZWAIF_BLOCK_PLUGINS", "fallback, blocked ,")
    managed = make()
    managed.manager.discover()
    assert managed.manager.names() == ["found"]
    assert managed.lines == []
    assert "zwaif_test_blocked" not in sys.modules


def test_tracing_tells_who_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZWAIF_TRACE_PLUGINS", "1")
    managed = make()
    managed.manager.register(Gives("x"), "traced")
    managed.manager.answer(REQUEST, FAILURE)
    assert any(line.startswith("[trace]") and "on_primary_failure" in line for line in managed.lines)
