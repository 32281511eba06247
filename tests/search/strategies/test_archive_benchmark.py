"""The tables of the archive benchmark match the stored results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "archive.py"
POOR, GOOD, LUCKY = (0.0, 0.5, 0.5), (1.0, 1.0, 1.0), (1.0, 0.5, 0.5)


def result(search: str, seed: int, *scores: tuple[float, ...]) -> dict[str, object]:
    """A run whose last candidate is best, and is less good on test."""
    last = len(scores) - 1
    test = {str(index): POOR if each == LUCKY else each for index, each in enumerate(scores)}
    return {
        **{"setting": "one", "search": search, "seed": seed, "candidates": 100, "spent": 6000},
        "fit": scores,
        "genomes": [(0.0,)] * len(scores),
        "held": list(range(len(scores))),
        "picks": {"25": dict.fromkeys(("ja-math", "en-math", "sums", "mean"), last)},
        "test": test,
    }


@pytest.mark.slow
def test_figures_are_of_the_scores_on_fit_and_on_test(tmp_path: Path) -> None:
    kept = [result("cycleqd", seed, POOR, LUCKY) for seed in (0, 1)]
    kept += [result("nsga2", seed, POOR, GOOD) for seed in (0, 1)]
    (tmp_path / "kept.jsonl").write_text("".join(json.dumps(each) + "\n" for each in kept))
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path / "kept.jsonl"), "--markdown"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    on_fit, ahead, on_test, _ = shown.split("Genes: one; ")[1:]
    row = "| best at ja-math, of 25 | {0} [{0}, {0}] n=2 | {1} [{1}, {1}] n=2 |"
    assert row.format("100.0", "100.0") in on_fit
    assert row.format("0.0", "100.0") in on_test
    # POOR and LUCKY share the cell of their archive for the first task, and no other
    assert "| coverage | 1.7 [1.7, 1.7] n=2 | 2.0 [2.0, 2.0] n=2 |" in on_fit
    assert "| coverage | 1.0 [1.0, 1.0] n=2 | 2.0 [2.0, 2.0] n=2 |" in on_test
    assert "| coverage | -0.3 [-0.3, -0.3] n=2 |" in ahead
    assert "| kinds | 2.0 [2.0, 2.0] n=2 | 2.0 [2.0, 2.0] n=2 |" in on_fit
