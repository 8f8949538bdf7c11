"""Settings that plugins register: who may declare what, what is said about mistakes, and who can read a secret."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from zwaif_fallback.settings import SETTINGS
from zwaif_hooks import hookimpl, log
from zwaif_hooks.host import setting_names
from zwaif_hooks.host.setting import BadSetting, NotSaved, SecretSetting, Setting
from zwaif_hooks.host.settings_store import SettingsStore
from zwaif_hooks.masking import MASK, hide, masked
from zwaif_hooks.plugins import PluginManager

SECRET = "wx-7f3e?9 ä/secret"
KEY = Setting("WEATHER_API_KEY", "", "The key of your account.", secret=True)
CITY = Setting("WEATHER_CITY", "Oslo", "The city.")
UNITS = Setting("WEATHER_UNITS", "metric", "Units.", choices=("metric", "imperial"))
DAYS = Setting("WEATHER_DAYS", 3, "Days ahead.", minimum=1, maximum=14)


class Weather:
    """Stands for a plugin's module."""

    def __init__(self, *settings: object) -> None:
        self._settings = settings

    @hookimpl
    def register_settings(self) -> Iterable[object]:
        yield from self._settings


class Place:
    """A store with our own settings, a manager, and what was said."""

    def __init__(self, folder: Path, text: str = "", **environ: str) -> None:
        self.said: list[str] = []
        self.env = folder / ".env"
        self.env.write_text(text, encoding="utf-8")
        self.store = SettingsStore(SETTINGS, self.env, environ, self.said.append)
        self.manager = PluginManager(lambda line, error: self.said.append(line))

    def add(self, name: str, *settings: object) -> Place:
        self.manager.register(Weather(*settings), name)
        self.manager.register_settings(self.store)
        return self


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, f"WEATHER_DAYS = 5\nWEATHER_API_KEY = '{SECRET}'\n").add("weather", KEY, CITY, UNITS, DAYS)


def test_settings_of_a_plugin_are_read_validated_and_saved_as_ours(place: Place) -> None:
    assert [place.store.get(one.name) for one in (CITY, UNITS, DAYS)] == ["Oslo", "metric", 5]
    assert {one.plugin for one in place.store.table if one.name.startswith("WEATHER_")} == {"weather"}
    place.store.set("WEATHER_UNITS", "Imperial")
    assert "WEATHER_UNITS = imperial" in place.env.read_text(encoding="utf-8")
    with pytest.raises(BadSetting, match=r"Plugin 'weather': WEATHER_DAYS is '15', but .* from 1 to 14"):
        place.store.set("WEATHER_DAYS", 15)
    assert place.said == []


def test_a_bad_value_is_told_with_the_plugins_name_and_the_default_counts(tmp_path: Path) -> None:
    place = Place(tmp_path, "WEATHER_UNITS = kelvin\n").add("weather", UNITS)
    assert place.store.get("WEATHER_UNITS") == "metric"
    assert place.said == [
        "Plugin 'weather': WEATHER_UNITS is 'kelvin', but it must be one of: metric, imperial. Using metric instead."
    ]


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        (
            Setting("weather_city", "", "x"),
            "upper-case letters, digits and single underscores, for example WEATHER_CITY",
        ),
        (Setting("WEATHER CITY", "", "x"), "upper-case"),
        (Setting("WEATHER_CITY=1\nCHAR_NAME", "", "x"), "upper-case"),
        (Setting("WEATHER_" + "A" * 60, "", "x"), "upper-case"),
        (Setting("CITY_NAME", "", "x"), "must begin with WEATHER_"),
        (Setting("CHAR_NAME", "", "x"), "a key of Z-Waif's own"),
        (Setting("API_FALLBACK_HOST", "", "x"), "reserved"),
        (Setting("API_FALLBACK_NEW", "", "x"), "reserved"),
        (Setting("FALLBACK_MODEL_DIR", "", "x"), "reserved"),
        (Setting("ZWAIF_PLUGINS", "", "x"), "reserved"),
        (Setting("GRADIO_SERVER_NAME", "", "x"), "reserved"),
        (Setting("LD_PRELOAD", "", "x"), "reserved"),
        (Setting("WEATHER_LIST", ["x"], "x"), "its default is a list"),  # type: ignore[arg-type]
        (Setting("WEATHER_DAYS", 20, "x", maximum=14), "breaks its own rules (WEATHER_DAYS is '20'"),
        (Setting("WEATHER_UNITS", "x", "x", choices=("a", "b")), "breaks its own rules"),
        (Setting("WEATHER_TEXT", "x", "x", pattern="("), "breaks its own rules"),
        (Setting("WEATHER_HELP", "x", " "), "no help"),
        (Setting("WEATHER_HELP", "x", None), "no help"),  # type: ignore[arg-type]
        (Setting("WEATHER_LIVE", True, "x", live_name="api_fallback_enabled"), "live_name"),
        (Setting("WEATHER_KEY", "sk-1", "x", secret=True), "its default is empty"),
        (Setting("WEATHER_KEY", "", "x", secret=True, editable=True), "never editable"),
    ],
    ids=lambda value: value.name[:20].strip() if isinstance(value, Setting) else "",
)
def test_a_declaration_that_is_not_allowed_is_left_out_and_told(tmp_path: Path, setting: Setting, why: str) -> None:
    place = Place(tmp_path).add("weather", setting, CITY)
    (line,) = place.said
    assert line.startswith(f"Plugin 'weather': its setting {setting.name} is left out: ") and why in line
    assert place.store.left_out() == place.said
    assert place.store.get("WEATHER_CITY") == "Oslo", "the others are kept"
    assert [one for one in place.store.table if one.name == setting.name and one.plugin] == []


def test_a_name_that_is_declared_twice_keeps_its_first_setting(tmp_path: Path) -> None:
    place = Place(tmp_path).add("weather", CITY, Setting("WEATHER_CITY", "Rome", "x"))
    why = "Plugin 'weather': its setting WEATHER_CITY is left out: it declares that name twice"
    assert place.said == place.store.left_out() == [why]
    assert place.store.get("WEATHER_CITY") == "Oslo"
    place.store.register("weather", [CITY])
    assert place.said == [why], "a plugin may be asked again"


@pytest.mark.parametrize("wrong", ["WEATHER_NAME", {"WEATHER_NAME": 1}, None, Setting])
def test_what_is_no_setting_is_left_out_alone(tmp_path: Path, wrong: object) -> None:
    place = Place(tmp_path).add("weather", CITY, wrong, DAYS)
    why = f"expected a Setting, got {type(wrong).__name__}"
    assert place.said == place.store.left_out() == [f"Plugin 'weather': its setting number 2 is left out: {why}"]
    assert (place.store.get("WEATHER_CITY"), place.store.get("WEATHER_DAYS")) == ("Oslo", 3)


def test_test_and_doctor_count_the_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zwaif_fallback.cli import selftest

    monkeypatch.setenv("ZWAIF_ALLOW_PLUGINS", "weather")
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "weather.py").write_text(
        "import zwaif_hooks as zw\n\n\n@zw.hookimpl\ndef register_settings():\n"
        "    return zw.Setting('WEATHER_CITY', 'Oslo', 'The city.')\n",
        encoding="utf-8",
    )
    told = selftest.check_settings(selftest.Place(tmp_path, None, str(plugins)))
    assert told.startswith(f"all {len(SETTINGS) + 1} settings are usable; ")


@pytest.mark.parametrize("result", ["WEATHER_CITY", 3])
def test_a_wrong_result_is_told_once_and_harms_nobody(tmp_path: Path, result: Any) -> None:
    place = Place(tmp_path)
    plugin = ModuleType("plugin")
    plugin.register_settings = hookimpl(lambda: result)  # type: ignore[attr-defined]
    place.manager.register(plugin, "weather")
    place.manager.register_settings(place.store)
    (line,) = place.said
    assert line.startswith("Plugin 'weather' failed in register_settings")


def test_of_two_plugins_the_first_keeps_a_name(tmp_path: Path) -> None:
    wide = Setting("WEATHER_PRO_CITY", "Rome", "Of the plugin weather.")
    place = Place(tmp_path).add("weather", wide)
    place.add("weather-pro", Setting("WEATHER_PRO_CITY", "Bonn", "Of the other."))
    assert place.store.get("WEATHER_PRO_CITY") == "Rome"
    assert place.said == [
        "Plugin 'weather-pro': its setting WEATHER_PRO_CITY is left out: plugin 'weather' has one of that name"
    ]


def test_asking_again_adds_and_says_nothing(place: Place) -> None:
    before = place.store.table
    place.manager.register_settings(place.store)
    assert (place.store.table, place.said) == (before, [])


@pytest.mark.parametrize(
    ("plugin", "begins"),
    [
        ("weather", ("WEATHER_",)),
        ("zwaif-weather", ("ZWAIF_WEATHER_", "WEATHER_")),
        ("my.weather 2", ("MY_WEATHER_2_",)),
    ],
)
def test_names_begin_with_the_plugins_name(plugin: str, begins: tuple[str, ...]) -> None:
    assert setting_names.prefixes(plugin) == begins


def test_the_old_way_cannot_take_a_key_of_zwaifs_either(tmp_path: Path) -> None:
    place = Place(tmp_path, "CHAR_NAME = Waif\n")
    place.store.extend((Setting("CHAR_NAME", "", "x"), Setting("JINGLE_VOLUME", 5, "x")))
    assert place.said == ["The setting CHAR_NAME is left out: it is a key of Z-Waif's own"]
    assert place.store.get("JINGLE_VOLUME") == 5
    with pytest.raises(BadSetting):
        place.store.set("CHAR_NAME", "Eve")


def test_no_setting_of_ours_is_a_key_that_only_zwaif_reads() -> None:
    assert not {setting.name for setting in SETTINGS} & setting_names.ZWAIF_KEYS


def test_mistyped_keys_are_told_with_the_plugins_name(tmp_path: Path) -> None:
    keys = ("WEATHER_CTIY", "WEATHER_ZZZZZZ", "weather_days", "WETHER_UNITS", "CHAR_NAME", "MY_OWN", "API_FALLBACK_X")
    place = Place(tmp_path, "".join(f"{key} = 1\n" for key in keys)).add("weather", KEY, CITY, UNITS, DAYS)
    assert place.store.mistyped() == [
        "WEATHER_CTIY is not a setting of plugin 'weather'; did you mean WEATHER_CITY?",
        "WEATHER_ZZZZZZ is not a setting of plugin 'weather'",
        "weather_days is not a setting of plugin 'weather'; did you mean WEATHER_DAYS?",
        "WETHER_UNITS is not a setting of plugin 'weather'; did you mean WEATHER_UNITS?",
    ]


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_only_the_object_that_was_registered_opens_a_secret(place: Place) -> None:
    assert place.store.secret(KEY) == SECRET
    twin = Setting("WEATHER_API_KEY", "", "The key of your account.", secret=True)
    for other in (twin, place.store.setting("WEATHER_API_KEY"), *place.store.table):
        with pytest.raises(SecretSetting):
            place.store.secret(other)
    with pytest.raises(SecretSetting, match="WEATHER_API_KEY is a secret"):
        place.store.get("WEATHER_API_KEY")
    assert place.store.shown("WEATHER_API_KEY") == place.store.text_of("WEATHER_API_KEY") == MASK
    assert SECRET not in repr(vars(place.store.setting("WEATHER_API_KEY")))


def test_a_secret_that_is_not_set_shows_as_empty(tmp_path: Path) -> None:
    place = Place(tmp_path).add("weather", KEY)
    assert (place.store.secret(KEY), place.store.shown("WEATHER_API_KEY")) == ("", "")


def test_a_secret_is_neither_published_nor_told_to_subscribers(place: Place) -> None:
    module, told = ModuleType("utils.settings"), []
    place.store.bind(module)
    place.store.subscribe(lambda name, value: told.append((name, value)))
    place.store.set("WEATHER_API_KEY", "another-secret")
    assert place.store.secret(KEY) == "another-secret"
    assert told == [("WEATHER_API_KEY", MASK)]
    assert module.WEATHER_CITY == "Oslo" and not hasattr(module, "WEATHER_API_KEY")
    place.env.write_text("WEATHER_API_KEY = third-secret\n", encoding="utf-8")
    place.store.reload()
    assert place.store.secret(KEY) == "third-secret"
    assert masked("another-secret third-secret") == "*** ***"


def test_no_error_line_quotes_a_secret(tmp_path: Path) -> None:
    strict = Setting("WEATHER_API_KEY", "", "x", secret=True, pattern="wx-[0-9a-f]{8}", looks="wx- and eight digits")
    place = Place(tmp_path, "WEATHER_API_KEY = not-a-good-one\n", WEATHER_API_KEY="wx-77777777").add("weather", strict)
    with pytest.raises(BadSetting) as bad:
        place.store.set("WEATHER_API_KEY", "not-a-good-one")
    assert "not-a-good-one" not in str(bad.value) and "wx- and eight digits" in str(bad.value)
    with pytest.raises(NotSaved) as exported:
        place.store.set("WEATHER_API_KEY", "wx-12345678")
    assert "12345678" not in str(exported.value) and MASK in str(exported.value)


@pytest.mark.parametrize(
    "text", [SECRET, "https://api/?key=wx-7f3e%3F9%20%C3%A4%2Fsecret", "key=wx-7f3e%3F9+%C3%A4%2Fsecret", f"{[SECRET]}"]
)
def test_a_secret_is_masked_in_every_spelling(text: str) -> None:
    hide(SECRET)
    assert MASK in masked(text) and "wx-7f3e" not in masked(text)


def test_a_short_value_is_not_searched_for_in_other_words() -> None:
    hide("on")
    assert masked("once upon") == "once upon"


def test_console_listeners_log_file_and_loggers_are_masked(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: Any
) -> None:
    path, heard = tmp_path / "zwaif_fallback.log", []
    monkeypatch.setattr(log, "log_path", lambda: path)
    monkeypatch.setattr(log, "_listeners", [heard.append])
    caplog.set_level(logging.DEBUG, "zwaif")
    try:
        raise ConnectionError(f"GET https://api/?key={SECRET} failed")
    except ConnectionError as error:
        log.report(f"Plugin 'weather' failed: {error}", error)
    told = [capsys.readouterr().out, heard[0], path.read_text(encoding="utf-8"), caplog.text]
    assert all(MASK in one and SECRET not in one for one in told), told
    assert "Traceback" in told[2] and "Traceback" in told[3]


def test_a_plugin_that_joins_late_registers_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path)
    monkeypatch.setattr("zwaif_hooks.plugins.manager.START_SECONDS", 0.01)

    def load() -> object:
        time.sleep(0.2)
        return Weather(CITY)

    point = SimpleNamespace(name="weather", value="weather", load=load, dist=None)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point])
    place.manager.discover()
    place.manager.register_settings(place.store)
    deadline = time.monotonic() + 10
    while "WEATHER_CITY" not in {one.name for one in place.store.table} and time.monotonic() < deadline:
        time.sleep(0.01)
    assert place.store.get("WEATHER_CITY") == "Oslo"


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        (Setting("A_B", True, "x"), True),
        (Setting("A_B", 3, "x"), True),
        (Setting("A_B", "a", "x", choices=("a", "b")), True),
        (Setting("A_B", "a", "x", pattern="[a-z]"), True),
        (Setting("A_B", "text", "x"), False),
        (Setting("A_B", "text", "x", editable=True), True),
        (Setting("A_B", 3, "x", editable=False), False),
        (Setting("A_B", "", "x", secret=True), False),
    ],
)
def test_what_the_page_may_change(setting: Setting, shown: bool) -> None:
    assert setting.on_page is shown
