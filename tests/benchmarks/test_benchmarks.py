"""Benchmarks of searches still run on the zoo: the smallest of each, which measures nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.slow


def results(script: str, out: Path, *arguments: str) -> list[dict[str, object]]:
    command = [sys.executable, str(BENCHMARKS / script), "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.mark.parametrize("setting", ["one", "block", "bands"])
def test_archives(tmp_path: Path, setting: str) -> None:
    """Six of the candidates are known before: the five sources and their average."""
    names = ("cycleqd", "pymoo NSGA2")
    records = results(
        "archive.py",
        tmp_path / "archive.jsonl",
        *("--seeds", "1", "--candidates", "7", "--quick", "--settings", setting, "--searches", *names),
    )
    assert [each["spent"] for each in records] == [420, 420]
    assert all(isinstance(each["fit"], list) and len(each["fit"]) == 7 for each in records)


def test_searches(tmp_path: Path) -> None:
    records = results(
        "search.py",
        tmp_path / "search.jsonl",
        *("--first-seed", "3", "--seeds", "1", "--settings", "two", "--budget", "600"),
        *("--searches", "fast", "random", "pycma", "optuna TPE", "pymoo GA"),
    )
    assert len(records) == 5
    for each in records:
        trace = each["trace"]
        assert each["seed"] == 3
        assert isinstance(trace, list)
        assert 0 < trace[-1][0] <= 3000, "at most a generation of 25 on all 120 items"


def test_honesty(tmp_path: Path) -> None:
    (records,) = results("honesty.py", tmp_path / "honesty.jsonl", "--runs", "1", "--settings", "four")
    assert float(str(records["low"])) <= float(str(records["predicted"])) <= float(str(records["high"]))


def test_paths(tmp_path: Path) -> None:
    """All that is exact, a strategy's first evaluations, and the bars that do not depend on time."""
    records = results(
        "dataflow.py",
        tmp_path / "dataflow.jsonl",
        *("--parts", "mechanics", "strategies", "defaults", "--seeds", "1", "--evaluations", "3"),
        *("--evaluations-of-defaults", "2"),
    )
    exact = {str(each["what"]): each for each in records if each["part"] == "mechanics"}
    assert exact["own layers"]["value"] == 0
    assert exact["cache"]["value"] == exact["cache"]["n"] == 700
    assert exact["export"]["value"] == 700
    curves = [each["best"] for each in records if each["part"] == "strategies"]
    assert len(curves) == 4
    assert all(isinstance(each, list) and len(each) == 3 for each in curves)
    tested = [each["test"] for each in records if each["part"] == "defaults"]
    assert len(tested) == 16
    assert len(set(map(str, tested))) > 1, "changes change something"
    hops = [each["hops"] for each in records if each["part"] == "defaults"]
    assert all(isinstance(each, int) and 1 <= each <= 10 for each in hops)


def test_learning(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "learning.py"), "--work", str(tmp_path)]
    chosen = ["--domains", "sums-four@16", "--ways", "bred", "search", "--seeds", "3", "4"]
    done = subprocess.run([*command, *chosen], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| sums-four@16 |")]
    assert len(rows) == 2, "scores, and differences by item"
    assert rows[0].split(" | ")[1:3] == ["2", "86"]
    assert {"tuned", "trained", "random", "grid"} <= set(done.stdout.split())
