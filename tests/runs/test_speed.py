"""What the dry run measures: on which items, and what a failure leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from kingyo.models import language_model
from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveModel
from kingyo.runs import speed
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


EXITING = """
class Exiting:
    def __init__(self, name, settings, splits, folder):
        self.name, self.splits = name, splits

    def items(self, split):
        return self.splits[split]

    def score(self, model, items):
        raise SystemExit(3)
"""


def test_nothing_is_graded(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADED", str(tmp_path / "graded"))
    lengths: list[int] = []
    decode = language_model.decode

    def recorded(*given, limit: int, **options) -> list[list[int]]:
        lengths.append(limit)
        return decode(*given, limit=limit, **options)

    monkeypatch.setattr(language_model, "decode", recorded)
    before = torch.get_num_threads()
    speeds = measure_speeds(opened(folder, EVEN))
    assert set(lengths) == {4, 30}, "whole answers tell the time of a run"
    assert speeds.untimed is None and not speeds.is_longest
    assert speeds.build_seconds and speeds.answer_seconds
    assert not (tmp_path / "graded").exists()
    assert torch.get_num_threads() == before


def test_choices_are_measured(folder: Path) -> None:
    speeds = measure_speeds(opened(folder, {"choices": "options", "grader": "choice"}))
    assert speeds.untimed is None and speeds.answer_seconds


def test_answers_that_take_too_long_count_as_the_longest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "_FULL_SECONDS", 1e-9)
    longest = measure_speeds(opened(folder, {**EVEN, "max_new_tokens": 3000}))
    assert longest.is_longest and longest.answer_seconds


def test_a_failure_is_a_reason(folder: Path) -> None:
    for name in ("base", "a", "b"):
        model = LiveModel.load(folder / name, LoadOptions())
        next(iter(model.weights.values())).fill_(float("nan"))
        model.module.save_pretrained(folder / name)
    assert "NaN" in str(measure_speeds(opened(folder, EVEN)).untimed)


def test_a_task_that_exits_is_a_reason(folder: Path) -> None:
    (folder / "own.py").write_text(EXITING)
    speeds = measure_speeds(opened(folder, {"kind": "own.py:Exiting", **EVEN}))
    assert speeds == Speeds(untimed="SystemExit: 3")


def test_a_time_limit_is_a_reason(folder: Path) -> None:
    assert "longer than 1e-06 s" in str(measure_speeds(opened(folder, EVEN), seconds=1e-6).untimed)


def test_a_run_takes_its_merges_and_answers() -> None:
    speeds = Speeds(build_seconds=3.0, answer_seconds=0.5)
    search = CostPart(stage="search", name="main", split="fit", models=10, items=8)
    test = CostPart(stage="test", name="main", split="test", models=1, items=20)
    trained = CostPart(stage="controls", name="trained", split="fit", models=1, items=8)
    assert speeds.run_seconds(Cost(parts=(search, test)), 1) == 10 * (3 + 4) + 13
    assert speeds.run_seconds(Cost(parts=(search, test)), 4) == 10 * (3 + 4) / 4 + 13
    assert speeds.run_seconds(Cost(parts=(search, trained)), 1) == 2 * 70 + 7, "training takes as long"
    limited = replace(search, models=None, seconds=60.0)
    assert speeds.run_seconds(Cost(parts=(limited, test)), 1) == 60 + 13
    assert Speeds().run_seconds(Cost(parts=(search,)), 1) is None
