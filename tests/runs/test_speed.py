"""What the dry run measures, and what a failure leaves."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveModel
from kingyo.runs.config import parse_config
from kingyo.runs.cost import Cost, CostPart
from kingyo.runs.dry_run import Speeds, measure_speeds
from kingyo.runs.run import Run
from tests.exported import config_of, make_world


@pytest.fixture
def run(tmp_path: Path) -> Run:
    make_world(tmp_path)
    return Run.open(parse_config(config_of(tmp_path), "run.yaml"), tmp_path, fetch=False)


def test_the_first_candidate_is_timed_on_a_few_items(run: Run) -> None:
    before = torch.get_num_threads()
    speeds = measure_speeds(run)
    assert speeds.untimed is None and speeds.build_seconds and speeds.item_seconds
    assert torch.get_num_threads() == before


def test_a_failure_is_a_reason(run: Run, tmp_path: Path) -> None:
    assert "longer than 1e-06 s" in str(measure_speeds(run, seconds=1e-6).untimed)
    for name in ("base", "ja", "math"):
        model = LiveModel.load(tmp_path / name, LoadOptions())
        next(iter(model.weights.values())).fill_(float("nan"))
        model.module.save_pretrained(tmp_path / name)
    spoilt = Run.open(run.config, tmp_path, fetch=False)
    assert "NaN" in str(measure_speeds(spoilt).untimed)


def test_a_run_takes_its_merges_and_answers() -> None:
    speeds = Speeds(build_seconds=3.0, item_seconds=0.5)
    search = CostPart(stage="search", name="main", split="fit", models=10, items=8)
    test = CostPart(stage="test", name="main", split="test", models=1, items=20)
    assert speeds.run_seconds(Cost(parts=(search, test)), 1) == 10 * (3 + 4) + 13
    assert speeds.run_seconds(Cost(parts=(search, test)), 4) == 10 * (3 + 4) / 4 + 13
    limited = replace(search, models=None, seconds=60.0)
    assert speeds.run_seconds(Cost(parts=(limited, test)), 1) == 60 + 13
    assert Speeds().run_seconds(Cost(parts=(search,)), 1) is None
