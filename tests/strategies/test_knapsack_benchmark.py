"""The benchmark of the genetic algorithm on knapsacks runs, and its figures are true of a small instance."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "knapsack.py"


@pytest.mark.parametrize("flags", [[], ["--penalty"]])
def test_one_small_instance_is_solved(flags: list[str]) -> None:
    command = [sys.executable, str(SCRIPT), "--instances", "1", "--items", "10", "--budget", "600", "--json"]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, check=True)
    shown = json.loads(done.stdout)
    assert shown["share_optimal"] == shown["share_within_1_percent"] == 1.0
    assert shown["results"][0]["found"] == shown["results"][0]["optimum"] > 0


def test_the_table_names_its_measures() -> None:
    command = [sys.executable, str(SCRIPT), "--instances", "2", "--items", "8", "--budget", "40"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "| share within 1 percent |" in done.stdout
