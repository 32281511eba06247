"""What the dry run measures, and what a failure leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveModel
from kingyo.runs.config_file import load_config
from kingyo.runs.cost import Cost, CostPart
from kingyo.runs.run import Run
from kingyo.runs.speed import Speeds, measure_speeds
from tests.cli.conftest import GRADER
from tests.models_on_disk import fine_tuned, llama


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    base = llama(tmp_path / "base")
    fine_tuned(base, tmp_path / "a", seed=1)
    fine_tuned(base, tmp_path / "b", seed=2)
    rows = [
        f'{{"prompt": "{n} + 1 =", "answer": "{n + 1}", "options": ["{n + 1}", "0"]}}\n' for n in range(20)
    ]
    (tmp_path / "items.jsonl").write_text("".join(rows))
    (tmp_path / "grade.py").write_text(GRADER)
    return tmp_path


def opened(folder: Path, task: dict[str, object], **changes: object) -> Run:
    values = {
        "name": "small",
        "base": "base",
        "sources": {"a": "a", "b": "b"},
        "task": {
            "name": "t",
            "data": "items.jsonl",
            "splits": {"fit": 8, "validation": 6, "test": 6},
            **task,
        },
        "merge": {"method": "task_arithmetic", "parameters": {"weight": {"from": 0, "to": 1}}},
        "budget": {"candidates": 4},
        **changes,
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(values))
    return Run.open(load_config(folder / "run.yaml"), folder, fetch=False)


EVEN = {"grader": "grade.py:even", "max_new_tokens": 30}


def test_the_first_candidate_is_timed_on_a_few_items(folder: Path) -> None:
    before = torch.get_num_threads()
    speeds = measure_speeds(opened(folder, EVEN))
    assert speeds.untimed is None and speeds.build_seconds and speeds.item_seconds
    assert torch.get_num_threads() == before


def test_a_failure_is_a_reason(folder: Path) -> None:
    assert "longer than 1e-06 s" in str(measure_speeds(opened(folder, EVEN), seconds=1e-6).untimed)
    for name in ("base", "a", "b"):
        model = LiveModel.load(folder / name, LoadOptions())
        next(iter(model.weights.values())).fill_(float("nan"))
        model.module.save_pretrained(folder / name)
    assert "NaN" in str(measure_speeds(opened(folder, EVEN)).untimed)


def test_a_run_takes_its_merges_and_answers() -> None:
    speeds = Speeds(build_seconds=3.0, item_seconds=0.5)
    search = CostPart(stage="search", name="main", split="fit", models=10, items=8)
    test = CostPart(stage="test", name="main", split="test", models=1, items=20)
    assert speeds.run_seconds(Cost(parts=(search, test)), 1) == 10 * (3 + 4) + 13
    assert speeds.run_seconds(Cost(parts=(search, test)), 4) == 10 * (3 + 4) / 4 + 13
    limited = replace(search, models=None, seconds=60.0)
    assert speeds.run_seconds(Cost(parts=(limited, test)), 1) == 60 + 13
    assert Speeds().run_seconds(Cost(parts=(search,)), 1) is None
