"""Downloading a model: from a hub of our own on loopback, and from hubs that fail in every way they can."""

from __future__ import annotations

import errno
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from huggingface_hub import errors

from zwaif_fallback import cli, cli_parts, model_files
from zwaif_fallback import download as downloads
from zwaif_fallback.demo.demo import MODEL as TINY
from zwaif_fallback.download import SPARE_BYTES, DownloadFailed, HuggingFace, download
from zwaif_fallback.errors import ModelError, ModelNotFound

NAME = "someone/tiny"
COMMIT = "a" * 40


class ScriptedHub:
    """Knows one model; does what it is told to at each step."""

    def __init__(self, folder: Path, error: Exception | None = None) -> None:
        self.folder = folder
        self.error = error
        self.sizes: Mapping[str, int] = {"config.json": 700, "model.safetensors": 2_000_000_000}
        self.fetched: list[str] = []

    def files(self, model: str) -> Mapping[str, int]:
        return self.sizes

    def fetch(self, model: str) -> Path:
        self.fetched.append(model)
        if self.error:
            raise self.error
        return self.folder


@pytest.fixture
def said() -> list[str]:
    return []


def response(status: int) -> requests.Response:
    made = requests.Response()
    made.status_code = status
    made.headers["X-Error-Message"] = "the hub's own words"
    return made


# --- what happens when all goes well ----------------------------------------------------------------------------------


def test_size_and_place_are_said_first(tmp_path: Path, said: list[str]) -> None:
    hub = ScriptedHub(TINY)
    assert download(NAME, said.append, hub, cache_dir=str(tmp_path)) == TINY
    assert said == [f"Downloading {NAME}: 2.0 GB into {tmp_path}", f"{NAME} is on this computer now: {TINY}"]
    assert hub.fetched == [NAME]


def test_a_name_of_the_list_in_short(tmp_path: Path, said: list[str]) -> None:
    hub = ScriptedHub(TINY)
    download("phi-2", said.append, hub, cache_dir=str(tmp_path))
    assert hub.fetched == ["microsoft/phi-2"]


def test_what_is_here_is_not_fetched_again(tmp_path: Path, said: list[str]) -> None:
    hub = ScriptedHub(TINY)
    assert download(str(TINY), said.append, hub) == TINY
    snapshot = tmp_path / "models--someone--tiny" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(COMMIT)
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).write_text("{}")
    assert download(NAME, said.append, hub, cache_dir=str(tmp_path)) == snapshot
    assert (hub.fetched, len(said)) == ([], 2)
    assert said[0].endswith("nothing to download") and "is on this computer already" in said[1]


# --- what stands in the way -------------------------------------------------------------------------------------------


def test_no_room_on_the_disk(tmp_path: Path, said: list[str]) -> None:
    hub = ScriptedHub(TINY)
    room = 2_000_000_700 + SPARE_BYTES
    with pytest.raises(
        DownloadFailed, match=r"needs 2\.5 GB, and .* has 2\.5 GB free\. Free some space, or let HF_HOME"
    ):
        download(NAME, said.append, hub, cache_dir=str(tmp_path / "not" / "yet"), free_bytes=lambda place: room - 1)
    assert hub.fetched == []
    download(NAME, said.append, hub, cache_dir=str(tmp_path / "not" / "yet"), free_bytes=lambda place: room)
    assert hub.fetched == [NAME]


def test_what_came_before_needs_no_room_again(tmp_path: Path, said: list[str]) -> None:
    snapshot = tmp_path / "models--someone--tiny" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(COMMIT)
    hub = ScriptedHub(TINY)
    hub.sizes = {"config.json": 1, "model-1.safetensors": 10**12, "model-2.safetensors": 10**9}
    (snapshot / "model-1.safetensors").write_bytes(b"")
    download(NAME, said.append, hub, cache_dir=str(tmp_path), free_bytes=lambda place: 10**10)
    assert said[0].startswith(f"Downloading {NAME}: 1.0 GB")


def test_a_model_without_safetensors(tmp_path: Path, said: list[str]) -> None:
    hub = ScriptedHub(TINY)
    hub.sizes = {"config.json": 700}
    with pytest.raises(ModelError, match="offers no safetensors weights"):
        download(NAME, said.append, hub, cache_dir=str(tmp_path))


def test_nonsense_is_told_before_anybody_is_asked(said: list[str]) -> None:
    hub = ScriptedHub(TINY)
    with pytest.raises(ModelNotFound, match="neither a folder nor a model name"):
        download("two words", said.append, hub)
    assert hub.fetched == []


def test_a_download_that_lacks_a_file(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelNotFound, match="There are no weights"):
        download(NAME, said.append, ScriptedHub(tmp_path), cache_dir=str(tmp_path))
    assert len(said) == 1, "it must not be called complete"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (errors.GatedRepoError("gated", response(403)), r"Open https://huggingface\.co/someone/tiny, .*-cli login$"),
        (errors.RepositoryNotFoundError("gone", response(401)), "Check the spelling; for a private one"),
        (errors.HfHubHTTPError("no", response=response(401)), "huggingface-cli login$"),
        (errors.HfHubHTTPError("no", response=response(403)), "huggingface-cli login$"),
        (errors.HfHubHTTPError("slow down", response=response(429)), "Wait some minutes"),
        (errors.HfHubHTTPError("ill", response=response(503)), r"trouble of its own \(503\)\. Try again later"),
        (errors.HfHubHTTPError("what?", response=response(400)), r"refused \(what\?\)"),
        (errors.OfflineModeIsEnabled("offline"), "Unset HF_HUB_OFFLINE"),
        (errors.LocalEntryNotFoundError("nothing here"), "Check the internet connection"),
        (requests.ConnectionError("refused"), "Check the internet connection"),
        (requests.Timeout("late"), "Check the internet connection"),
        (requests.exceptions.SSLError("certificate expired"), "clock and its proxy"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/models"), "Let HF_HOME name a folder that you own"),
        (ValueError("odd\nand more"), "ValueError: odd. Try again; ZWAIF_DEBUG=1"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_failure_is_one_line_with_the_next_step(
    error: Exception, remedy: str, tmp_path: Path, said: list[str]
) -> None:
    with pytest.raises(DownloadFailed, match=remedy) as caught:
        download(NAME, said.append, ScriptedHub(TINY, error), cache_dir=str(tmp_path))
    assert str(caught.value).startswith(f"{NAME} was not downloaded: ")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


# --- the real client library ------------------------------------------------------------------------------------------


class _HubHandler(BaseHTTPRequestHandler):
    """As much of the hub's protocol as a download uses."""

    server: LoopbackHub

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        if self.server.refuse_with:
            self._send(self.server.refuse_with, b"{}", {"X-Error-Code": self.server.error_code}, with_body)
        elif self.path.startswith(f"/api/models/{NAME}"):
            siblings = [{"rfilename": name, "size": len(data)} for name, data in self.server.files.items()]
            model = {"id": NAME, "sha": COMMIT, "siblings": siblings}
            self._send(200, json.dumps(model).encode(), {"Content-Type": "application/json"}, with_body)
        else:
            name = self.path.rpartition("/")[2]
            data = self.server.files[name]
            self.server.fetched.add(name)
            etag = f'"{hashlib.sha256(data).hexdigest()}"'
            self._send(200, data, {"X-Repo-Commit": COMMIT, "ETag": etag}, with_body)

    def _send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


class LoopbackHub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _HubHandler)
        self.files = {path.name: path.read_bytes() for path in TINY.iterdir() if path.is_file()}
        self.fetched: set[str] = set()
        self.refuse_with = 0
        self.error_code = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    server = LoopbackHub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_real_download_leaves_out_pickles_and_code(hub: LoopbackHub, tmp_path: Path, said: list[str]) -> None:
    wanted = set(hub.files)
    unwanted = ("pytorch_model.bin", "modeling_tiny.py", "consolidated.safetensors", "README.md")
    hub.files |= dict.fromkeys(unwanted, b"never to be fetched")
    cache = str(tmp_path / "cache")
    folder = download(NAME, said.append, HuggingFace(hub.address, cache), cache_dir=cache)
    assert hub.fetched == wanted == {path.name for path in folder.iterdir()}
    assert (folder / "model.safetensors").read_bytes() == (TINY / "model.safetensors").read_bytes()
    assert model_files.is_on_this_machine(NAME, cache)


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (403, "GatedRepo", "huggingface-cli login$"),
        (404, "RepoNotFound", "Check the spelling"),
        (401, "", "Check the spelling|huggingface-cli login"),
        (500, "", "trouble of its own"),
    ],
)
def test_real_refusals(status: int, code: str, remedy: str, hub: LoopbackHub, tmp_path: Path, said: list[str]) -> None:
    hub.refuse_with, hub.error_code = status, code
    with pytest.raises(DownloadFailed, match=remedy):
        download(NAME, said.append, HuggingFace(hub.address, str(tmp_path)), cache_dir=str(tmp_path))


def test_nobody_at_the_hub_s_address(hub: LoopbackHub, tmp_path: Path, said: list[str]) -> None:
    address = hub.address
    hub.shutdown()
    hub.server_close()
    with pytest.raises(DownloadFailed, match="cannot be reached"):
        download(NAME, said.append, HuggingFace(address, str(tmp_path)), cache_dir=str(tmp_path))


def test_offline_mode_asks_nobody(
    hub: LoopbackHub, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import configure_http_backend

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    configure_http_backend()  # sessions that were made before know nothing of the switch
    try:
        with pytest.raises(DownloadFailed, match="offline mode is on"):
            download(NAME, said.append, HuggingFace(hub.address, str(tmp_path)), cache_dir=str(tmp_path))
    finally:
        monkeypatch.undo()
        configure_http_backend()
    assert hub.fetched == set()


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "HuggingFace", lambda cache_dir: HuggingFace(hub.address, str(tmp_path / "cache")))
    assert cli.main(["download", NAME]) == 0
    assert f"{NAME} is on this computer now: " in capsys.readouterr().out
    hub.refuse_with = 500
    assert cli.main(["download", "someone/other"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("someone/other was not downloaded: Hugging Face has trouble") and said.count("\n") == 1


def test_the_command_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object, **__: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(downloads, "download", stop)
    assert cli.main(["download", NAME]) == cli_parts.STOPPED
    assert "goes on where this one ended" in capsys.readouterr().err
