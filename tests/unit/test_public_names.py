"""What plugin authors import, and from where they used to."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest

import zwaif_hooks
from zwaif_hooks import host, log, messages, specs
from zwaif_hooks.host_handle import Host


@pytest.mark.parametrize("name", zwaif_hooks.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(zwaif_hooks, name) is not None


def test_every_name_that_a_hook_takes_or_returns_is_public() -> None:
    data = {
        name for name, item in vars(messages).items() if isinstance(item, type) and item.__module__.endswith("messages")
    }
    assert data <= set(zwaif_hooks.__all__)
    assert zwaif_hooks.hookimpl is specs.hookimpl


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Anser'"):
        _ = zwaif_hooks.Anser  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="no attribute 'Anser'"):
        _ = host.Anser


@pytest.mark.parametrize(("name", "value"), [("Host", Host), ("log", log)])
def test_names_import_from_their_old_place_with_a_deprecation(name: str, value: object) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert getattr(host, name) is value
    (warning,) = caught
    assert issubclass(warning.category, DeprecationWarning) and warning.filename == __file__
    assert (
        str(warning.message)
        == f"import {name} from zwaif_hooks; zwaif_hooks.host.{name} will be removed in version 1.0"
    )


OLD_IMPORTS = """
from zwaif_hooks.host import Host, log
from zwaif_hooks.host.settings import BadSetting, NotSaved, Setting, SettingProblem, SettingsStore, Value
from zwaif_hooks.messages import Answer, AnswerRecord, ChatRequest, FailureKind, Message, ModelInfo, PrimaryFailure
from zwaif_hooks.messages import Persona, Picture, Purpose, Sampling
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.specs import hookimpl
"""
"""What the manual of version 0.1.0 had in its examples."""


def test_every_import_of_the_first_manual_still_works() -> None:
    names: dict[str, object] = {}
    with pytest.deprecated_call():
        exec(OLD_IMPORTS, names)
    assert names["Setting"] is zwaif_hooks.Setting
    with pytest.raises(ImportError, match="cannot import name 'Other'"):
        exec("from zwaif_hooks.host.settings import Other", {})


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import zwaif_hooks; print(*sorted(set(sys.modules) - before))"
    environment = {"ZWAIF_PLUGINS": "OFF", "PYTHONPATH": "hooks"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["zwaif_hooks"]
