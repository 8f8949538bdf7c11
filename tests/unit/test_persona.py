"""The persona from live modules and files, as Z-Waif's releases hold them, and as a broken one might."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from pathlib import Path
from types import ModuleType

import pytest

from zwaif_hooks import log
from zwaif_hooks.host import card_file
from zwaif_hooks.host.persona import read_persona, recent_replies
from zwaif_hooks.messages import Persona

CARD = "You are Mika, who grows tomatoes on a boat. 🍅"


def module(name: str, **values: object) -> ModuleType:
    made = ModuleType(name)
    made.__dict__.update(values)
    return made


def modules(**by_name: dict[str, object]) -> dict[str, ModuleType]:
    """``utils__settings={…}`` becomes the module ``utils.settings``."""
    return {key.replace("__", "."): module(key.replace("__", "."), **values) for key, values in by_name.items()}


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(log, "_said", set())
    for name in ("CHAR_NAME", "YOUR_NAME", "TIME_IN_ENCODING"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    profiles = tmp_path / "Configurables" / "TaskProfiles"
    profiles.mkdir(parents=True)
    card = "Character Card: |-\n    " + CARD + "\n"
    (tmp_path / "Configurables" / "CharacterCard.yaml").write_text(card, encoding="utf-8")
    (profiles / "Cooking.yaml").write_text("Task: |-\n    Cooking\nDescription: |-\n    They cook soup.\n")
    return tmp_path


def write_relationships(tree: Path, content: object) -> Path:
    path = tree / "Configurables" / "user_relationships.json"
    path.write_text(json.dumps(content))
    return path


def test_everything_from_a_running_host(tree, monkeypatch):
    monkeypatch.setenv("TIME_IN_ENCODING", "ON")
    write_relationships(tree, {"discord_discord_user": {"relationship_level": "close_friend"}})
    live = modules(
        API__character_card={"character_card": "The live card."},
        API__api_controller={"YOUR_NAME": "Ann", "send_via_oogabooga": print},
        utils__settings={"char_name": "Mika", "cur_task_char": "Mika-Cooking"},
        utils__user_relationships={},
    )
    persona = read_persona(live, tree, "[Platform: Discord] [Platform: Discord Chat] hello")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", persona.local_time)
    assert persona == Persona(
        "Mika", "Ann", "The live card.", "They cook soup.", "close_friend", "Discord Chat", persona.local_time
    )


@pytest.mark.parametrize("value", ["No character card loaded!", "", None, ["no text"]])
def test_a_card_that_is_not_loaded_comes_from_its_file(tree, value):
    live = modules(API__character_card={"character_card": value})
    assert read_persona(live, tree).character_card == CARD


def test_a_card_in_the_computers_own_encoding(tree, monkeypatch):
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "cp1252")
    text = "Character Card: |-\n    Zoë says “hi”\n"
    (tree / "Configurables" / "CharacterCard.yaml").write_bytes(text.encode("cp1252"))
    assert read_persona({}, tree).character_card == "Zoë says “hi”"


@pytest.mark.parametrize(
    "content", [b"Character Card: |-\nbad indent\n\t: x", b"\xff\xfe\x00", b"- a list", b"", b"\x00", b"[" * 5000]
)
def test_an_unreadable_card_is_one_line_once(tree, content, monkeypatch, capsys):
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "utf-8")
    (tree / "Configurables" / "CharacterCard.yaml").write_bytes(content)
    assert read_persona({}, tree).character_card == ""
    assert read_persona({}, tree).character_card == ""
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "CharacterCard.yaml" in out


def test_a_tree_without_a_card_says_nothing(tmp_path, capsys):
    """As before v1.9."""
    assert read_persona({}, tmp_path) == Persona()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("current", ["None", "", "Mika-Unknown", "Mika-../CharacterCard", None])
def test_no_task(tree, current):
    live = modules(utils__settings={"char_name": "Mika", "cur_task_char": current})
    assert read_persona(live, tree).task == ""


def test_names_from_the_environment(tree, monkeypatch):
    monkeypatch.setenv("CHAR_NAME", "Env Mika")
    monkeypatch.setenv("YOUR_NAME", "Env Ann")
    persona = read_persona({}, tree)
    assert (persona.char_name, persona.user_name) == ("Env Mika", "Env Ann")


def test_time_is_not_shared_unless_asked(tree, monkeypatch):
    monkeypatch.setenv("TIME_IN_ENCODING", "OFF")
    assert read_persona({}, tree).local_time == ""


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[Platform: Twitch Chat] hi", "twitch_twitch_user"),
        ("[Platform: Web Interface - Personal Chat] hi", "webui_webui_user"),
        ("[Platform: Command Line - Personal Chat] hi", "cmd_cmd_user"),
        ("[Platform: Voice Chat - Personal Conversation] hi", "voice_voice_user"),
        ("[Platform: Minecraft Game Chat] hi", "minecraft_minecraft_user"),
        ("[Platform: Hangout Mode - Casual Conversation] hi", "hangout_hangout_user"),
        ("[Platform: Alarm/Reminder System] hi", "personal_default"),
        ("hi", "personal_default"),
    ],
)
def test_the_relationship_of_each_platform(tree, text, key):
    write_relationships(tree, {key: {"relationship_level": "vip"}, "other": {"relationship_level": "stranger"}})
    assert read_persona(modules(utils__user_relationships={}), tree, text).relationship == "vip"


def test_no_relationship_where_the_release_has_none_or_the_user_is_new(tree):
    path = write_relationships(tree, {"personal_default": {"relationship_level": "vip"}})
    before = path.read_bytes()
    assert read_persona({}, tree).relationship == ""
    assert read_persona(modules(utils__user_relationships={}), tree, "[Platform: Discord] hi").relationship == ""
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["{", "[1]", '{"personal_default": 3}', '{"personal_default": {}}', "\x00"])
def test_a_broken_relationship_file_is_left_out(tree, content):
    (tree / "Configurables" / "user_relationships.json").write_text(content)
    assert read_persona(modules(utils__user_relationships={}), tree).relationship == ""


def test_no_function_of_the_host_is_called(tree):
    def called(*_: object) -> None:
        raise AssertionError("called")

    live = modules(
        utils__user_relationships={"get_relationship_data": called, "load_relationships": called},
        API__character_card={"load_char_card": called, "get_character_name": called},
        API__api_controller={"send_via_oogabooga": called, "ooga_history": []},
    )
    read_persona(live, tree, "[Platform: Discord] hi")
    recent_replies(live)


class Hostile(ModuleType):
    """A module that is not what it seems, as a half-finished import or another tool's proxy may be."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(f"no {name} today")


def test_a_broken_host_gives_empty_fields_and_a_line(tree, capsys):
    names = ("utils.settings", "API.character_card", "API.api_controller", "utils.user_relationships")
    broken = {name: Hostile(name) for name in names}
    assert read_persona(broken, tree) == Persona()
    assert recent_replies(broken) == ()
    assert "left out: no char_name today" in capsys.readouterr().out


def test_recent_replies_of_every_entry_shape():
    history = [["u", "two"], ["u", "four", [], "2025"], ["u", "five", "five", [], "2025"], ["u"], None, ["u", None]]
    controller = {"send_via_oogabooga": print, "ooga_history": history, "stored_received_message": " last "}
    assert recent_replies(modules(API__api_controller=controller)) == ("two", "four", "five", " last ")


def test_recent_replies_are_the_last_twenty_without_the_sentinel():
    history = [["u", str(number)] for number in range(30)]
    controller = {"send_via_oogabooga": print, "ooga_history": history, "stored_received_message": "None!"}
    assert recent_replies(modules(API__Oogabooga_Api_Support=controller)) == tuple(str(n) for n in range(10, 30))


def test_the_old_controller_file_is_not_taken_while_the_new_one_is_in_use():
    live = modules(
        API__Oogabooga_Api_Support={"send_via_oogabooga": print, "ooga_history": [["u", "old"]]},
        API__api_controller={"send_via_oogabooga": print, "ooga_history": [["u", "new"]]},
    )
    assert recent_replies(live) == ("new",)
    del live["API.api_controller"].__dict__["send_via_oogabooga"]
    assert recent_replies(live) == ("old",)


V2 = {"spec": "chara_card_v2", "data": {"name": "Mika", "description": "{{char}} keeps bees. 🐝", "scenario": "At sea.",
      "first_mes": "Welcome aboard!", "mes_example": "<START>\n{{user}}: Hi!\n{{char}}: Ho!"}}  # fmt: skip
TOLD = (
    "{{char}} keeps bees. 🐝\n\nScenario: At sea.\n\n<START>\n{{char}}: Welcome aboard!\n\n"
    "<START>\n{{user}}: Hi!\n{{char}}: Ho!"
)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def picture(*texts: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(texts) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def in_a_picture(card: object, keyword: bytes = b"chara") -> bytes:
    return chunk(b"tEXt", keyword + b"\0" + base64.b64encode(json.dumps(card).encode()))


def packed(card: object) -> bytes:
    return zlib.compress(base64.b64encode(json.dumps(card).encode()))


FILES = [
    ("Mika.json", json.dumps(V2).encode()),
    ("CharacterCard.json", b"\xef\xbb\xbf" + json.dumps(V2["data"]).encode()),
    ("Mika.png", picture(in_a_picture(V2))),
    ("CharacterCard.png", picture(in_a_picture({"description": "Old."}), in_a_picture(V2, b"ccv3"))),
    ("Mika.png", picture(chunk(b"zTXt", b"chara\0\0" + packed(V2)))),
    ("Characters/Mika.png", picture(chunk(b"iTXt", b"chara\0\1\0en\0\0" + packed(V2)))),
    ("../characters/Mika.yaml", (
        "name: Mika\ncontext: '{{char}} keeps bees. 🐝'\nscenario: At sea.\ngreeting: Welcome aboard!\n"
        "example_dialogue: |-\n  {{user}}: Hi!\n  {{char}}: Ho!\n"
    ).encode()),
    ("../../text-generation-webui-main/user_data/characters/Mika.yaml", (
        "name: Mika\ncontext: |-\n  {{char}} keeps bees. 🐝\n\n  Scenario: At sea.\ngreeting: Welcome aboard!\n"
        "example_dialogue: |-\n  <START>\n  {{user}}: Hi!\n  {{char}}: Ho!\n"
    ).encode()),
]  # fmt: skip


@pytest.fixture
def stock(tmp_path: Path) -> Path:
    """A tree inside a folder of programs, with the card that Z-Waif comes with."""
    tree = tmp_path / "Z-Waif"
    (tree / "Configurables").mkdir(parents=True)
    card = "Character Card: |-\n    --- Character Info ---\n    The following is a conversation with an AI Waifu.\n"
    (tree / "Configurables" / "CharacterCard.yaml").write_text(card, encoding="utf-8")
    return tree


def put(tree: Path, name: str, content: bytes) -> None:
    path = tree / "Configurables" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.mark.parametrize(("name", "content"), FILES)
def test_a_card_of_another_program_in_the_place_of_z_waifs_own(stock, name, content, monkeypatch):
    monkeypatch.setenv("CHAR_NAME", "Mika")
    put(stock, name, content)
    assert read_persona({}, stock).character_card == TOLD


def test_what_the_user_wrote_for_z_waif_counts_before_any_other_card(tree, monkeypatch):
    monkeypatch.setenv("CHAR_NAME", "Mika")
    put(tree, "Mika.json", dict(FILES)["Mika.json"])
    assert read_persona({}, tree).character_card == CARD


def test_with_no_other_card_the_stock_one_stays(stock, capsys):
    assert "AI Waifu" in read_persona({}, stock).character_card
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["../Mika", "..", "", "a/b", "Mika\0"])
def test_a_name_is_no_path(stock, name, monkeypatch):
    live = modules(utils__settings={"char_name": name})
    put(stock.parent, "../Mika.json", dict(FILES)["Mika.json"])
    assert "AI Waifu" in read_persona(live, stock).character_card


HOSTILE = {
    "Mika.png": [
        b"", b"GIF89a", picture(in_a_picture(V2))[:40], picture(), picture(chunk(b"tEXt", b"chara\0!!!")),
        picture(struct.pack(">I", 2**31) + b"tEXt" + b"chara\0"), picture(chunk(b"tEXt", b"chara\0" + b"[" * 99_999)),
        picture(chunk(b"zTXt", b"chara\0\0" + zlib.compress(b"0" * 50_000_000))),
        picture(chunk(b"zTXt", b"chara\0\0xx")),
        picture(in_a_picture([1, 2])), picture(in_a_picture({"description": 5, "data": []})),
        b"\x89PNG\r\n\x1a\n" + chunk(b"tEXt", b"note\0") * 9999,
    ],
    "Mika.json": [b"", b"{", b"[]", b'{"description": ""}', b"[" * 99_999, b'{"a":' * 9_999, b"\xff\xfe", b"null"],
    "Mika.yml": [b"", b"a", b"context: ''", b"\t: [", b"a: &a [*a, *a]"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "content"), [(name, content) for name in HOSTILE for content in HOSTILE[name]])
def test_a_damaged_or_hostile_card_is_one_line_and_no_card(stock, name, content, monkeypatch, capsys):
    monkeypatch.setenv("CHAR_NAME", "Mika")
    put(stock, name, content)
    for _ in range(2):
        assert "AI Waifu" in read_persona({}, stock).character_card
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and name in out and "Traceback" not in out and "null" not in out


def test_a_very_long_card_is_taken_to_its_limit(stock, monkeypatch):
    monkeypatch.setenv("CHAR_NAME", "Mika")
    put(stock, "Mika.json", json.dumps({"description": "word " * 200_000}).encode())
    assert len(read_persona({}, stock).character_card) <= card_file.MOST_TEXT
