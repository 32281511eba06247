"""The run of the zoo that sees: its models fit, and the search breeds one that answers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.forked import run_forked

pytest.importorskip("PIL.Image", reason="needs the extra `vision`")
ROOT = Path(__file__).parents[2]
RUN = str(ROOT / "examples" / "sight" / "run.yaml")
ENV = {**os.environ, "COLUMNS": "110", "OMP_NUM_THREADS": "1"}


def kingyo(folder: Path, *arguments: str) -> str:
    done = run_forked(arguments, folder, ENV)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_models_fit_together(tmp_path: Path) -> None:
    dry_run = json.loads(kingyo(tmp_path, "evolve", RUN, "--run", "run", "--dry-run", "--json"))
    assert dry_run["items"] == {"fit": 200, "validation": 150, "test": 500, "duplicates": 0, "unused": 0}
    assert dry_run["first_recipe"]["frame"].endswith("zoo/sight/see-en")
    assert dry_run["baselines"] == ["base", "see-en", "ja", "poem", "sort", "uniform"]


@pytest.mark.slow
def test_the_bred_model_answers_what_no_parent_does(tmp_path: Path) -> None:
    kingyo(tmp_path, "evolve", RUN, "--run", "run")
    summary = json.loads(kingyo(tmp_path, "show", "run", "--json"))
    assert summary["winner"]["test"]["score"] >= 0.7
    assert all(each["test"]["score"] <= 0.25 for each in summary["baselines"].values())
