"""The benchmark of pictures, on a run of tiny random pipelines."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.forked import run_forked

pytest.importorskip("diffusers")
from tests.cli.picture_runs import write_models

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, "COLUMNS": "110", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.mark.slow
def test_the_benchmark_of_pictures_compares_pixels_costs_and_runs(tmp_path: Path) -> None:
    write_models(tmp_path)
    for name, seed in (("run", "0"), ("other", "1")):
        done = run_forked(("evolve", "run.yaml", "--run", name, "--seed", seed), tmp_path, ENV)
        assert done.returncode == 0, done.stderr
    words = [sys.executable, str(ROOT / "benchmarks" / "pictures.py"), "run", "--other", "other"]
    done = subprocess.run(words, check=False, cwd=tmp_path, env=ENV, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| bred | " in done.stdout and "Building a candidate takes" in done.stdout
    assert "Pixels equal in plain diffusers: 5 of 5 test pictures." in done.stdout
    assert "bred − bred of other: " in done.stdout and "paired, n=5" in done.stdout
