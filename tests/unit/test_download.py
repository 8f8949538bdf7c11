"""Downloading a model: from a hub of our own on loopback, and from hubs that fail in every way they can."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import requests
from huggingface_hub import errors, hf_hub_download, scan_cache_dir

from tests.helpers.loopback_hub import COMMIT, LoopbackHub, running_hub
from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.cli import main, options
from zwaif_fallback.demo import MODEL as TINY
from zwaif_fallback.downloads import download as downloads
from zwaif_fallback.downloads import transfer
from zwaif_fallback.downloads.download import (
    SPARE_BYTES,
    DownloadFailed,
    DownloadStopped,
    HuggingFace,
    Progress,
    download,
)
from zwaif_fallback.downloads.transfer import Meter, Report, Stop
from zwaif_fallback.errors import ModelError, ModelNotFound

NAME = "someone/tiny"


class ScriptedHub:
    """Knows one model; follows instructions well to at each step."""

    def __init__(self, folder: Path, error: Exception | None = None) -> None:
        self.folder = folder
        self.error = error
        self.sizes: Mapping[str, int] = {"config.json": 700, "model.safetensors": 2_000_000_000}
        self.fetched: list[str] = []

    def files(self, repository: str) -> Mapping[str, int]:
        return self.sizes

    def fetch(self, repository: str, files: Mapping[str, int], folder: Path | None, report: Report, stop: Stop) -> Path:
        self.fetched.append(repository)
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
        DownloadFailed, match=r"needs 2\.5 GB, and .* has 2\.5 GB free\. Free some space, or set HF_HOME"
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
    with pytest.raises(ModelError, match="offers no safetensors weights and no GGUF files"):
        download(NAME, said.append, hub, cache_dir=str(tmp_path))


def test_nonsense_is_told_before_anybody_is_asked(said: list[str]) -> None:
    hub = ScriptedHub(TINY)
    with pytest.raises(ModelNotFound, match="There is no model called"):
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
        (errors.HfHubHTTPError("ill", response=response(503)), r"a problem \(503\)\. Try again later"),
        (errors.HfHubHTTPError("what?", response=response(400)), r"refused \(what\?\)"),
        (errors.OfflineModeIsEnabled("offline"), "Unset HF_HUB_OFFLINE"),
        (errors.LocalEntryNotFoundError("nothing here"), "Check the internet connection"),
        (requests.ConnectionError("refused"), "Check the internet connection"),
        (requests.Timeout("late"), "Check the internet connection"),
        (requests.exceptions.SSLError("certificate expired"), "clock and its proxy"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/models"), "Set HF_HOME to a folder that you own"),
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


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with running_hub(NAME, {path.name: path.read_bytes() for path in TINY.iterdir() if path.is_file()}) as server:
        yield server


def real(hub: LoopbackHub, cache: Path) -> HuggingFace:
    return HuggingFace(hub.address, str(cache), wait=lambda seconds: None)


def test_a_real_download_leaves_out_pickles_and_code(hub: LoopbackHub, tmp_path: Path, said: list[str]) -> None:
    wanted = set(hub.files)
    unwanted = ("pytorch_model.bin", "modeling_tiny.py", "consolidated.safetensors", "README.md")
    hub.files |= dict.fromkeys(unwanted, b"never to be fetched")
    cache = str(tmp_path / "cache")
    folder = download(NAME, said.append, real(hub, Path(cache)), cache_dir=cache)
    assert hub.fetched == wanted == {path.name for path in folder.iterdir()}
    assert not list((tmp_path / "cache").rglob("*.incomplete"))
    assert (folder / "model.safetensors").read_bytes() == (TINY / "model.safetensors").read_bytes()
    assert resolve_name.is_on_this_machine(NAME, cache)


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (403, "GatedRepo", "huggingface-cli login$"),
        (404, "RepoNotFound", "Check the spelling"),
        (401, "", "Check the spelling|huggingface-cli login"),
        (500, "", "a problem"),
    ],
)
def test_real_refusals(status: int, code: str, remedy: str, hub: LoopbackHub, tmp_path: Path, said: list[str]) -> None:
    hub.refuse_with, hub.error_code = status, code
    with pytest.raises(DownloadFailed, match=remedy):
        download(NAME, said.append, real(hub, tmp_path), cache_dir=str(tmp_path))


def test_nobody_at_the_hub_s_address(hub: LoopbackHub, tmp_path: Path, said: list[str]) -> None:
    address = hub.address
    hub.stop()
    with pytest.raises(DownloadFailed, match="cannot be reached"):
        download(
            NAME, said.append, HuggingFace(address, str(tmp_path), wait=lambda seconds: None), cache_dir=str(tmp_path)
        )


def test_offline_mode_asks_nobody(
    hub: LoopbackHub, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import configure_http_backend

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    configure_http_backend()  # sessions that were made before know nothing of the switch
    try:
        with pytest.raises(DownloadFailed, match="offline mode is on"):
            download(NAME, said.append, real(hub, tmp_path), cache_dir=str(tmp_path))
    finally:
        monkeypatch.undo()
        configure_http_backend()
    assert hub.fetched == set()


# --- cut, wrong, stopped ----------------------------------------------------------------------------------------------

BIG = bytes(range(256)) * 20_000
GGUF_NAME = "someone/Tiny-GGUF"


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """A repository of GGUF files."""
    monkeypatch.setattr(transfer, "CHUNK", 100_000)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    files = {
        "Tiny-Q8_0.gguf": b"eight",
        "Tiny-Q4_K_M.gguf": BIG,
        "Big-Q4_0-00001-of-00002.gguf": b"one",
        "Big-Q4_0-00002-of-00002.gguf": b"two",
        "README.md": b"never to be fetched",
    }
    with running_hub(GGUF_NAME, files) as server:
        yield server


@pytest.mark.parametrize("wanted", ["Tiny-Q4_K_M.gguf", "*q4_k_m*", "Q4_K_M"])
def test_one_file_out_of_a_repository(wanted: str, shelf: LoopbackHub, tmp_path: Path, said: list[str]) -> None:
    place = download(f"{GGUF_NAME}:{wanted}", said.append, real(shelf, tmp_path), cache_dir=str(tmp_path))
    assert place.name == "Tiny-Q4_K_M.gguf" and place.read_bytes() == BIG
    assert shelf.fetched == {"Tiny-Q4_K_M.gguf"}
    assert resolve_name.is_on_this_machine(f"{GGUF_NAME}:Tiny-Q4_K_M.gguf", str(tmp_path))


def test_every_part_of_a_split_one(shelf: LoopbackHub, tmp_path: Path, said: list[str]) -> None:
    place = download(f"{GGUF_NAME}:Big-Q4_0*", said.append, real(shelf, tmp_path), cache_dir=str(tmp_path))
    assert place.name == "Big-Q4_0-00001-of-00002.gguf"
    assert place.with_name("Big-Q4_0-00002-of-00002.gguf").read_bytes() == b"two"


@pytest.mark.parametrize("name", [GGUF_NAME, f"{GGUF_NAME}:Q5_K_M"])
def test_a_repository_of_files_says_which_there_are(
    name: str, shelf: LoopbackHub, tmp_path: Path, said: list[str]
) -> None:
    with pytest.raises(
        ModelError, match=rf"Name one: {GGUF_NAME}:Tiny-Q4_K_M.gguf. It has Tiny-Q4_K_M.gguf \(5.1 MB\),"
    ):
        download(name, said.append, real(shelf, tmp_path), cache_dir=str(tmp_path))
    assert shelf.fetched == set()


def test_a_cut_connection_goes_on_where_it_was_cut(shelf: LoopbackHub, tmp_path: Path, said: list[str]) -> None:
    shelf.cuts = [1_000_000, 2_500_000]
    place = download(f"{GGUF_NAME}:Q4_K_M", said.append, real(shelf, tmp_path), cache_dir=str(tmp_path))
    assert place.read_bytes() == BIG
    assert shelf.begun_at == [0, 1_000_000, 3_500_000]


def test_a_later_download_goes_on_where_the_first_was_given_up(
    shelf: LoopbackHub, tmp_path: Path, said: list[str]
) -> None:
    shelf.cuts = [1_000_000, *[0] * transfer.TRIES]
    with pytest.raises(DownloadFailed, match="keeps breaking off"):
        download(f"{GGUF_NAME}:Q4_K_M", said.append, real(shelf, tmp_path), cache_dir=str(tmp_path))
    seen: list[Progress] = []
    place = download(
        f"{GGUF_NAME}:Q4_K_M", said.append, real(shelf, tmp_path), cache_dir=str(tmp_path), report=seen.append
    )
    assert place.read_bytes() == BIG
    assert shelf.begun_at[-1] == 1_000_000
    assert (seen[0].done, seen[-1].done, seen[-1].total) == (1_000_000, len(BIG), len(BIG))


def test_a_server_that_cannot_go_on_begins_again(shelf: LoopbackHub, tmp_path: Path, said: list[str]) -> None:
    shelf.cuts, shelf.takes_ranges = [1_000_000], False
    seen: list[Progress] = []
    place = download(
        f"{GGUF_NAME}:Q4_K_M", said.append, real(shelf, tmp_path), cache_dir=str(tmp_path), report=seen.append
    )
    assert place.read_bytes() == BIG


def test_a_wrong_checksum_is_never_kept(shelf: LoopbackHub, tmp_path: Path, said: list[str]) -> None:
    shelf.sent["Tiny-Q4_K_M.gguf"] = BIG[:-1] + b"!"
    with pytest.raises(DownloadFailed, match=r"Tiny-Q4_K_M.gguf arrived damaged \(its checksum is wrong\)"):
        download(f"{GGUF_NAME}:Q4_K_M", said.append, real(shelf, tmp_path), cache_dir=str(tmp_path))
    assert not resolve_name.is_on_this_machine(f"{GGUF_NAME}:Tiny-Q4_K_M.gguf", str(tmp_path))
    del shelf.sent["Tiny-Q4_K_M.gguf"]
    place = download(f"{GGUF_NAME}:Q4_K_M", said.append, real(shelf, tmp_path), cache_dir=str(tmp_path))
    assert place.read_bytes() == BIG and shelf.begun_at == [0, 0]


def test_small_files_are_checked_by_git_s_hash(hub: LoopbackHub, tmp_path: Path, said: list[str]) -> None:
    data = hub.files["config.json"]
    hub.etags["config.json"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    download(NAME, said.append, real(hub, tmp_path), cache_dir=str(tmp_path))
    hub.etags["config.json"] = "0" * 40
    with pytest.raises(DownloadFailed, match=r"config\.json arrived damaged"):
        download(NAME, said.append, real(hub, tmp_path / "2"), cache_dir=str(tmp_path / "2"))


@pytest.mark.parametrize("etag", ["not-a-hash", "..", "A" * 64, "0" * 39])
def test_what_nobody_can_check_is_not_fetched(etag: str, shelf: LoopbackHub, tmp_path: Path, said: list[str]) -> None:
    shelf.etags["Tiny-Q4_K_M.gguf"] = etag
    with pytest.raises(DownloadFailed, match="gguf has no checksum to verify it by"):
        download(f"{GGUF_NAME}:Q4_K_M", said.append, real(shelf, tmp_path), cache_dir=str(tmp_path))
    assert not list(tmp_path.rglob("*.incomplete")) and not shelf.begun_at


def test_a_file_of_another_size_than_listed_is_not_fetched(shelf: LoopbackHub, tmp_path: Path, said: list[str]) -> None:
    shelf.listed["Tiny-Q4_K_M.gguf"] = 10
    with pytest.raises(DownloadFailed, match=f"is not as listed: {len(BIG):,} bytes instead of 10"):
        download(f"{GGUF_NAME}:Q4_K_M", said.append, real(shelf, tmp_path), cache_dir=str(tmp_path))
    assert not shelf.begun_at


@pytest.mark.parametrize("into", ["cache", "folder"])
def test_a_server_that_never_stops_sending_is_given_up_at_what_it_announced(
    shelf: LoopbackHub, tmp_path: Path, said: list[str], into: str
) -> None:
    shelf.endless = True
    folder = tmp_path / "folder" if into == "folder" else None
    seen: list[Progress] = []
    with pytest.raises(DownloadFailed, match="is longer than announced, so it was removed"):
        download(
            f"{GGUF_NAME}:Q4_K_M",
            said.append,
            real(shelf, tmp_path),
            cache_dir=str(tmp_path / "cache"),
            folder=folder,
            report=seen.append,
        )
    assert max(progress.done for progress in seen) <= len(BIG)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix in (".incomplete", ".part")]


def test_a_server_that_packs_what_it_sends_is_refused(shelf: LoopbackHub, tmp_path: Path, said: list[str]) -> None:
    shelf.packed = True
    with pytest.raises(DownloadFailed, match="arrived compressed, which was not requested"):
        download(f"{GGUF_NAME}:Q4_K_M", said.append, real(shelf, tmp_path), cache_dir=str(tmp_path))


def test_the_token_does_not_follow_to_another_host(
    shelf: LoopbackHub, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    with running_hub(GGUF_NAME, {"Tiny-Q4_K_M.gguf": BIG}) as other:
        shelf.elsewhere = other.address.replace("127.0.0.1", "localhost")
        place = download(f"{GGUF_NAME}:Q4_K_M", said.append, real(shelf, tmp_path), cache_dir=str(tmp_path))
        assert place.read_bytes() == BIG
        assert set(shelf.tokens) == {"Bearer hf_mine"} and other.tokens == [""]


@pytest.mark.skipif(os.name == "nt", reason="Windows makes links for developers only")
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_download_is_not_written_through_a_link(
    link: Callable[[Path, Path], None], shelf: LoopbackHub, tmp_path: Path, said: list[str]
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"important")
    blobs = tmp_path / f"models--{GGUF_NAME.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    link(victim, blobs / f"{hashlib.sha256(BIG).hexdigest()}.incomplete")
    place = download(f"{GGUF_NAME}:Q4_K_M", said.append, real(shelf, tmp_path), cache_dir=str(tmp_path))
    assert victim.read_bytes() == b"important" and place.read_bytes() == BIG


def test_a_part_that_is_longer_than_the_file_is_begun_anew(shelf: LoopbackHub, tmp_path: Path, said: list[str]) -> None:
    blobs = tmp_path / f"models--{GGUF_NAME.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{hashlib.sha256(BIG).hexdigest()}.incomplete").write_bytes(BIG + b"more")
    place = download(f"{GGUF_NAME}:Q4_K_M", said.append, real(shelf, tmp_path), cache_dir=str(tmp_path))
    assert place.read_bytes() == BIG


@pytest.mark.parametrize("links", [True, False])
def test_the_hub_s_own_library_finds_what_was_brought(
    links: bool, hub: LoopbackHub, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1314, "A privilege is missing")

    if not links:
        monkeypatch.setattr(Path, "symlink_to", refuse)
    folder = download(NAME, said.append, real(hub, tmp_path), cache_dir=str(tmp_path))
    asked, names = len(hub.begun_at), sorted(hub.fetched)
    for name in names:
        found = hf_hub_download(NAME, name, cache_dir=tmp_path, endpoint=hub.address)
        assert Path(found) == folder / name and Path(found).read_bytes() == hub.files[name]
    assert len(hub.begun_at) == asked, "nothing was fetched again"
    (repository,) = scan_cache_dir(tmp_path).repos
    assert (repository.repo_id, repository.nb_files) == (NAME, len(names))
    assert [sorted(revision.refs) for revision in repository.revisions] == [["main"]]


def test_a_stopped_download_keeps_what_came(shelf: LoopbackHub, tmp_path: Path, said: list[str]) -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 10

    with pytest.raises(DownloadStopped, match="continues from there"):
        download(f"{GGUF_NAME}:Q4_K_M", said.append, real(shelf, tmp_path), cache_dir=str(tmp_path), stop=stop)
    place = download(f"{GGUF_NAME}:Q4_K_M", said.append, real(shelf, tmp_path), cache_dir=str(tmp_path))
    assert place.read_bytes() == BIG and shelf.begun_at == [0, 1_000_000]


def test_a_disk_that_fills_up(
    shelf: LoopbackHub, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("zwaif_fallback.downloads.hub.transfer", full)
    with pytest.raises(DownloadFailed, match="the disk is full"):
        download(f"{GGUF_NAME}:Q4_K_M", said.append, real(shelf, tmp_path), cache_dir=str(tmp_path))


def test_into_a_chosen_folder(shelf: LoopbackHub, hub: LoopbackHub, tmp_path: Path, said: list[str]) -> None:
    cache = str(tmp_path / "cache")
    chosen = tmp_path / "big disk"
    shelf.cuts = [1_000_000]
    file = download(f"{GGUF_NAME}:Q4_K_M", said.append, real(shelf, tmp_path), cache_dir=cache, folder=chosen)
    assert file == chosen / "Tiny-GGUF" / "Tiny-Q4_K_M.gguf" and file.read_bytes() == BIG
    folder = download(NAME, said.append, real(hub, tmp_path), cache_dir=cache, folder=chosen)
    assert folder == chosen / "tiny" and not list(chosen.rglob("*.part"))
    assert resolve_name.resolve("tiny", tmp_path, str(chosen)) == str(folder)
    again = download(NAME, said.append, real(hub, tmp_path), cache_dir=cache, folder=chosen)
    assert again == folder
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../../escaped-Q4_1.gguf",
        "/tmp/escaped-Q4_1.gguf",
        "..\\escaped-Q4_1.gguf",
        "D:escaped-Q4_1.gguf",
        "nul.Q4_1.gguf",
    ],
)
@pytest.mark.parametrize("folder", ["a/b", None])
def test_a_repository_may_not_name_files_that_lie_elsewhere_on_any_system(
    shelf: LoopbackHub, tmp_path: Path, said: list[str], name: str, folder: str | None
) -> None:
    shelf.files[name] = b"x"
    with pytest.raises(DownloadFailed, match="whose name means another place on some systems"):
        download(f"{GGUF_NAME}:Q4_1", said.append, real(shelf, tmp_path), folder=tmp_path / folder if folder else None)
    assert not list(tmp_path.rglob("*Q4_1*"))


def test_a_model_called_like_a_device_gets_a_folder_of_another_name(
    hub: LoopbackHub, tmp_path: Path, said: list[str]
) -> None:
    hub.repository = "someone/aux"
    folder = download("someone/aux", said.append, real(hub, tmp_path), folder=tmp_path)
    assert folder == tmp_path / "_aux"


def test_progress_is_told_in_words_and_not_too_often() -> None:
    clock = iter([0.0, 0.0, 0.1, 0.2, 1.0, 1.0, 60.0, 60.0])
    seen: list[Progress] = []
    meter = Meter(2_020_000_000, seen.append, now=lambda: next(clock))
    meter.start("a.gguf", 20_000_000)
    for _ in range(3):
        meter.add(100_000_000)
    meter.add(100_000_000)
    assert [progress.done for progress in seen] == [20_000_000, 320_000_000, 420_000_000]
    assert seen[0].line == "0.02 of 2.02 GB (1 %), 0 s left" or seen[0].line == "0.02 of 2.02 GB (1%)"
    assert seen[-1].share == pytest.approx(0.208, abs=0.001)
    assert seen[-1].line.startswith("0.42 of 2.02 GB (21%), 4 min left")


def test_times_and_sizes_as_people_say_them() -> None:
    assert [transfer.duration(seconds) for seconds in (5, 89, 150, 5000)] == ["5 s", "89 s", "2 min", "83 min"]
    assert transfer.duration(6000) == "1 h 40 min"
    assert transfer.sizes(5_000_000, 20_000_000) == "5 of 20 MB"


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "HuggingFace", lambda cache_dir: real(hub, tmp_path / "cache"))
    assert main.main(["download", NAME]) == 0
    assert f"{NAME} is on this computer now: " in capsys.readouterr().out
    hub.refuse_with = 500
    assert main.main(["download", "someone/other"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("someone/other was not downloaded: Hugging Face has a problem") and said.count("\n") == 1


def test_the_command_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object, **__: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(downloads, "download", stop)
    assert main.main(["download", NAME]) == options.EXIT_INTERRUPTED
    assert "Run the same command again to continue" in capsys.readouterr().err
