"""The workflows on GitHub, as far as they can be checked here: what they run, on which systems, with which rights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / ".github/workflows").glob("*.yml")
}
JOBS = {f"{name} {job}": body for name, flow in WORKFLOWS.items() for job, body in flow["jobs"].items()}


def steps() -> list[dict[str, Any]]:
    return [step for job in JOBS.values() for step in job.get("steps", ())]


def test_every_script_that_a_job_runs_exists_and_is_in_the_table_of_commands() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    ran = {name for step in steps() for name in re.findall(r"scripts[/\\](\w+)(?!\.py)\b", step.get("run", ""))}
    assert {"setup", "test", "docs", "demo"} <= ran
    for name in ran - {"build"}:
        assert (ROOT / "scripts" / name).is_file()
        assert f"`./scripts/{name}" in table


def test_the_tests_run_on_every_python_and_system_that_is_claimed() -> None:
    matrix = JOBS["tests.yml tests"]["strategy"]["matrix"]
    claimed = re.findall(r"Python :: (3\.\d+)", (ROOT / "setup.cfg").read_text(encoding="utf-8"))
    assert matrix["python"] == claimed
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "windows", "macos"}


@pytest.mark.parametrize("name", JOBS)
def test_a_job_ends_by_itself_and_pins_its_actions(name: str) -> None:
    job = JOBS[name]
    assert job.get("uses", "").startswith("./") or job["timeout-minutes"] <= 75
    for step in job.get("steps", ()):
        assert re.fullmatch(r"[\w./-]+@(v\d+|[0-9a-f]{40})", step.get("uses", "local@v0")), step


def test_only_the_job_that_publishes_may_prove_who_it_is_and_it_builds_nothing() -> None:
    assert all(flow["permissions"] == {"contents": "read"} for flow in WORKFLOWS.values())
    (name,) = (name for name, job in JOBS.items() if "permissions" in job)
    job = JOBS[name]
    assert job["permissions"] == {"id-token": "write"} and job["environment"]["name"] == "pypi"
    assert not any("run" in step for step in job["steps"])
    assert set(job["needs"]) == {"tests", "build"}
