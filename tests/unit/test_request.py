"""What the clients' requests have in common, in the words of the hooks."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zwaif_hooks.background.clock import SystemClock
from zwaif_hooks.guards import v1_14_r4_pictures as pictures
from zwaif_hooks.guards.request import newest_picture, plain_messages, purpose_of_caller, stop_sequences, with_context
from zwaif_hooks.messages import ChatRequest, Message, Picture, Purpose
from zwaif_hooks.runtime import Runtime

DATA = "data:image/jpeg;base64,/9j/4AAQSkZJRg==" + "A" * 5000


def one(content: Any, **more: Any) -> tuple[Message, bool]:
    (message,), pictured = plain_messages([{"role": "user", "content": content, **more}])
    return message, pictured


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (f'What is this? <img src="{DATA}">', "What is this?"),
        (f"<img src='{DATA}' >\nLook!", "Look!"),
        (f"Look! {DATA}", "Look!"),
        ([{"type": "text", "text": "Look!"}, {"type": "image_url", "image_url": {"url": DATA}}], "Look!"),
        ([{"type": "image_url", "image_url": {"url": DATA}}], ""),
        ([{"type": "input_image", "image_url": DATA}, {"type": "text", "text": "Look!"}], "Look!"),
    ],
)
def test_a_picture_is_taken_out_and_remembered(content: Any, text: str) -> None:
    message, pictured = one(content)
    assert message.content == text
    assert pictured
    assert newest_picture([{"role": "user", "content": content}]) == Picture(base64=DATA.partition(",")[2])


def test_ollamas_pictures_beside_the_text() -> None:
    assert one("Look!", images=[b"\x89PNG"]) == (Message("user", "Look!"), True)


def test_ollamas_pictures_are_paths_bytes_or_base64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "LiveImage.png"
    file.write_bytes(b"PNG")
    monkeypatch.chdir(tmp_path)
    for image in ("LiveImage.png", str(file), file, SimpleNamespace(value=str(file))):
        assert newest_picture([{"role": "user", "content": "x", "images": [image]}]) == Picture(path=str(file))
    for image in (b"PNG", "UE5H", "data:image/png;base64,UE5H"):
        assert newest_picture([{"role": "user", "content": "x", "images": [image]}]) == Picture(base64="UE5H")


def test_only_the_last_message_shows_a_picture() -> None:
    shown = {"role": "user", "content": DATA}
    assert newest_picture([shown, {"role": "user", "content": "And now?"}]) is None
    assert newest_picture([]) is None


@pytest.mark.parametrize("content", ["a < b", "the word image", "data:text", "  spaces stay  ", ""])
def test_other_text_stays_as_it_is(content: str) -> None:
    assert one(content) == (Message("user", content), False)


@pytest.mark.parametrize("content", [None, 7, {}, [], [None, 3, "x"], [{"type": "text"}], [{"text": None}]])
def test_content_of_any_other_kind_is_no_text(content: Any) -> None:
    assert one(content) == (Message("user", ""), False)


@pytest.mark.parametrize(
    ("role", "as_"),
    [("system", "system"), ("assistant", "assistant"), ("developer", "system"), ("tool", "user"), (None, "user")],
)
def test_roles(role: Any, as_: str) -> None:
    (message,), _ = plain_messages([{"role": role, "content": "x"}])
    assert message.role == as_


def test_messages_may_be_objects() -> None:
    message = SimpleNamespace(role="assistant", content="Hi", images=None)
    assert plain_messages([message]) == ((Message("assistant", "Hi"),), False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "images"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=4))
@example([{"role": None, "content": [{"text": True}, {"text": ["x"]}]}])
def test_no_request_is_too_strange_to_be_read(raw: list[Any]) -> None:
    messages, _ = plain_messages(raw)
    newest_picture(raw)
    assert len(messages) == len(raw)
    assert all(isinstance(message.content, str) for message in messages)


# --- why Z-Waif asks -------------------------------------------------------------------------------------------------


def asked_from(function: str, module: str) -> Purpose | None:
    scope: dict[str, Any] = {"__name__": module, "ask": purpose_of_caller}
    exec(f"def {function}():\n    return ask()\n", scope)
    return cast("Purpose | None", scope[function]())


@pytest.mark.parametrize(
    ("function", "purpose"),
    [
        ("run", Purpose.CHAT),
        ("run_streaming", Purpose.CHAT),
        ("view_image", Purpose.IMAGE),
        ("view_image_streaming", Purpose.IMAGE),
        ("summary_memory_run", Purpose.SUMMARY),
        ("summary_memory_run_hard", Purpose.SUMMARY),
        ("summary_memory_run_soft", Purpose.SUMMARY),
    ],
)
def test_the_controllers_function_says_why(function: str, purpose: Purpose) -> None:
    assert asked_from(function, "API.api_controller") is purpose
    assert asked_from(function, "API.Oogabooga_Api_Support") is purpose


def test_a_function_of_that_name_elsewhere_says_nothing() -> None:
    assert asked_from("run", "threading") is None


@pytest.mark.parametrize(
    ("purpose", "text", "pictured", "expected"),
    [
        (None, "Hi", False, Purpose.CHAT),
        (None, "Hi", True, Purpose.IMAGE),
        (None, "[System L] Summarize", False, Purpose.SUMMARY),
        (Purpose.CHAT, "[System L] Summarize", False, Purpose.SUMMARY),
        (Purpose.IMAGE, "[System L] Summarize", False, Purpose.IMAGE),
    ],
)
def test_the_purpose_is_completed(
    tmp_path: Path, purpose: Purpose | None, text: str, pictured: bool, expected: Purpose
) -> None:
    request = ChatRequest("ollama", (Message("user", text),), has_image=pictured)
    runtime = cast(Runtime, SimpleNamespace(tree=tmp_path))
    assert with_context(request, runtime, purpose).purpose is expected


@pytest.mark.parametrize(
    ("messages", "there"),
    [
        ((Message("system", "You are Mia."), Message("user", "Hi")), True),
        ((Message("system", "  "), Message("user", "Hi")), False),
        ((Message("user", "Hi"),), False),
        ((), False),
    ],
)
def test_whether_the_request_says_who_she_is(tmp_path: Path, messages: tuple[Message, ...], there: bool) -> None:
    runtime = cast(Runtime, SimpleNamespace(tree=tmp_path))
    assert with_context(ChatRequest("oobabooga", messages), runtime, None).persona_in_messages is there


def test_the_picture_that_r4_cannot_send_is_kept_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[ChatRequest]()
    plugins = SimpleNamespace(answerers=lambda: ["p"], ask=lambda name, request, failure: asked.append(request))
    settings = SimpleNamespace(get=lambda name: 10.0)
    told = {"tree": tmp_path, "enabled": True, "plugins": plugins, "settings": settings, "clock": SystemClock()}
    runtime = cast(Runtime, SimpleNamespace(**told))
    api = ModuleType("API.fallback_api")
    monkeypatch.setattr(api, pictures.FUNCTION, lambda messages, image_path, **kwargs: "R4's own", raising=False)
    pictures.install(api, runtime)
    shown = getattr(api, pictures.FUNCTION)([{"role": "user", "content": "Look"}], "LiveImage.png", max_tokens=99)
    assert shown == "R4's own", "as nobody answered"
    assert asked[0].has_image and asked[0].picture == Picture(path="LiveImage.png")


@pytest.mark.parametrize(
    ("stop", "sequences"),
    [("END", ("END",)), (["A", "", "B", "A", 3], ("A", "B")), (("A",), ("A",)), (None, ()), ({"A": 1}, ()), ([], ())],
)
def test_stop_sequences_are_read_in_every_form(stop: Any, sequences: tuple[str, ...]) -> None:
    assert stop_sequences(stop) == sequences
