"""The run of the zoo that sees: its models fit, and the search breeds one that answers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kingyo.run.config_file import load_config
from kingyo.run.model_kind import load_options
from kingyo.run.run import Run
from kingyo.types import SPLITS
from tests.cli.forked import run_forked

pytest.importorskip("PIL.Image", reason="needs the extra `vision`")
from kingyo.models.vision_language import LiveVisionLanguageModel

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


def test_the_dry_run_predicts_the_features_that_are_kept(tmp_path: Path) -> None:
    images = json.loads(kingyo(tmp_path, "evolve", RUN, "--dry-run", "--json"))["images"]
    with Run.open(load_config(Path(RUN)), Path(RUN).parent) as run:
        items = [item for split in SPLITS for item in run.items[split]]
        live = LiveVisionLanguageModel.load(run.models.skeleton.path, load_options(run.config))
    prompts = [live.image_prompt(item.prompt, item.media, chat=True) for item in items]
    live.write_about(prompts, max_new_tokens=1)
    assert images["prompts"] == images["encodings"] == live.n_encoded == 850
    assert images["bytes"] == images["memory_bytes"] == live.kept_bytes == 850 * 9 * 128 * 4
    assert images["merged"] == []


@pytest.mark.slow
def test_the_bred_model_answers_what_no_parent_does(tmp_path: Path) -> None:
    kingyo(tmp_path, "evolve", RUN, "--run", "run")
    summary = json.loads(kingyo(tmp_path, "show", "run", "--json"))
    assert summary["winner"]["test"]["score"] >= 0.7
    assert all(each["test"]["score"] <= 0.25 for each in summary["baselines"].values())
