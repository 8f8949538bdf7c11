"""The settings table and store: what counts, what is said about bad values, and following Z-Waif's live names."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import ModuleType

import pytest

from zwaif_fallback.settings import SETTINGS, as_markdown
from zwaif_hooks.host import env_file
from zwaif_hooks.host.settings_store import BadSetting, NotSaved, Setting, SettingsStore

TABLE = (
    Setting("SWITCH", True, "On or off.", live_name="switch_live"),
    Setting("SECONDS", 2.0, "Seconds.", minimum=0.5, maximum=60),
    Setting("COUNT", 3, "How many.", minimum=0),
    Setting("NAME", "default name", "A text."),
    Setting("MODE", "auto", "A choice.", choices=("auto", "never")),
)


class Place:
    """A .env, an environment and the lines that were said."""

    def __init__(self, folder: Path, text: str | None = None, **environ: str) -> None:
        self.path = folder / ".env"
        self.environ = environ
        self.said: list[str] = []
        if text is not None:
            self.path.write_text(text, encoding="utf-8")
        self.store = SettingsStore(TABLE, self.path, self.environ, self.said.append)

    def edit(self, text: str) -> None:
        self.path.write_text(text, encoding="utf-8")
        os.utime(self.path, ns=(0, self.path.stat().st_mtime_ns + 1))
        self.store.reload()

    def saved(self) -> dict[str, str]:
        return env_file.read(self.path)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, "# mine\nSECONDS = 5 # five\n")


def test_exported_then_file_then_default(tmp_path):
    store = Place(tmp_path, "NAME = file\nCOUNT = 7\nMODE =\n", NAME="exported").store
    assert [store.get(n) for n in ("NAME", "COUNT", "SECONDS", "MODE")] == ["exported", 7, 2.0, "auto"]


@pytest.mark.parametrize("text", ["ON", "on", "True", "1", "yes", " On "])
def test_words_for_on(text):
    assert TABLE[0].parse(text) is True


@pytest.mark.parametrize("text", ["OFF", "off", "False", "0", "NO"])
def test_words_for_off(text):
    assert TABLE[0].parse(text) is False


def test_values_have_the_type_of_the_default(tmp_path):
    store = Place(tmp_path, "SECONDS = 5\nCOUNT = 4\nMODE = NEVER\n").store
    assert (store.get("SECONDS"), store.get("COUNT"), store.get("MODE")) == (5.0, 4, "never")
    assert isinstance(store.get("SECONDS"), float)
    assert isinstance(store.get("COUNT"), int)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("SWITCH", "maybe", "ON or OFF"),
        ("SECONDS", "fast", "a number from 0.5 to 60"),
        ("SECONDS", "nan", "a number from 0.5 to 60"),
        ("SECONDS", "0.1", "a number from 0.5 to 60"),
        ("COUNT", "2.5", "a whole number, 0 or more"),
        ("COUNT", "-1", "a whole number, 0 or more"),
        ("MODE", "sometimes", "one of: auto, never"),
    ],
)
def test_a_bad_text_is_named_once_and_the_default_counts(tmp_path, name, text, expected):
    place = Place(tmp_path, f"{name} = {text}\n")
    assert place.store.get(name) == place.store.setting(name).default
    place.edit(f"# touched\n{name} = {text}\n")
    assert len(place.said) == 1
    assert f"{name} is '{text}', but it must be {expected}." in place.said[0]
    assert place.store.problems() == place.said


def test_a_mended_value_is_no_problem_any_more(tmp_path):
    place = Place(tmp_path, "COUNT = x\n")
    place.edit("COUNT = 5\n")
    assert place.store.get("COUNT") == 5
    assert place.store.problems() == []


def test_set_acts_everywhere(place):
    module = ModuleType("settings")
    place.store.bind(module)
    seen: list[tuple[str, object]] = []
    place.store.subscribe(lambda name, value: seen.append((name, value)))
    place.store.set("SWITCH", "off")
    assert place.store.get("SWITCH") is False
    assert place.environ["SWITCH"] == "OFF"
    assert (module.SWITCH, module.switch_live) == (False, False)
    assert seen == [("SWITCH", False)]
    assert place.path.read_text() == "# mine\nSECONDS = 5 # five\nSWITCH = OFF\n"


def test_a_changed_value_survives_a_restart(place):
    place.store.set("NAME", "two words # and 'more'")
    assert SettingsStore(TABLE, place.path, {}).get("NAME") == "two words # and 'more'"


@pytest.mark.parametrize(
    ("name", "value"), [("SWITCH", "maybe"), ("COUNT", 1.5), ("NAME", "two\nlines"), ("MODE", "x")]
)
def test_a_bad_value_changes_nothing(place, name, value):
    before = place.path.read_bytes(), place.store.get(name), dict(place.environ)
    with pytest.raises(BadSetting, match=name):
        place.store.set(name, value)
    assert (place.path.read_bytes(), place.store.get(name), dict(place.environ)) == before


def test_an_unknown_name_offers_the_nearest(place):
    with pytest.raises(BadSetting, match="Did you mean SECONDS"):
        place.store.set("second", 1)


def test_a_value_that_cannot_be_saved_acts_and_says_so(place):
    place.path.chmod(0o444)
    with pytest.raises(NotSaved, match=r"COUNT is now 9, but only until Z-Waif ends\. .*read-only"):
        place.store.set("COUNT", 9)
    assert place.store.get("COUNT") == 9
    place.path.chmod(0o644)
    place.store.set("COUNT", 10)
    assert place.saved()["COUNT"] == "10"


def test_an_exported_variable_that_will_win_again_is_said(tmp_path):
    place = Place(tmp_path, "COUNT = 4\n", COUNT="7")
    with pytest.raises(NotSaved, match="environment variable"):
        place.store.set("COUNT", 9)
    assert place.store.get("COUNT") == 9
    assert place.saved()["COUNT"] == "9"


def test_what_load_dotenv_put_into_the_environment_is_not_exported(tmp_path):
    place = Place(tmp_path, "COUNT = 4\n", COUNT="4")
    place.store.set("COUNT", 9)
    assert place.store.get("COUNT") == 9


def test_without_a_file_changes_stay_in_memory(tmp_path):
    store = SettingsStore(TABLE, None, {})
    store.set("COUNT", 9)
    assert store.get("COUNT") == 9


def test_an_edit_by_hand_is_followed(tmp_path):
    place = Place(tmp_path, "COUNT = 4\n", COUNT="4")
    seen: list[tuple[str, object]] = []
    place.store.subscribe(lambda name, value: seen.append((name, value)))
    place.edit("COUNT = 5\nNAME = new\n")
    assert (place.store.get("COUNT"), place.store.get("NAME")) == (5, "new")
    assert seen == [("COUNT", 5), ("NAME", "new")]
    assert place.environ == {"COUNT": "5", "NAME": "new"}
    place.edit("")
    assert (place.store.get("COUNT"), place.environ) == (3, {})


def test_an_edit_by_hand_does_not_beat_an_exported_variable(tmp_path):
    place = Place(tmp_path, "COUNT = 4\n", COUNT="7")
    place.edit("COUNT = 5\n")
    assert place.store.get("COUNT") == 7


def test_reload_reads_nothing_when_nothing_changed(place, monkeypatch):
    monkeypatch.setattr(env_file, "read", lambda _: pytest.fail("read although nothing changed"))
    place.store.reload()


def test_an_unreadable_file_is_a_line_not_a_crash(tmp_path):
    (tmp_path / ".env").mkdir()
    said: list[str] = []
    store = SettingsStore(TABLE, tmp_path / ".env", {}, said.append)
    assert store.get("COUNT") == 3
    assert "cannot be read" in said[0]
    assert store.problems() == said


def test_names_the_host_has_keep_their_value_until_someone_changes_them(place):
    """As in v1.14-R4, whose own constants have other meanings and whose page toggles the live flag."""
    module = ModuleType("settings")
    module.NAME = ""  # type: ignore[attr-defined]
    module.switch_live = False  # type: ignore[attr-defined]
    place.store.bind(module)
    assert module.NAME == ""
    assert place.store.get("NAME") == "default name"
    assert module.switch_live is True, "the live flag shows what counts"
    module.NAME = "from the page"  # type: ignore[attr-defined]
    assert place.store.get("NAME") == "from the page"


def test_a_toggled_live_flag_counts_at_once(place):
    module = ModuleType("settings")
    place.store.bind(module)
    seen: list[tuple[str, object]] = []
    place.store.subscribe(lambda name, value: seen.append((name, value)))
    module.switch_live = False  # type: ignore[attr-defined]
    assert place.store.get("SWITCH") is False
    assert module.SWITCH is False
    module.switch_live = not module.switch_live  # type: ignore[attr-defined]
    assert place.store.get("SWITCH") is True
    assert seen == [("SWITCH", False), ("SWITCH", True)]


def test_nonsense_in_a_live_name_is_said_and_ignored(place):
    module = ModuleType("settings")
    place.store.bind(module)
    module.COUNT = object()  # type: ignore[attr-defined]
    assert place.store.get("COUNT") == 3
    assert "COUNT" in place.said[0]
    assert module.COUNT == 3


def test_settings_added_later_are_published_and_the_first_of_a_name_wins(place):
    module = ModuleType("settings")
    place.store.bind(module)
    place.store.extend([Setting("EXTRA", 1, "More."), Setting("COUNT", 99, "Another.")])
    assert (module.EXTRA, place.store.get("COUNT")) == (1, 3)


def test_one_broken_subscriber_stops_nobody(place, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    seen: list[object] = []

    def broken(name: str, value: object) -> None:
        raise RuntimeError("boom")

    place.store.subscribe(broken)
    place.store.subscribe(lambda name, value: seen.append(value))
    place.store.set("COUNT", 8)
    assert seen == [8]
    assert "could not follow the change of COUNT: boom" in capsys.readouterr().out


def test_many_threads_set_and_get(place):
    def work(number: int) -> None:
        for turn in range(10):
            place.store.set("COUNT", number * 100 + turn)
            assert place.store.get("COUNT") >= 0

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert place.saved()["COUNT"] == str(place.store.get("COUNT"))
    assert place.path.read_text().startswith("# mine\nSECONDS = 5 # five\nCOUNT = ")


def test_the_table_is_sound():
    names = [setting.name for setting in SETTINGS]
    assert len(set(names)) == len(names)
    for setting in SETTINGS:
        assert setting.parse(setting.text(setting.default)) == setting.default
        assert setting.help.endswith(".")
        assert setting.label
    assert "API_FALLBACK_API_KEY" not in names, "a key is never written to a file"


def test_old_values_of_v1_14_r4_do_no_harm(tmp_path):
    path = tmp_path / ".env"
    path.write_text("API_FALLBACK_ENABLED=true\nAPI_FALLBACK_MODEL=\nAPI_FALLBACK_HOST=127.0.0.1:5000\n")
    store = SettingsStore(SETTINGS, path, {})
    assert store.get("API_FALLBACK_ENABLED") is True
    assert store.get("API_FALLBACK_MODEL") == "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
    assert store.problems() == []


def test_the_manual_is_up_to_date():
    """To renew it: write the text of ``zwaif_fallback.settings.as_markdown()`` into docs/settings.md."""
    manual = Path(__file__).parents[2] / "docs" / "settings.md"
    assert manual.read_text(encoding="utf-8") == as_markdown()
