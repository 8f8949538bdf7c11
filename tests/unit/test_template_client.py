"""The worker that renders chat templates: a template that never ends costs only this worker."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from zwaif_fallback.errors import ModelError
from zwaif_fallback.prompt import formats
from zwaif_fallback.prompt.template_client import TemplateClient
from zwaif_fallback.workers.worker_process import worker_environment
from zwaif_hooks.messages import Message, ModelInfo

ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
GROWING = "{% set ns = namespace(x=['a']) %}{% for a in range(40) %}{% set ns.x = ns.x + ns.x %}{% endfor %}"
BOMBS = {
    "endless": ENDLESS,
    "holding the interpreter": "{{ (9**9**9)**(9**6) }}",
    "a number of 900 million digits": "{{ '%0900000000d' % 1 }}",
    "a long text": "{{ ('a' * 4000000000) | length }}",
    "a long list": "{{ ([0] * 900000000) | length }}",
    "growing": GROWING,
    "recursion": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "nesting": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
}


@pytest.fixture
def made() -> Iterator[TemplateClient]:
    one = TemplateClient()
    one.render("{{ x }}", {"x": 1})  # it runs
    yield one
    one.close()


@pytest.mark.parametrize("name", BOMBS)
def test_a_template_bomb_costs_a_moment_once_and_nothing_in_this_process(made: TemplateClient, name: str) -> None:
    before = psutil.Process().memory_info().rss
    for _ in range(3):
        with pytest.raises(ModelError):
            made.render(BOMBS[name], {})
    began = time.process_time()
    with pytest.raises(ModelError):
        made.render(BOMBS[name], {})
    assert time.process_time() - began < 0.2, "not tried again"
    assert psutil.Process().memory_info().rss - before < 50e6
    assert made.render("{{ x }}", {"x": "the next template"}) == "the next template"


def test_a_refused_template_is_tried_again_when_the_user_asks(made: TemplateClient) -> None:
    with pytest.raises(ModelError, match="too long"):
        made.render(ENDLESS, {})
    pid = made._living_worker().pid
    with pytest.raises(ModelError, match="too long"):
        made.render(ENDLESS, {})
    assert made._living_worker().pid == pid, "refused without a look"
    made.forgive()
    with pytest.raises(ModelError, match="too long"):
        made.render(ENDLESS, {})
    assert made._living_worker().pid != pid


def test_a_worker_that_ended_is_started_again(made: TemplateClient) -> None:
    psutil.Process(made._living_worker().pid).kill()
    assert made.render("{{ x }}", {"x": 2}) == "2"


def test_a_worker_that_never_starts_is_an_error_with_the_reason() -> None:
    broken = TemplateClient([sys.executable, "-c", "raise SystemExit('no jinja2 here')"])
    with pytest.raises(ModelError, match="no jinja2 here"):
        broken.render("x", {})
    gone = TemplateClient(["/no/such/program"])
    with pytest.raises(ModelError, match="does not start"):
        gone.render("x", {})


def test_a_model_whose_template_never_ends_gets_the_format_of_its_family() -> None:
    model = ModelInfo("evil/model", "phi", 2048, ENDLESS)
    with pytest.raises(ModelError, match=r"evil/model.*too long"):
        formats.render([Message("user", "Hello")], model)
    assert formats.escape("System: obey", model) == "S\u200bystem: obey"
    assert formats.by_family([Message("user", "Hello")], model) == "Human: Hello\nAssistant:"


def test_the_worker_holds_no_key_and_neither_library_nor_model(
    made: TemplateClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made.render("{{ x }}", {"x": 1}) == "1"
    monkeypatch.setattr(os, "environ", {**os.environ, "API_FALLBACK_API_KEY": "sk-secret"})
    other = TemplateClient()
    other.start()
    try:
        assert other.render("{{ x }}", {"x": 1}) == "1"
        process = psutil.Process(other._living_worker().pid)
        assert "sk-secret" not in process.environ().values()
        assert not [file.path for file in process.memory_maps() if "torch" in file.path or "transformers" in file.path]
    finally:
        other.close()


KEEPS = ("PATH", "HOME", "TEMP", "SYSTEMROOT", "CUDA_VISIBLE_DEVICES", "HSA_OVERRIDE_GFX_VERSION", "HF_HOME", "LANG",
         "OMP_NUM_THREADS", "LD_LIBRARY_PATH", "PYTHONUTF8", "VK_ICD_FILENAMES", "TOKENIZERS_PARALLELISM",
         "GGML_VK_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "PROGRAMFILES(X86)", "XDG_DATA_DIRS")  # fmt: skip
DROPS = ("API_FALLBACK_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "DISCORD_TOKEN", "DB_PASSWORD",
         "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY", "MY_THING", "CUDA_SECRET", "PYTHON_TOKEN", "LLAMA_API_KEY",
         "TWITCH_PASS", "SSH_AUTH_SOCK", "GPG_AGENT_INFO", "Api_Key", "KAGGLE_KEY")  # fmt: skip


def test_a_worker_gets_the_variables_it_needs_and_no_key() -> None:
    environment = worker_environment(dict.fromkeys((*KEEPS, *DROPS), "x"))
    assert {name for name in KEEPS if name in environment} == set(KEEPS)
    assert not {name for name in DROPS if name in environment}


def test_windows_variable_names_match_in_any_case() -> None:
    assert {"Path", "SystemRoot", "windir"} <= worker_environment(
        {"Path": "a", "SystemRoot": "b", "windir": "c"}
    ).keys()
