"""A plugin's settings in the commands: a package installed by pip, and commands run as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.pip_install import installed_by_pip, needs_pip
from zwaif_fallback.settings import SETTINGS
from zwaif_fallback.standin import copy_tree
from zwaif_fallback.standin.launch import environment

pytestmark = [pytest.mark.slow, needs_pip]
PACKAGE = Path(__file__).parents[1] / "helpers" / "weather_plugin"
SECRET = "wx-7f3e9-secret"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip installed the plugin."""
    return installed_by_pip(tmp_path_factory.mktemp("weather"), PACKAGE)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    values = {"WEATHER_API_KEY": SECRET, "WEATHER_UNITS": "kelvin", "WEATHER_CTIY": "Rome"}
    return copy_tree(tmp_path / "z-waif", values)


@pytest.fixture
def run(tree: Path, site: Path, tmp_path: Path) -> Iterator[Run]:
    """Run a command. No output of any may hold the secret."""
    outputs: list[str] = []
    env = {**environment(tmp_path / "scratch"), "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    for setting in SETTINGS:
        env.pop(setting.name, None)
    env["PYTHONPATH"] = os.pathsep.join([str(site), env.get("PYTHONPATH", "")])

    def command(*words: str, typed: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "zwaif_fallback", *words, *([] if "docs" in words else ["--zwaif", str(tree)])],
            env={**env, **more},
            cwd=tmp_path,
            input=typed,
            capture_output=True,
            text=True,
            timeout=120,
        )
        outputs.extend((done.stdout, done.stderr))
        return done

    yield command
    assert not [one for one in outputs if SECRET in one or "typed-secret" in one]


def test_show_lists_a_plugins_settings_apart_and_names_its_mistakes(run: Run) -> None:
    done = run("settings", "show")
    ours, _, plugin = done.stdout.partition("\nPlugin weather\n")
    assert done.returncode == 1 and "WEATHER_" not in ours
    rows = {line.split()[0]: line.split()[1:] for line in plugin.splitlines()}
    assert rows["WEATHER_API_KEY"] == ["***", ".env", "(empty)"]
    assert rows["WEATHER_UNITS"] == ["metric", ".env", "metric"]
    assert rows["WEATHER_CITY"] == ["Oslo", "default", "Oslo"]
    for told in (
        "Plugin 'weather': WEATHER_UNITS is 'kelvin', but it must be one of: metric, imperial. Using metric instead.",
        "Plugin 'weather': its setting API_FALLBACK_HOST is left out: the name is reserved",
        "Plugin 'weather': its setting CHAR_NAME is left out: it is a key of Z-Waif's own",
        "WEATHER_CTIY is not a setting of plugin 'weather'; did you mean WEATHER_CITY?",
    ):
        assert told in done.stderr.splitlines()


def test_show_and_status_for_programs(run: Run) -> None:
    for words, rows in ((("settings", "show"), lambda facts: facts), (("status",), lambda facts: facts["settings"])):
        done = run(*words, "--json")
        by_name = {row["name"]: row for row in rows(json.loads(done.stdout))}
        assert by_name["WEATHER_API_KEY"]["value"] == by_name["WEATHER_API_KEY"]["text"] == "***"
        assert by_name["WEATHER_API_KEY"]["plugin"] == "weather" and by_name["API_FALLBACK_ENABLED"]["plugin"] == ""


def test_set_checks_writes_and_masks(run: Run, tree: Path) -> None:
    assert "WEATHER_DAYS = 5" in run("settings", "set", "WEATHER_DAYS", "5").stdout
    assert "from 1 to 14" in run("settings", "set", "WEATHER_DAYS", "15").stderr
    assert "did you mean WEATHER_CITY" in run("settings", "set", "WEATHER_CITTY", "x").stderr.replace("Did", "did")
    done = run("settings", "set", "WEATHER_API_KEY", typed="typed-secret\n")
    assert "WEATHER_API_KEY = ***" in done.stdout and "before: ***" in done.stdout
    assert json.loads(run("settings", "set", "WEATHER_API_KEY", "typed-secret", "--json").stdout)["before"] == "***"
    env = (tree / ".env").read_text(encoding="utf-8")
    assert "WEATHER_API_KEY = typed-secret" in env and "WEATHER_DAYS = 5" in env


def test_doctor_names_plugin_setting_and_what_was_meant(run: Run) -> None:
    assert "did you mean WEATHER_CITY?" in run("doctor").stdout
    told = json.loads(run("doctor", "--json").stdout)
    assert {"WEATHER_CITY", "WEATHER_API_KEY", "API_FALLBACK_MODEL"} <= {one["name"] for one in told["settings"]}
    assert "typed-secret" not in json.dumps(told)
    checks = {check["name"]: check for check in told["checks"]}
    assert "Plugin 'weather': WEATHER_UNITS is 'kelvin'" in checks["env_values"]["found"]
    assert "did you mean WEATHER_CITY?" in json.dumps(checks["env_names"])


def test_docs_are_printed_for_the_authors_page(run: Run) -> None:
    page = run("settings", "docs", "weather").stdout
    assert page.startswith("## Settings of weather\n\n| Setting | Default | Allowed values | Meaning |\n|---")
    assert "| `WEATHER_API_KEY` | empty | one line of text; secret | The key of your account. |" in page
    assert r"| `WEATHER_WIND` | `0.5` | a number from 0 to 1 | Wind from \| which it is told. |" in page
    assert "# Settings\n" in run("settings", "docs").stdout
    assert "No plugin called wetter has settings." in run("settings", "docs", "wetter").stderr


@pytest.mark.parametrize("switch", [{"ZWAIF_PLUGINS": "OFF"}, {"ZWAIF_BLOCK_PLUGINS": "weather"}])
def test_a_plugin_that_is_switched_off_is_not_imported(run: Run, switch: dict[str, str]) -> None:
    done = run("settings", "show", **switch)
    assert "weather" not in (done.stdout + done.stderr).lower()


def test_a_plugin_that_env_blocks_is_not_imported(run: Run, tree: Path) -> None:
    with (tree / ".env").open("a", encoding="utf-8") as file:
        file.write("ZWAIF_BLOCK_PLUGINS = weather\n")
    assert "WEATHER" not in run("settings", "show").stdout
