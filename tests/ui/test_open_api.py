"""Gradio's functions are open to every program that can connect: called here as such a program would, past the page.

Not one of them may load a place outside the model folders, ask an address that nobody saved, send the key there, or
write anything into ``.env`` but one value of a setting that the page shows.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

gr: Any = pytest.importorskip("gradio", reason="gradio is not installed here")

from tests.helpers.page_caller import INJECTIONS, Caller  # noqa: E402  (after the skip)
from tests.helpers.pages import page, served  # noqa: E402
from tests.helpers.scripted_service import ENV, ScriptedDownload, ScriptedService  # noqa: E402
from zwaif_fallback.choosing import resolve_name  # noqa: E402
from zwaif_fallback.settings import DEFAULT_MODEL, RESTART, SETTINGS  # noqa: E402
from zwaif_fallback.ui import section  # noqa: E402
from zwaif_fallback.ui.model_list import ModelList  # noqa: E402
from zwaif_fallback.ui.setting_edits import ENABLED, HOST  # noqa: E402
from zwaif_hooks.host import env_file as envfile  # noqa: E402
from zwaif_hooks.host import webui  # noqa: E402


@pytest.fixture
def caller(host: Any, service: ScriptedService, model_list: ModelList, download: ScriptedDownload) -> Iterator[Caller]:
    demo = page(nested_settings=True)
    download.go_on.set()
    webui.add_to_settings_tab(
        demo, gr, [("fallback", lambda: section.build(gr, host, service, model_list=model_list, download=download))]
    )
    with served(demo) as address:
        yield Caller(address, demo)


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve_name, "cached_snapshot", lambda *_: None)


def test_the_way_in_is_real(caller: Caller, host: Any) -> None:
    """Without this the other tests could pass because nothing arrives."""
    (toggle,) = caller.ours("toggle")
    caller.call(toggle, "")
    assert host.settings.get(ENABLED) is False
    change = caller.ours("change")
    caller.call(change[0], "10.0.0.7:5000", "")
    assert host.settings.get(HOST) == "10.0.0.7:5000"


@pytest.mark.parametrize("value", INJECTIONS, ids=repr)
def test_whatever_is_sent_env_gets_one_value_of_a_known_setting(
    caller: Caller,
    env_file: Path,
    service: ScriptedService,
    download: ScriptedDownload,
    model_list: ModelList,
    value: object,
) -> None:
    before = envfile.read(env_file)
    for number in caller.ours():
        if caller.inputs_of(number) and "stream" not in caller._demo.fns[number].fn.__name__:
            caller.call(number, *[value] * caller.inputs_of(number))
    after = envfile.read(env_file)
    known = {setting.name for setting in SETTINGS}
    assert {key: text for key, text in after.items() if key not in known} == {
        key: text for key, text in before.items() if key not in known
    }
    assert len(env_file.read_text(encoding="utf-8").splitlines()) == len(ENV.splitlines()) + len(after) - len(before)
    assert (service.loads, download.asked) == ([], [])
    assert model_list.chosen == DEFAULT_MODEL


@pytest.mark.parametrize(("by_hand", "value"), [("off", "auto"), ("/home/me/start.sh --api", "touch owned")])
def test_no_caller_decides_which_program_is_started(caller: Caller, host: Any, by_hand: str, value: str) -> None:
    host.settings.set(RESTART, by_hand)
    for number in caller.ours():
        if caller.inputs_of(number) and "stream" not in caller._demo.fns[number].fn.__name__:
            caller.call(number, *[value] * caller.inputs_of(number))
    for name in ("reset", "undo", "undo"):
        for number in caller.ours(name):
            caller.call(number)
    assert host.settings.get(RESTART) == by_hand


def test_no_address_is_asked_that_was_not_saved(caller: Caller, host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_FALLBACK_API_KEY", "sk-this-must-stay-here")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.3)
        here = f"127.0.0.1:{listener.getsockname()[1]}"
        (check,) = caller.ours("check")
        told = caller.call(check, here)
        with pytest.raises(TimeoutError):
            listener.accept()
    assert "not saved yet" in json.dumps(told)
    assert "sk-this" not in json.dumps(told)


def test_nothing_of_ours_has_a_public_name(caller: Caller) -> None:
    assert caller.ours()
    names = caller._demo.get_api_info()["named_endpoints"]
    assert not [name for name in names if any(word in name for word in ("load", "check", "undo", "change", "toggle"))]
