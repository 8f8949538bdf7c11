"""Changing one line of .env: the other bytes, and what python-dotenv reads back."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.helpers.links import link
from zwaif_hooks.host import env_file

KEY = "API_FALLBACK_MODEL"

values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
simple = st.text("abcXYZ012 .:/#\\漢🦊-", max_size=20)
line = st.one_of(
    st.builds("{} = {}".format, st.sampled_from(["WHISPER_MODEL", "CHAR_NAME", "A1"]), simple),
    st.builds("{}={}".format, st.sampled_from(["HOST_PORT", "YOUR_NAME"]), simple),
    st.builds("# {}".format, simple),
    st.builds("export NAME='{}' # {}".format, st.text("abc #$", max_size=8), simple),
    st.just(""),
    st.sampled_from([f"#{KEY} = off", f"X{KEY} = 1", "no equals sign", "BROKEN='x' y"]),
)
own = st.builds(
    "{}{}{}{}".format,
    st.sampled_from([KEY, f"  {KEY}", f"export {KEY}"]),
    st.sampled_from(["=", " = ", " =", "= ", "\t=\t"]),
    st.sampled_from(["", "old", "'o l d'", '"o#ld"', "two words"]),
    st.sampled_from(["", " # keep me", "  "]),
)


def put(folder: Path, content: bytes) -> Path:
    path = folder / ".env"
    path.write_bytes(content)
    return path


def read_back(path: Path) -> dict[str, str | None]:
    return dotenv_values(path, encoding="utf-8-sig")


@pytest.mark.slow
@given(
    before=st.lists(line, max_size=5),
    mine=st.lists(own, max_size=2),
    after=st.lists(line, max_size=5),
    newline=st.sampled_from(["\n", "\r\n"]),
    final=st.booleans(),
    bom=st.booleans(),
    value=values,
)
@example([], [], [], "\n", False, False, "C:\\My Models\\")
@example([], [f"{KEY} = # keep me"], [], "\n", False, False, "")
@example(["A1 = it's"], [], ["A1 = it's"], "\n", False, True, 'it\'s ${HOME} "#"\nx')
@settings(max_examples=300, deadline=None)
def test_only_the_value_changes(tmp_path_factory, before, mine, after, newline, final, bom, value):
    lines = [*before, *mine, *after]
    mark = "\ufeff" if bom else ""
    text = mark + newline.join(lines) + (newline if final and lines else "")
    path = put(tmp_path_factory.mktemp("env"), text.encode())
    others = {key: old for key, old in read_back(path).items() if key != KEY}

    env_file.write(path, KEY, value)

    result = path.read_bytes().decode()
    now = read_back(path)
    assert now.pop(KEY) == value
    assert now == others
    if not mine:
        start = text + (
            "" if text.endswith(("\n", "\r")) or text == mark else newline if newline in text else os.linesep
        )
        assert result.startswith(start)
    else:
        ours = len(before) + len(mine) - 1
        head = mark + "".join(f"{part}{newline}" for part in lines[:ours])
        tail = "".join(f"{newline}{part}" for part in lines[ours + 1 :]) + (newline if final else "")
        assert result.startswith(head)
        assert result.endswith(tail)
        assert ("# keep me" in result[len(head) :]) == (
            "# keep me" in newline.join(lines[ours:]) or "# keep me" in value
        )


@given(st.binary(max_size=60), st.text("ab c", max_size=5))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_kept_or_refused(tmp_path_factory, content, value):
    path = put(tmp_path_factory.mktemp("env"), content)
    try:
        env_file.write(path, KEY, value)
    except env_file.EnvFileError as problem:
        assert str(path) in str(problem)
        assert path.read_bytes() == content
    else:
        assert path.read_bytes().startswith(content)
        assert env_file.read(path)[KEY] == value


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("A = 1\nKEY = old # why\nB = 2\n", "A = 1\nKEY = new # why\nB = 2\n"),
        ("KEY=old   \r\nB=2\r\n", "KEY=new   \r\nB=2\r\n"),
        ("KEY = 1\nKEY = 2\n", "KEY = 1\nKEY = new\n"),
        ("A = 1\nB = 2", "A = 1\nB = 2\nKEY = new\n"),
        ("A=1\r\nB=2", "A=1\r\nB=2\r\nKEY=new\r\n"),
        ("KEY\n", "KEY\nKEY = new\n"),
        ("# KEY = off\n", "# KEY = off\nKEY = new\n"),
        ("KEY = # not set yet\n", "KEY = new # not set yet\n"),
    ],
)
def test_the_style_of_the_file_is_followed(tmp_path, old, new):
    path = put(tmp_path, old.encode())
    env_file.write(path, "KEY", "new")
    assert path.read_bytes().decode() == new


def test_a_new_file_is_made_in_z_waifs_style(tmp_path):
    env_file.write(tmp_path / ".env", KEY, "a b")
    assert (tmp_path / ".env").read_bytes() == f'{KEY} = "a b"{os.linesep}'.encode()


def test_writing_the_same_value_leaves_the_file_alone(tmp_path):
    path = put(tmp_path, b"KEY = x\n")
    before = env_file.stamp(path)
    env_file.write(path, "KEY", "x")
    assert env_file.stamp(path) == before


@pytest.mark.parametrize("value", ["${ZWAIF_PLACE}/models", "${NONE:-there}", "'${A}'", "$A {A} $", "plain", '"a\\nb"'])
def test_what_is_filled_in_is_filled_in_as_z_waif_has_it(tmp_path, monkeypatch, value):
    monkeypatch.setenv("ZWAIF_PLACE", "/home/me")
    path = put(tmp_path, f"A = 1\n{KEY} = {value}\n".encode())
    assert env_file.read(path) == dotenv_values(path)


def test_a_link_stays_one(tmp_path):
    (tmp_path / "real").mkdir()
    path = put(tmp_path / "real", b"A = 1\n")
    link(tmp_path / ".env", path)
    env_file.write(tmp_path / ".env", KEY, "x")
    assert (tmp_path / ".env").is_symlink()
    assert env_file.read(path)[KEY] == "x"


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_permissions_survive(tmp_path):
    path = put(tmp_path, b"A = 1\n")
    path.chmod(0o640)
    env_file.write(path, KEY, "x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_a_new_file_is_its_owner_s_alone(tmp_path):
    env_file.write(tmp_path / ".env", KEY, "x")
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


def test_a_second_hard_link_is_changed_too(tmp_path):
    path = put(tmp_path, b"A = 1\nLONG = " + b"x" * 100 + b"\n")
    other = tmp_path / "other"
    os.link(path, other)
    env_file.write(path, KEY, "long enough to grow the file")
    env_file.write(path, KEY, "x")
    env_file.write(path, "LONG", "")
    assert other.read_bytes() == path.read_bytes() == b"A = 1\nLONG = \n" + KEY.encode() + b" = x\n"
    assert path.stat().st_nlink == 2
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".env", "other"]


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="this system has no such attributes")
def test_attributes_and_acls_stay(tmp_path):
    path = put(tmp_path, b"A = 1\n")
    path.chmod(0o600)
    # One more user may read it: https://man7.org/linux/man-pages/man5/acl.5.html, in the kernel's own form.
    entries = [(0x01, 6, -1), (0x02, 4, 1), (0x04, 0, -1), (0x10, 4, -1), (0x20, 0, -1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    attributes = {"user.note": b"mine"}
    try:
        os.setxattr(path, "user.note", b"mine")
        os.setxattr(path, "system.posix_acl_access", acl)
        attributes["system.posix_acl_access"] = acl
    except OSError as error:
        if not os.listxattr(path):
            pytest.skip(f"this file system keeps none ({error})")
    env_file.write(path, KEY, "x")
    assert {name: os.getxattr(path, name) for name in os.listxattr(path)} == attributes


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
def test_the_owner_stays(tmp_path):
    path = put(tmp_path, b"A = 1\n")
    os.chown(path, 1234, 4321)
    path.chmod(0o640)
    env_file.write(path, KEY, "x")
    status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 4321, 0o640)


@pytest.mark.skipif(os.name != "nt", reason="such attributes are Windows's")
def test_a_hidden_file_stays_hidden(tmp_path):
    path = put(tmp_path, b"A = 1\n")
    subprocess.run(["attrib", "+h", str(path)], check=True)
    env_file.write(path, KEY, "x")
    assert path.stat().st_file_attributes & stat.FILE_ATTRIBUTE_HIDDEN and env_file.read(path)[KEY] == "x"


@pytest.mark.skipif(not hasattr(os, "chown"), reason="POSIX permissions")
def test_what_may_not_be_given_to_a_new_file_stays_as_the_old_one_is_written_over(tmp_path, monkeypatch):
    def refuse(path, *owner):
        raise PermissionError(1, "Operation not permitted")

    path = put(tmp_path, b"A = 1\n")
    number = path.stat().st_ino
    monkeypatch.setattr(shutil, "copymode", refuse)
    env_file.write(path, KEY, "x")
    assert path.stat().st_ino == number and env_file.read(path) == {"A": "1", KEY: "x"}


def test_a_full_disk_leaves_a_file_that_is_written_over_as_it_was(tmp_path, monkeypatch):
    path = put(tmp_path, b"A = 1\n")
    os.link(path, tmp_path / "other")
    write, room = os.write, [3]

    def write_little(descriptor, data):
        if not room[0]:
            room[0] = 1000
            raise OSError(28, "No space left on device")
        written = write(descriptor, bytes(data)[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(os, "write", write_little)
    with pytest.raises(env_file.EnvFileError, match="No space left"):
        env_file.write(path, "A", "2")
    assert path.read_bytes() == b"A = 1\n"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".env", "other"]


def test_a_write_that_was_killed_half_way_is_finished_by_the_next_one(tmp_path):
    path = put(tmp_path, b"A = 2\nB = \n\n")  # new beginning, old end
    (tmp_path / ".env.zwaif-unfinished").write_bytes(b"A = 2\nB = 3\n")
    env_file.write(path, KEY, "x")
    assert env_file.read(path) == {"A": "2", "B": "3", KEY: "x"}
    assert [entry.name for entry in tmp_path.iterdir()] == [".env"]


def test_what_a_hand_has_edited_since_is_not_finished_any_more(tmp_path):
    path = put(tmp_path, b"A = mine\n")
    copy = tmp_path / ".env.zwaif-unfinished"
    copy.write_bytes(b"A = 2\n")
    os.utime(copy, (path.stat().st_mtime - 10,) * 2)
    env_file.write(path, KEY, "x")
    assert env_file.read(path)["A"] == "mine" and [entry.name for entry in tmp_path.iterdir()] == [".env"]


def test_a_read_only_file_is_refused_in_plain_words(tmp_path):
    path = put(tmp_path, b"A = 1\n")
    path.chmod(0o444)
    with pytest.raises(env_file.EnvFileError, match="is read-only"):
        env_file.write(path, KEY, "x")
    path.chmod(0o644)
    assert path.read_bytes() == b"A = 1\n"


def test_a_folder_that_cannot_be_written_is_refused_in_plain_words(tmp_path):
    with pytest.raises(env_file.EnvFileError, match="cannot be written"):
        env_file.write(tmp_path / "missing" / ".env", KEY, "x")


def test_a_failed_write_leaves_no_temporary_file(tmp_path, monkeypatch):
    path = put(tmp_path, b"A = 1\n")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(env_file.EnvFileError, match="No space left"):
        env_file.write(path, KEY, "x")
    assert [entry.name for entry in tmp_path.iterdir()] == [".env"]
    assert path.read_bytes() == b"A = 1\n"


def test_utf16_and_unclosed_quotes_are_refused(tmp_path):
    with pytest.raises(env_file.EnvFileError, match="UTF-16"):
        env_file.write(put(tmp_path, "A = 1\n".encode("utf-16")), KEY, "x")
    with pytest.raises(env_file.EnvFileError, match="quote"):
        env_file.write(put(tmp_path, b"A = 'x\n"), KEY, "it's 'a' \"b\"")


def test_a_folder_in_place_of_the_file(tmp_path):
    (tmp_path / ".env").mkdir()
    with pytest.raises(env_file.EnvFileError, match="cannot be read"):
        env_file.read(tmp_path / ".env")


def test_what_a_killed_process_left_is_removed_once_it_is_old(tmp_path):
    path = put(tmp_path, b"")
    for name, age in ((".envold.zwaif-tmp", 3600), (".envnew.zwaif-tmp", 0)):
        leftover = tmp_path / name
        leftover.write_bytes(b"half")
        when = leftover.stat().st_mtime - age
        os.utime(leftover, (when, when))
    env_file.write(path, KEY, "x")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".env", ".envnew.zwaif-tmp"]
