"""Which server Z-Waif is set to use, and whether it is there when Z-Waif starts."""

from __future__ import annotations

import socket
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from zwaif_hooks.failover.breaker import Primary
from zwaif_hooks.failover.start_check import check_at_start, configured_primary, find_lmstudio
from zwaif_hooks.messages import FailureKind, PrimaryFailure


@pytest.mark.parametrize(
    ("env", "kind", "name"),
    [
        ({}, "Oobabooga", "127.0.0.1:5000"),
        ({"API_TYPE": None, "HOST_PORT": None}, "Oobabooga", "127.0.0.1:5000"),
        ({"API_TYPE": " Oobabooga "}, "Oobabooga", "127.0.0.1:5000"),
        ({"HOST_PORT": "127.0.0.1:49493"}, "Oobabooga", "127.0.0.1:49493"),
        ({"HOST_PORT": " localhost:5001 "}, "Oobabooga", "localhost:5001"),
        ({"HOST_PORT": "http://10.0.0.2:8080/"}, "Oobabooga", "10.0.0.2:8080"),
        ({"HOST_PORT": "my-server"}, "Oobabooga", "my-server:5000"),
        ({"HOST_PORT": "0.0.0.0:5000"}, "Oobabooga", "127.0.0.1:5000"),
        ({"HOST_PORT": "127.0.0.1:abc"}, "Oobabooga", "127.0.0.1:5000"),
        ({"HOST_PORT": "127.0.0.1:99999"}, "Oobabooga", "127.0.0.1:5000"),
        ({"HOST_PORT": ":5000"}, "Oobabooga", "127.0.0.1:5000"),
        ({"HOST_PORT": "[::1]:5000"}, "Oobabooga", "::1:5000"),
        ({"HOST_PORT": "http://[broken"}, "Oobabooga", "127.0.0.1:5000"),
        ({"API_TYPE": "Ollama", "HOST_PORT": "127.0.0.1:1"}, "Ollama", "127.0.0.1:11434"),
        ({"API_TYPE": "Ollama", "OLLAMA_HOST": "0.0.0.0"}, "Ollama", "127.0.0.1:11434"),
        ({"API_TYPE": "Ollama", "OLLAMA_HOST": "http://10.0.0.3:11500"}, "Ollama", "10.0.0.3:11500"),
        ({"API_TYPE": "LMStudio"}, "LMStudio", "127.0.0.1:5000"),
    ],
)
def test_the_address_is_read_as_the_client_reads_it(env: dict[str, Any], kind: str, name: str) -> None:
    assert configured_primary(env) == (kind, name)


def test_a_server_that_is_not_there_is_an_outage_from_the_start() -> None:
    told: list[PrimaryFailure | None] = []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        name = f"127.0.0.1:{server.getsockname()[1]}"
    primary = Primary(name, lambda _, failure, __: told.append(failure))
    assert check_at_start("Oobabooga", primary) == "", "the outage has its line"
    assert primary.is_open
    assert told[0] is not None and told[0].kind is FailureKind.REFUSED
    primary.shut_down()


def test_a_server_that_listens_is_left_alone() -> None:
    told: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        primary = Primary(f"127.0.0.1:{server.getsockname()[1]}", lambda *change: told.append(change))
        assert "accepts connections" in check_at_start("Ollama", primary)
    assert not primary.is_open
    assert told == []


@pytest.mark.parametrize(("found", "words"), [("127.0.0.1:1234", "127.0.0.1:1234 accepts"), (None, "not there yet")])
def test_lm_studio_is_looked_for_by_its_own_library(
    monkeypatch: pytest.MonkeyPatch, found: str | None, words: str
) -> None:
    client = SimpleNamespace(find_default_local_api_host=lambda: found)
    monkeypatch.setitem(sys.modules, "lmstudio", SimpleNamespace(Client=client))
    assert words in find_lmstudio()


@pytest.mark.parametrize("library", [None, SimpleNamespace(), SimpleNamespace(Client=SimpleNamespace())])
def test_without_the_library_or_with_another_one_it_is_not_there(monkeypatch: pytest.MonkeyPatch, library: Any) -> None:
    monkeypatch.setitem(sys.modules, "lmstudio", library)
    assert "not there yet" in find_lmstudio()
