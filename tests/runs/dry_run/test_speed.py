"""What the dry run measures: which settings, on which items, and what a failure leaves."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from kingyo.cli.dry_run import speed_lines
from kingyo.models import language_model
from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveModel
from kingyo.runs.config_file import load_config
from kingyo.runs.dry_run import Cost, CostPart, Speed, Speeds, measure_speeds, speed
from kingyo.runs.run import Run
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


@pytest.fixture
def two_threads() -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


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


def test_dtypes_and_threads_are_measured(folder: Path, two_threads: None) -> None:
    speeds = measure_speeds(opened(folder, EVEN))
    assert speeds.reason is None
    settings = [(each.dtype, each.threads) for each in speeds.measured]
    assert settings[:2] == [("float32", 1), ("bfloat16", 1)], "the run's own are first"
    assert [threads for _, threads in settings[2:]] == [2]
    assert speeds.items == 8, "a batch, or all items of fit"
    assert all(each.answers_per_second > 0 for each in speeds.measured)
    assert torch.get_num_threads() == 2, "as before"


def test_the_settings_of_the_run_come_first(folder: Path) -> None:
    run = opened(folder, EVEN, merge={"method": "linear", "dtype": "float16"}, threads=1, batch_size=2)
    speeds = measure_speeds(run)
    assert [each.dtype for each in speeds.measured] == ["float16", "float32", "bfloat16"]
    assert speeds.items == 2


def test_nothing_is_graded_and_answers_are_short(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GRADED", str(tmp_path / "graded"))
    lengths: list[int] = []
    decode = language_model.decode

    def recorded(*given, limit: int, **options) -> list[list[int]]:
        lengths.append(limit)
        return decode(*given, limit=limit, **options)

    monkeypatch.setattr(language_model, "decode", recorded)
    speeds = measure_speeds(opened(folder, EVEN))
    assert speeds.new_tokens == 4 and set(lengths) == {4, 30}, "whole answers tell the time of a run"
    assert not (tmp_path / "graded").exists()


def test_choices_are_measured(folder: Path) -> None:
    speeds = measure_speeds(opened(folder, {"choices": "options", "grader": "choice"}))
    assert speeds.reason is None
    assert len(speeds.measured) >= 2
    assert speeds.new_tokens is None


def test_a_failure_is_a_reason(folder: Path) -> None:
    run = opened(folder, EVEN)
    model = LiveModel.load(folder / "base", LoadOptions())
    next(iter(model.weights.values())).fill_(float("nan"))
    model.module.save_pretrained(folder / "base")
    speeds = measure_speeds(run)
    assert speeds.measured == ()
    assert speeds.reason is not None
    assert "NaN" in speeds.reason


def test_a_task_that_exits_is_a_reason(folder: Path) -> None:
    (folder / "own.py").write_text(EXITING)
    speeds = measure_speeds(opened(folder, {"kind": "own.py:Exiting", **EVEN}))
    assert (speeds.measured, speeds.reason) == ((), "SystemExit: 3")


def test_a_time_limit_is_a_reason(folder: Path) -> None:
    speeds = measure_speeds(opened(folder, EVEN), seconds=1e-6)
    assert speeds.measured == ()
    assert speeds.reason is not None
    assert "longer than 1e-06 s" in speeds.reason


def speeds_of(*rates: tuple[str, int, float], reason: str | None = None) -> Speeds:
    measured = tuple(Speed(dtype=dtype, threads=n, answers_per_second=rate) for dtype, n, rate in rates)
    return Speeds(items=4, new_tokens=4, measured=measured, reason=reason)


def test_the_plan_says_what_is_faster() -> None:
    slower = speeds_of(("float32", 1, 3.1), ("bfloat16", 1, 4.4), ("bfloat16", 2, 6.2))
    assert list(speed_lines(slower)) == [
        "speed: merge.dtype: bfloat16 and threads: 2 would be about 2.0 times as fast, but bfloat16 rounds "
        "all weights (answers per second with at most 4 tokens each: float32 3.1, bfloat16 4.4 with 1 "
        "thread; bfloat16 6.2 with 2 threads)",
    ]
    for rates, verdict in (
        (
            [("float32", 1, 3.1), ("bfloat16", 1, 3.5)],
            "keep float32 with 1 thread; nothing is clearly faster",
        ),
        ([("float32", 1, 3.1)], "only float32 with 1 thread was measured"),
    ):
        (line,) = speed_lines(speeds_of(*rates))
        assert line.startswith(f"speed: {verdict} (answers")


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


def test_whole_answers_of_the_first_candidate_are_timed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measure_speeds(opened(folder, EVEN))
    assert whole.untimed is None and not whole.is_longest
    assert whole.build_seconds and whole.answer_seconds
    monkeypatch.setattr(speed, "_FULL_SECONDS", 1e-9)
    longest = measure_speeds(opened(folder, {**EVEN, "max_new_tokens": 3000}))
    assert longest.is_longest and longest.answer_seconds


def test_the_plan_says_what_was_not_measured() -> None:
    assert list(speed_lines(Speeds(reason="no weights"))) == ["speed not measured: no weights"]
    partial = speeds_of(("float32", 1, 3.1), reason="too long")
    assert list(speed_lines(partial))[1] == "speed of other settings not measured: too long"
