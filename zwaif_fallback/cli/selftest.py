"""The checks of ``zwaif-fallback test``: real processes, a real model, a real Z-Waif. No file of the user changes.

``python test_api_fallback.py`` runs them as well, and under pytest each is one test.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from zwaif_fallback.answering.contracts import SecondServer
from zwaif_fallback.answering.service import Collaborators, FallbackService
from zwaif_fallback.choosing.no_model_chosen import is_chosen
from zwaif_fallback.cli import console
from zwaif_fallback.cli.status_facts import can_answer, model_facts, status_facts
from zwaif_fallback.demo import MODEL, host_process, zwaif_copy
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadOptions
from zwaif_fallback.errors import FallbackError
from zwaif_fallback.install_hints import remedy_for
from zwaif_fallback.local.model import LocalModel
from zwaif_fallback.prompt import formats
from zwaif_fallback.settings import SETTINGS
from zwaif_fallback.standin import DEFAULT_ENV, copy_tree
from zwaif_fallback.standin.launch import environment
from zwaif_fallback.ui import section
from zwaif_fallback.ui.panel import Panel
from zwaif_fallback.zwaif_tree import env_values, load_plugins, settings_store
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.host import env_file, webui
from zwaif_hooks.host.settings_store import SettingProblem, SettingsStore
from zwaif_hooks.messages import Message, Sampling
from zwaif_hooks.turn_log import TurnLog

_REPORT = "Run this again with ZWAIF_DEBUG=1 and report the output."
_NOTHING_TO_ANSWER = (
    "Everything works, but there is no model to answer yet: in an outage the companion can only say a short line. "
    'What to do: see the line "your model".'
)
_QUESTION = (Message("system", "You are Mia."), Message("user", "Tell me a story about a lighthouse"))


class CheckFailed(FallbackError):
    """``str(error)`` says what is wrong and what to do."""


class CannotCheck(FallbackError):
    """The check cannot run here; ``str(error)`` says what is missing."""


@dataclass(frozen=True)
class Place:
    """The folders that a check works with."""

    scratch: Path
    """An empty folder, deleted afterwards."""
    zwaif: Path | None = None
    """A real Z-Waif, which is only read or copied; None means the stand-in."""
    plugins_dir: str | None = None
    """A folder with plugins in single files."""


# --- settings ---------------------------------------------------------------------------------------------------------


def check_settings(place: Place) -> str:
    """Check all settings, also of plugins, and that a copy of ``.env`` takes changes and keeps its other lines."""
    path = _copy_of_env(place)
    store = SettingsStore(SETTINGS, path, environ={}, say=lambda line: None)
    load_plugins(store, os.environ, place.plugins_dir)
    for setting in store.table:
        _require(
            setting.parse(setting.text(setting.default)) == setting.default, f"{setting.name}'s default. {_REPORT}"
        )
    _require(not store.problems(), " ".join(store.problems()) + " Correct that line in Z-Waif's .env.")
    before = env_file.read(path)
    changes: dict[str, Any] = {
        "API_FALLBACK_ENABLED": not store.get("API_FALLBACK_ENABLED"),
        "API_FALLBACK_FIRST_TOKEN_TIMEOUT": 21.5,
        "API_FALLBACK_HOST": "127.0.0.1:5001",
        "API_FALLBACK_MODEL": str(MODEL),
    }
    for name, value in changes.items():
        store.set(name, value)
    fresh = SettingsStore(SETTINGS, path, environ={}, say=lambda line: None)
    lost = [name for name, value in changes.items() if fresh.get(name) != value]
    _require(not lost, f"{', '.join(lost)} did not survive being written to .env and read again. {_REPORT}")
    after = env_file.read(path)
    hurt = [name for name in before if name not in changes and after.get(name) != before[name]]
    _require(not hurt, f"writing to .env changed {', '.join(hurt)}. {_REPORT}")
    kept = f"a copy of .env takes changes and keeps its other {len(before)} values"
    return f"all {len(store.table)} settings are usable; {kept}"


def _copy_of_env(place: Place) -> Path:
    path = place.scratch / "settings.env"
    own = place.zwaif / ".env" if place.zwaif else None
    if own is not None and own.is_file():
        shutil.copyfile(own, path)
    else:
        path.write_text("".join(f"{key} = {value}\n" for key, value in DEFAULT_ENV.items()), encoding="utf-8")
    return path


# --- plugins ----------------------------------------------------------------------------------------------------------


def check_plugins(place: Place) -> str:
    """Load all plugins as Z-Waif would."""
    plugins = load_plugins(settings_store(place.zwaif, os.environ), os.environ, place.plugins_dir)
    _require(not plugins.problems, " ".join(f"{line.rstrip('.')}." for line in plugins.problems))
    return f"all can be used: {', '.join(plugins.manager.names()) or 'there are none'}"


# --- engine -----------------------------------------------------------------------------------------------------------


def check_engine(place: Place) -> str:
    """Load the embedded model in its own process and let it answer."""
    with closing(LocalModel()) as local:
        loaded = local.load(LoadOptions(str(MODEL)))
        stats = GenerationStats()
        started = time.monotonic()
        text = "".join(local.generate(_generation(local), stats))
        seconds = time.monotonic() - started
        _require(local.pid not in (None, os.getpid()), f"the model runs inside Z-Waif's own process. {_REPORT}")
    _require(bool(text.strip()), f"the model was loaded but wrote nothing. {_REPORT}")
    speed = stats.generated_tokens / max(seconds, 1e-6)
    return f"the embedded model loads in {loaded.load_seconds:.1f} s and writes {speed:.0f} tokens a second"


def _generation(local: LocalModel, max_tokens: int = 60) -> Generation:
    if local.loaded is None:
        raise CheckFailed(f"no model is loaded after loading one. {_REPORT}")
    prompt = formats.render(_QUESTION, local.loaded.info, "")
    return Generation(prompt, max_tokens=max_tokens, sampling=Sampling(temperature=0))


def check_own_model(place: Place) -> str:
    """Load the model that would answer in an outage, as it would be loaded then, and let it answer."""
    store = settings_store(place.zwaif, os.environ)
    facts = model_facts(store.get, place.zwaif, is_chosen(env_values(place.zwaif, os.environ)))
    if not facts["here"]:
        raise CannotCheck(" ".join(line for line in (facts["line"], facts["instead"]) if line))
    _require(facts["usable"], facts["line"])
    with closing(LocalModel()) as local:
        loaded = local.load(LoadOptions.from_settings(store.get, facts["resolved"]))
        text = "".join(local.generate(_generation(local, max_tokens=20)))
    _require(
        bool(text.strip()), f"{facts['title']} was loaded but wrote nothing. Choose another: zwaif-fallback models"
    )
    line = f"{facts['title']} loads in {loaded.load_seconds:.1f} s and answers"
    return f"{line}. {facts['notice']}" if facts["notice"] else line


# --- controller -------------------------------------------------------------------------------------------------------


def check_controller(place: Place) -> str:
    """Run Z-Waif without an LLM server; the fallback must answer, and Z-Waif must remember the reply."""
    with _host(place) as (chat, tree):
        turn = chat.say("Hello, how are you?", lambda piece: None)
        _require(not turn.error, f"Z-Waif gave no reply ({turn.error}). {_HOST_PYTHON}")
        _require(turn.who == host_process.FALLBACK, f"{turn.who} answered, not the fallback. {_HOST_PYTHON}")
        history = (tree / "LiveLog.json").read_text(encoding="utf-8")
        _require("Hello, how are you?" in history, f"the turn is not in Z-Waif's history. {_REPORT}")
    return f"{'a copy of ' + str(place.zwaif) if place.zwaif else 'the stand-in Z-Waif'}: {turn.detail()}"


_HOST_PYTHON = "Run this with the Python of Z-Waif's own environment, with this package installed in it."


@contextmanager
def _host(place: Place) -> Iterator[tuple[host_process.HostProcess, Path]]:
    env = environment(place.scratch / "site")
    for name in [name for name in env if name.startswith(("API_FALLBACK_", "ZWAIF_"))]:
        del env[name]  # variables exported in this console must not change the result
    values = {
        "HOST_PORT": f"127.0.0.1:{unused_port()}",
        "API_FALLBACK_MODEL": str(MODEL),
        "API_FALLBACK_ENABLED": "ON",
        "API_FALLBACK_HOST": "",
        **host_process.LOADED_AT_ONCE,
    }
    tree = _tree(place, values, env)
    chat = host_process.HostProcess(tree, env, place.scratch / "host.log")
    try:
        chat.event("ready")
        chat.wait_until_loaded()
        yield chat, tree
    except host_process.NotLoaded as error:
        raise CheckFailed(str(error)) from error
    except host_process.DemoError as error:
        died_of = _in_one_line(str(error))
        raise CheckFailed(f"{died_of} {remedy_for(died_of, _HOST_PYTHON)}") from error
    finally:
        chat.close()


def _in_one_line(report: str) -> str:
    """Return why the host died in one line, from a report that ends with its last output."""
    first, *last = [line.strip() for line in report.splitlines() if line.strip()]
    errors = [line for line in last if re.match(r"[\w.]*(Error|Exception|Exit|Interrupt)\b", line)]
    said = re.sub(r"^[\w.]+: ", "", errors[-1]) if errors else (last or ["It printed nothing."])[-1]
    return f"{first} {said.rstrip('.')}."


def _tree(place: Place, values: dict[str, str], env: dict[str, str]) -> Path:
    if place.zwaif is None:
        env["ZWAIF_STANDIN_UI"] = "OFF"
        return copy_tree(place.scratch / "z-waif", values)
    try:
        return zwaif_copy.prepare(place.zwaif, place.scratch, values, env)
    except zwaif_copy.UnusableTree as error:
        raise CannotCheck(str(error)) from error


def unused_port() -> int:
    """Return a port of this machine that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# --- switching --------------------------------------------------------------------------------------------------------


def check_switching(place: Place) -> str:
    """Switch models during a reply, which must not change it; a failed switch must keep the old model."""
    one, two, broken = (place.scratch / name for name in ("one", "two", "broken"))
    for folder in (one, two):
        shutil.copytree(MODEL, folder)
    shutil.copytree(MODEL, broken, ignore=shutil.ignore_patterns("*.safetensors"))
    with closing(LocalModel()) as local:
        local.load(LoadOptions(str(one)))
        first, undisturbed = local.pid, "".join(local.generate(_generation(local)))
        running = local.generate(_generation(local))
        begun = next(running)
        local.load(LoadOptions(str(two)))
        _require("".join(chain([begun], running)) == undisturbed, f"the switch changed a running reply. {_REPORT}")
        second = local.pid
        _require(second != first, f"the old model is still used after a switch. {_REPORT}")
        _require(_refuses(local, broken), f"a model without weights was accepted. {_REPORT}")
        _require(local.pid == second, f"a failed switch ended the model that was in use. {_REPORT}")
        _require(
            "".join(local.generate(_generation(local))) == undisturbed,
            f"the second model answers wrongly. {_REPORT}",
        )
    return "a switch during a reply did not change it; a broken model did not replace the old one"


def _refuses(local: LocalModel, folder: Path) -> bool:
    try:
        local.load(LoadOptions(str(folder)))
    except FallbackError:
        return True
    return False


# --- web page ---------------------------------------------------------------------------------------------------------


def check_web_ui(place: Place) -> str:
    """Build the section into a Settings tab; its switch must change the setting, its test button get a real reply."""
    gradio = _gradio()
    store = SettingsStore(SETTINGS, _copy_of_env(place), environ={}, say=lambda line: None)
    store.set("API_FALLBACK_MODEL", str(MODEL))
    store.set("API_FALLBACK_HOST", "")
    host: Any = SimpleNamespace(
        tree=place.scratch, settings=store, primaries=PrimaryRegistry(lambda *_: None), records=TurnLog()
    )
    with closing(LocalModel()) as local:
        service = FallbackService(Collaborators(store, local, _no_remote, lambda line: None, tree=place.scratch))
        controls, page = service.controls, _page(gradio)
        added = webui.add_to_settings_tab(page, gradio, [("fallback", lambda: section.build(gradio, host, controls))])
        _require(added == ["fallback"], f"the section could not be built with Gradio {gradio.__version__}. {_REPORT}")
        labels = {getattr(block, "label", None) for block in page.blocks.values()}
        missing = {"Enable API Fallback", "Fallback Model", "Fallback Host", "Test Reply"} - labels
        _require(not missing, f"the section lacks {', '.join(sorted(missing))}. {_REPORT}")
        _try_section(Panel(host, controls), store)
    return f"the section is in the Settings tab (Gradio {gradio.__version__}), and its test button gets a reply"


def _try_section(panel: Panel, store: SettingsStore) -> None:
    """Press the switch and the test button."""
    before = store.get("API_FALLBACK_ENABLED")
    shown, wrong, *_ = panel.toggle()
    _require(shown is store.get("API_FALLBACK_ENABLED") is not before, f"the switch does nothing ({wrong}). {_REPORT}")
    *_, reply = panel.test_reply.stream("Hello, how are you?")
    _require("first words after" in reply, f"the test button got no reply ({reply}). {_REPORT}")


def _no_remote(address: str, model: str) -> SecondServer:
    raise CheckFailed(f"{address} was asked, although no second server is set. {_REPORT}")


def _gradio() -> Any:
    if find_spec("gradio") is None:
        raise CannotCheck("Gradio is not installed here")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio
    except Exception as error:  # mismatched versions fail in many ways
        remedy = remedy_for(f"{type(error).__name__}: {error}", "Run: pip check")
        raise CheckFailed(f"Gradio cannot be imported ({error}). {remedy}") from error
    return gradio


def _page(gradio: Any) -> Any:
    with gradio.Blocks(analytics_enabled=False) as page:
        for label in ("Chat", "Settings"):
            with gradio.Tab(label):
                gradio.Textbox(label=f"{label} of Z-Waif")
    return page


# --- running them -----------------------------------------------------------------------------------------------------

CHECKS: tuple[tuple[str, Callable[[Place], str]], ...] = (
    ("settings", check_settings),
    ("plugins", check_plugins),
    ("engine", check_engine),
    ("your model", check_own_model),
    ("controller integration", check_controller),
    ("model switching", check_switching),
    ("web UI", check_web_ui),
)


def run(zwaif: Path | None = None, as_json: bool = False, plugins_dir: str | None = None) -> int:
    """Run all checks and print one line each.

    Return 0 if none failed and, in a real Z-Waif, an outage would be answered; otherwise 1.

    Args:
        zwaif: A Z-Waif folder, which is only read and copied; None means the stand-in.
        as_json: Print one JSON object at the end instead of the lines.
        plugins_dir: A folder with plugins in single files.
    """
    rows = []
    for title, check in CHECKS:
        word, text = _run_one(check, zwaif, plugins_dir)
        rows.append({"check": title, "state": word.lower(), "text": text})
        if not as_json:
            console.say(f"{word:<8} {title}: {text}")
    failed = sum(row["state"] == "fail" for row in rows)
    answers = _can_answer(zwaif)
    status = 1 if failed or not (answers or zwaif is None) else 0
    if as_json:
        zwaif_text = str(zwaif) if zwaif else None
        console.say_json({"zwaif": zwaif_text, "checks": rows, "failed": failed, "can_answer": answers})
    elif failed:
        console.say(f"{failed} of {len(rows)} checks failed.")
    else:
        console.say("The fallback works here." if answers else _NOTHING_TO_ANSWER)
    return status


def _can_answer(zwaif: Path | None) -> bool:
    try:
        return can_answer(status_facts(zwaif, os.environ))
    except env_file.EnvFileError:  # check_settings reports it
        return False


def _run_one(check: Callable[[Place], str], zwaif: Path | None, plugins_dir: str | None) -> tuple[str, str]:
    with tempfile.TemporaryDirectory(prefix="zwaif-test-", ignore_cleanup_errors=True) as scratch:
        return _outcome(check, Place(Path(scratch), zwaif, plugins_dir))


def _outcome(check: Callable[[Place], str], place: Place) -> tuple[str, str]:
    try:
        return "ok", check(place)
    except CannotCheck as reason:
        return "skipped", str(reason)
    except (FallbackError, SettingProblem, env_file.EnvFileError) as error:
        return "FAIL", str(error)
    except Exception as error:  # one broken check must not stop the others
        if os.environ.get("ZWAIF_DEBUG"):
            raise
        cause = f"{type(error).__name__}: {error}"
        return "FAIL", f"{cause}. {remedy_for(cause, _REPORT)}"


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise CheckFailed(otherwise)
