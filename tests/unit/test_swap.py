"""Swapping a callable: once, only where it is the one we know, and with a way back."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from zwaif_hooks.guards.swap import UnknownTarget, restore, swap


def original(model: str, messages: Any = None) -> str:
    return f"original {model}"


def ours(replaced: Callable[..., Any]) -> Callable[..., Any]:
    def guard(*args: Any, **kwargs: Any) -> str:
        return "guarded " + str(replaced(*args, **kwargs))

    return guard


def library() -> Any:
    return SimpleNamespace(chat=original, __name__="library")


def test_swapped_and_restored() -> None:
    lib = library()
    swap(lib, "chat", ours, {"model"})
    assert lib.chat("m") == "guarded original m"
    restore(lib, "chat")
    assert lib.chat is original


def test_twice_is_once() -> None:
    lib = library()
    swap(lib, "chat", ours, {"model"})
    swap(lib, "chat", ours, {"model"})
    assert lib.chat("m") == "guarded original m"
    restore(lib, "chat")
    restore(lib, "chat")
    assert lib.chat is original


@pytest.mark.parametrize(
    ("name", "needs", "words"), [("talk", {"model"}, "library.talk"), ("chat", {"stream"}, "stream")]
)
def test_another_version_of_the_library_is_named_and_left_alone(name: str, needs: set[str], words: str) -> None:
    lib = library()
    with pytest.raises(UnknownTarget, match=words):
        swap(lib, name, ours, needs)
    assert lib.chat is original


def test_a_method_is_swapped_for_every_object_of_the_class() -> None:
    class Client:
        def chat(self, model: str) -> str:
            return f"original {model}"

    client = Client()
    swap(Client, "chat", ours, {"model"})
    assert client.chat("m") == "guarded original m"
    restore(Client, "chat")
    assert client.chat("m") == "original m"


def test_restoring_what_was_never_swapped_is_nothing() -> None:
    lib = library()
    restore(lib, "chat")
    restore(lib, "never_there")
    assert lib.chat is original
