"""Fallback Host: which addresses are taken, and what a check may do and tell."""

from __future__ import annotations

import html
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.scripted_service import ENV, ScriptedDownload, ScriptedService
from zwaif_fallback.addresses import HOST, TRUSTED, trusts
from zwaif_fallback.answering.second_server import KEY_VARIABLE
from zwaif_fallback.cli import settings as cli_settings
from zwaif_fallback.settings import SETTINGS
from zwaif_fallback.ui import fallback_host
from zwaif_fallback.ui.model_list import ModelList
from zwaif_fallback.ui.panel import Panel
from zwaif_fallback.ui.setting_edits import SettingEdits
from zwaif_hooks.host import env_file as envfile
from zwaif_hooks.host.settings_store import SettingsStore

SECRET = "sk-this-must-stay-here"


@pytest.fixture
def panel(host: Any, service: ScriptedService, model_list: ModelList, download: ScriptedDownload) -> Panel:
    return Panel(host, service, model_list=model_list, download=download)


class Server:
    """A real server on loopback; remembers what it was asked."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, {"Content-Type": "application/json"}, b""
        self.hold = threading.Event()
        self.hold.set()
        self.asked: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.path, self.headers.get("Authorization")))
                outer.hold.wait(20)
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, format: str, *args: Any) -> None:
                """The console belongs to the tests."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def lists(self, *names: str) -> None:
        self.body = json.dumps({"data": [{"id": name} for name in names]}).encode()

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:8080",
        "localhost:1",
        "http://10.0.0.7:8080",
        "https://llm.example/v1",
        "[::1]:8080",
        "gpu-box:5000",
    ],
)
def test_host_is_taken(panel: Panel, host: Any, text: str) -> None:
    host.settings.set(HOST, "before:1")
    shown, status, _ = panel.fallback_host.change(f"  {text} ")
    assert shown == host.settings.get(HOST) == text
    assert status.startswith(f"<p>Saved: Fallback Host is {text or 'empty'}.")
    in_the_network = bool(text) and not any(here in text for here in ("127.0.0.1", "localhost", "::1"))
    assert ("gets no key and is used only in your own network" in status) is in_the_network


@pytest.mark.parametrize(
    "text",
    [
        "two words",
        "banana",
        "127.0.0.1",
        "127.0.0.1:99999",
        "127.0.0.1:0",
        "127.0.0.1:port",
        "ftp://x",
        "http://",
        "[::1",
        "file:///etc/passwd",
        "gopher://127.0.0.1:70/",
        "http://user:password@host",
        "http://host/?query=1",
        "http://host/#part",
        "http://host/a/../../b%2e",
        "http://169.254.169.254/latest",
        "http://[fe80::1]:80",
        "2852039166:80",
        "0xA9FEA9FE:80",
        "169.254.43518:80",
        "0251.0376.0251.0376:80",
        "[::ffff:169.254.169.254]:80",
        "[::ffff:a9fe:a9fe]:80",
        "169.254.169.254.:80",
        "169\u3002254\u3002169\u3002254:80",
        "$(reboot):80",
        "a;reboot:80",
        "host\nCHAR_NAME = Eve",
        "host\u2028x",
        "http:\\\\host",
    ],
)
def test_host_that_is_none_changes_nothing_and_says_why(panel: Panel, env_file: Path, text: str) -> None:
    shown, status, _ = panel.fallback_host.change(text)
    assert shown == ""
    assert "but it must look like 127.0.0.1:8080" in status
    assert 'role="alert"' in status
    assert env_file.read_text(encoding="utf-8") == ENV


@pytest.mark.parametrize("text", ["127.0.0.1:5000", "http://localhost:5000/v1", "10.0.0.9:7000"])
def test_main_server_is_no_fallback_host(panel: Panel, host: Any, env_file: Path, text: str) -> None:
    """As ``.env`` names it, in any spelling, and as it was asked."""
    host.primaries.get("10.0.0.9:7000")
    shown, said, _ = panel.fallback_host.change(text)
    assert shown == ""
    assert f"{text} is your main server. The second server must be a different one" in said
    assert env_file.read_text(encoding="utf-8") == ENV


def test_lm_studio_is_found_by_its_own_library_so_that_the_usual_port_is_free(
    panel: Panel, host: Any, env_file: Path
) -> None:
    env_file.write_text(ENV + "API_TYPE = LMStudio\n", encoding="utf-8")
    assert "Saved" in panel.fallback_host.change("127.0.0.1:5000")[1]


def restarted(env_file: Path) -> SettingsStore:
    return SettingsStore(SETTINGS, env_file, environ={}, say=lambda line: None)


@pytest.mark.parametrize("text", ["8.8.8.8:80", "https://134744072/v1", "http://[2001:db8::1]:80", "100.64.0.1:80"])
def test_host_in_the_world_is_named_by_hand(panel: Panel, env_file: Path, text: str) -> None:
    shown, said, _ = panel.fallback_host.change(text)
    assert shown == ""
    assert f"outside your private network. Set it by hand: zwaif-fallback settings set API_FALLBACK_HOST {text}" in said
    assert env_file.read_text(encoding="utf-8") == ENV


@pytest.mark.parametrize(("named", "kept"), [("https://api.example/v1", "https://api.example/v1"), ("", "none")])
def test_key_and_trust_stay_with_the_host_that_was_named_by_hand(
    panel: Panel, host: Any, env_file: Path, named: str, kept: str
) -> None:
    """Also when the page's host was changed again, and after a restart."""
    host.settings.set(HOST, named)
    for other in ("192.168.1.66:80", "10.66.6.6:80", "gpu-box:80"):
        panel.fallback_host.change(other)
        for settings in (host.settings, restarted(env_file)):
            assert (settings.get(HOST), settings.get(TRUSTED)) == (other, kept)
            assert not trusts(settings.get, other)
            assert trusts(settings.get, named) is bool(named)
    panel.reset()
    panel.undo()
    assert not trusts(host.settings.get, str(host.settings.get(HOST)))
    if named:
        assert "network only" not in panel.fallback_host.change(named)[1]
        assert trusts(restarted(env_file).get, named)


def test_whose_trust_is_not_written_down_stays(panel: Panel, host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be another's after the next start."""
    host.settings.set(HOST, "127.0.0.1:1")

    def full(path: Path, name: str, value: str) -> None:
        raise envfile.EnvFileError("The disk is full.")

    monkeypatch.setattr(envfile, "write", full)
    for _ in range(2):
        shown, said, _ = panel.fallback_host.change("192.168.1.66:80")
        assert (shown, host.settings.get(HOST)) == ("127.0.0.1:1", "127.0.0.1:1")
        assert "The disk is full." in said


def test_an_empty_variable_must_not_hide_what_is_written_down(service: ScriptedService, env_file: Path) -> None:
    settings = SettingsStore(SETTINGS, env_file, environ={TRUSTED: ""}, say=lambda line: None)
    edits = SettingEdits(settings, [HOST], tree=env_file.parent)
    assert "is an empty environment variable" in edits.set(HOST, "192.168.1.66:80")
    assert settings.get(HOST) == ""


def test_the_page_cannot_say_whom_to_trust(panel: Panel, host: Any) -> None:
    assert "cannot be changed on this page" in panel.edits.set(TRUSTED, "192.168.1.66:80")
    assert host.settings.get(TRUSTED) == ""


def test_the_command_line_trusts_the_host_that_it_sets(panel: Panel, host: Any, env_file: Path) -> None:
    panel.fallback_host.change("192.168.1.66:80")
    cli_settings.change(env_file.parent, HOST, "https://api.example/v1")
    host.settings.reload()
    assert trusts(host.settings.get, "https://api.example/v1")
    assert not trusts(host.settings.get, "192.168.1.66:80")


def check(panel: Panel, text: str) -> str:
    panel.fallback_host.change(text)
    return html.unescape(panel.fallback_host.check(text).partition(">")[2].removesuffix("</p>"))


def test_host_of_the_page_gets_no_key(panel: Panel, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    server.lists("evil")
    assert "Models: evil" in check(panel, server.address)
    assert server.asked == [("/v1/models", None)]


def test_host_of_the_page_that_wants_the_key(
    panel: Panel, server: Server, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    host.settings.set(HOST, "https://api.example/v1")
    server.status = 401
    told = check(panel, server.address)
    assert f"{KEY_VARIABLE} is another host's, and this one was not named by hand" in told
    assert server.asked == [("/v1/models", None)]
    assert SECRET not in told


def test_check_lists_the_models_and_the_time(
    panel: Panel, server: Server, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    server.lists("mistral-7b", "llama-3.2")
    host.settings.set(HOST, server.address)
    told = check(panel, server.address)
    assert told.startswith(f"{server.address} answered in 0.")
    assert told.endswith(" s. Models: mistral-7b, llama-3.2.")
    assert server.asked == [("/v1/models", f"Bearer {SECRET}")]
    assert SECRET not in told


def test_address_that_is_not_saved_is_not_asked(panel: Panel, server: Server) -> None:
    assert "not saved yet" in panel.fallback_host.check(server.address)
    assert "no second server" in panel.fallback_host.check("")
    assert server.asked == []


def test_redirect_is_not_followed(panel: Panel, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    other = Server()
    server.status, server.headers = 302, {"Location": f"http://{other.address}/v1/models"}
    assert "HTTP 302" in check(panel, server.address)
    assert other.asked == []
    other.close()


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, b"SECRET PAGE", "wants a different key"),
        (404, b"SECRET PAGE", "no OpenAI API at this address"),
        (500, b"SECRET PAGE", "HTTP 500"),
        (200, b"SECRET PAGE", "not with a list of models"),
        (200, b'{"data": 7, "x": "SECRET PAGE"}', "not with a list of models"),
        (200, b"[" * 100_000, "not with a list of models"),
        (200, b'{"data": []}', "has no model loaded"),
        (200, b"x" * 1_100_000, "not with a list of models"),
    ],
)
def test_what_a_server_says_is_told_in_our_words(
    panel: Panel, server: Server, status: int, body: bytes, told: str
) -> None:
    server.status, server.body = status, body
    line = check(panel, server.address)
    assert told in line
    assert "SECRET" not in line


def test_names_of_models_cannot_be_a_page(panel: Panel, server: Server) -> None:
    server.lists(*(f"m{i}\n\x1b[31m" + "x" * 500 for i in range(20)))
    line = check(panel, server.address)
    assert line.endswith(" and 12 more.")
    assert len(line) < 700
    assert line.isprintable()


def test_nobody_there(panel: Panel, server: Server) -> None:
    server.close()
    assert "Nothing answers there. Start the server" in check(panel, server.address)


def test_server_that_never_ends_is_given_up_on(panel: Panel, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fallback_host, "WHOLE_SECONDS", 0.2)
    server.hold.clear()
    assert "did not finish its answer within 0.2 s" in check(panel, server.address)
