"""The benchmarks run, with a few of everything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu
from zwaif_fallback.demo import MODEL
from zwaif_fallback.standin import copy_tree
from zwaif_hooks.plugins.hook_table import HOOKS

ROOT = Path(__file__).parents[2]


def test_the_failover_benchmark_runs_without_the_peers() -> None:
    command = [sys.executable, "-m", "benchmarks.failover", "--smoke", "--only", "ours"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    (truth,) = (line for line in done.stdout.splitlines() if line.startswith("| zwaif-fallback | whole"))
    assert truth == "| zwaif-fallback |" + " whole |" * 5
    assert "Not installed: LiteLLM Router" in done.stdout
    assert len([line for line in done.stdout.splitlines() if line.startswith("| zwaif-fallback |")]) == 5


def test_the_warm_takeover_benchmark_runs_on_a_tiny_model() -> None:
    command = [sys.executable, "-m", "benchmarks.prefix.takeover", "--size", "tiny", "--tokens", "300", "--turns", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert "ours on top of the engine" in done.stdout


def test_the_takeover_benchmark_runs_on_the_demos_model() -> None:
    command = [sys.executable, "-m", "benchmarks.takeover", str(MODEL), "--runs", "1", "--ways", "cold"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == ["cold", "engine"]
    assert all(float(figure) >= 0 for row in rows for figure in row[1:4])


def test_the_prefix_benchmark_runs_on_a_tiny_model() -> None:
    command = [sys.executable, "-m", "benchmarks.prefix", "--size", "tiny", "--tokens", "300", "--turns", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("| v1.")]
    assert len(rows) == 4
    for _, name, _, prompt, *_, new, _, _, _ in rows:
        assert 0 < int(new) < int(prompt) / 3, name
    assert "for two in turn" in done.stdout


def test_the_healthy_path_benchmark_runs_and_nothing_is_asked_twice() -> None:
    command = [sys.executable, "-m", "benchmarks.healthy", "--smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Requests a turn: 1 without us, 1 with us.") == 2
    assert "torch was imported because of us: no." in done.stdout


def test_the_hooks_benchmark_measures_every_hook_that_is_called_more_than_once_and_drops_no_call() -> None:
    command = [sys.executable, "-m", "benchmarks.hooks", "--rounds", "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    rows = {
        line.split("|")[1].strip(): line.split("|")[3:6] for line in done.stdout.splitlines() if line.startswith("| ")
    }
    unmeasured = {hook for hook, rule in HOOKS.items() if not rule.once} - set(rows)
    assert unmeasured == {"register_engines", "register_settings_ui", "format_prompt"}, "at a start, or in lists"
    assert all(float(nobody) > 0 for hook, (nobody, _, _) in rows.items() if hook in HOOKS)


def test_the_engines_benchmark_runs_on_a_tiny_model_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    amount = ["--size", "tiny", "--reply", "8", "--prompt", "20", "--keep", str(tmp_path), "--skip-jitter"]
    only = ["--only", "ours, as published", "bare model.generate, bfloat16"]
    command = [sys.executable, "-m", "benchmarks.engines", *amount, *only]
    for rounds in ("1", "2"):
        done = subprocess.run(
            [*command, "--rounds", rounds], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
        )
        assert done.returncode == 0, done.stderr
    assert len(next(tmp_path.glob("*.jsonl")).read_text().splitlines()) == 2
    assert "| bare model.generate, bfloat16 | 1.00× |" in done.stdout
    assert "| ours, as published |" in done.stdout


def test_the_card_s_benchmark_runs_on_a_processor() -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--shapes", "tiny", "--device", "cpu", "--reply", "8", "--full"]
    command += ["--runs", "1", "--ways", "bf16", "GGUF", "--bare", "static cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    rows = {line for line in done.stdout.splitlines() if line.startswith("| tiny |")}
    for kind in ("| bf16, static cache |", "| bfloat16, cpu |", "| GGUF Q4_0, cpu |", "| card full |"):
        assert len([row for row in rows if kind in row]) == 1, kind


def test_the_card_s_benchmark_begins_nothing_when_its_time_is_up() -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--shapes", "tiny", "--device", "cpu", "--minutes", "0", "--all"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("tiny |")]
    assert told[0] == "tiny | ours, bf16, run 1: left out, the time is up"
    assert all(line.endswith("left out, the time is up") for line in told)


def test_a_figure_of_the_card_s_benchmark_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> gpu.Row:
        raise RuntimeError("no kernel image")

    wanted = [gpu.Part("tiny", "takeover", "cold", fail), gpu.Part("tiny", "takeover", "warm", lambda: {"text": 1.0})]
    monkeypatch.setattr(gpu, "parts", lambda folder, options: wanted)
    kept = tmp_path / "figures.jsonl"
    for runs in ("2", "3"):
        assert gpu.main(["--device", "cpu", "--shapes", "tiny", "--runs", runs, "--keep", str(kept)]) == 0
        out = capsys.readouterr().out
        assert out.count("tiny | takeover, cold: failed (RuntimeError: no kernel image)") == 1
        assert f"| tiny | takeover | warm | 1.00 | {runs} |" in out
    assert len(kept.read_text(encoding="utf-8").splitlines()) == 3


def test_the_fidelity_benchmark_runs_on_the_tiny_model(tmp_path: Path) -> None:
    model = ROOT / "zwaif_fallback" / "demo" / "model"
    amount = ["--cards", "1", "--questions", "2", "--seeds", "1", "--keep", str(tmp_path)]
    command = [sys.executable, "-m", "benchmarks.fidelity", str(model), *amount]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert "| ours |" in done.stdout
    assert len((tmp_path / "model-ours.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_the_releases_benchmark_drives_the_stand_in_through_outages(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "z-waif", {"ZWAIF_STANDIN_UI": "OFF"})
    scenes = ["healthy", "refused", "cut"]
    command = [sys.executable, "-m", "benchmarks.releases", str(tree), "--stream", "ON", "--only", *scenes]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "| z-waif | Oobabooga | streamed | 3 of 3 |  |"


def test_the_loading_benchmark_shows_every_step() -> None:
    command = [sys.executable, "-m", "benchmarks.loading", str(MODEL), "--runs", "1", "--device", "cpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    head, _, *rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == (4 if sys.platform == "linux" else 2)
    steps = [step.strip() for step in head.split("|")[2:-1]]
    assert steps[0] == "process" and {"import torch", "weights", "first token", "whole"} <= set(steps)
    figures = {row.split("|")[1].strip(): dict(zip(steps, row.split("|")[2:-1], strict=True)) for row in rows}
    new, standby = figures["new process, warm cache"], figures["standby process, warm cache"]
    assert float(new["import torch"]) > 0.1 > float(standby["import torch"])
