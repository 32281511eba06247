"""Measures of sets of answers: computed once, stored, shown next to item scores, and unused by searches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kingyo.cli.tables import print_summary
from kingyo.core.types import Item, ItemScore
from kingyo.search.evolution import BASELINES, MAIN
from kingyo.search.evolution.set_measures import read_set_values
from kingyo.stats.paired import half_sample_bounds
from kingyo.store import RunStore
from kingyo.views.page import write_report
from kingyo.views.results.summary import summarize
from tests.fake_runs import SPLITS, Model, facts, journey


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How much answers differ: the range of the scores, times a factor."""

    name: str = "range"
    factor: float = 1.0

    def features(self, items: Sequence[Item], scores: Sequence[ItemScore]) -> Sequence[float]:
        assert [item.id for item in items] == [each.item for each in scores]
        return [each.score * self.factor for each in scores]

    def value(self, features: Sequence[object]) -> float:
        numbers = [float(str(each)) for each in features]
        return max(numbers) - min(numbers)


@dataclass(frozen=True, kw_only=True)
class Broken(Spread):
    name: str = "broken"

    def value(self, features: Sequence[object]) -> float:
        raise RuntimeError("no such net")


def begun(folder: Path) -> RunStore:
    store = RunStore.create(folder)
    store.begin({"status": "running", "name": "small"}, SPLITS)
    return store


def run_with(store: RunStore, *measures: Spread, model: Model | None = None) -> None:
    replace(journey(store, model or Model()), set_measures={"": measures}).run()


def test_baselines_finalists_and_winners_are_measured_on_validation_and_test(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        run_with(store, Spread())
        met = {trial.id for trial in store.trials() if read_set_values(store, trial)}
        for split in ("validation", "test"):
            for summary in store.summaries(split):
                trial = store.trial(summary.trial)
                values = [each for each in read_set_values(store, trial) if each.split == split]
                evaluation = store.evaluation(trial.id, split)
                assert evaluation is not None
                if len(evaluation.scores) < len(SPLITS[split]):
                    assert not values, "a baseline that was dropped in the race has no whole set"
                    continue
                scores = [each.score for each in evaluation.scores]
                assert [(each.measure, each.value, each.n) for each in values] == [
                    ("range", max(scores) - min(scores), len(scores))
                ]
                assert (values[0].low, values[0].high) == half_sample_bounds(scores, Spread().value)
        assert {store.winner(MAIN).id, *(each.id for each in store.trials(BASELINES))} & met  # type: ignore[union-attr]
        assert len(met) < len(store.trials()), "candidates that were not picked are not measured"


def test_a_search_does_not_see_them(tmp_path: Path) -> None:
    with begun(tmp_path / "with") as one, begun(tmp_path / "without") as other:
        run_with(one, Spread(factor=-1000))
        journey(other, Model()).run()
        assert facts(one) == facts(other)


def test_an_interrupted_run_computes_only_the_missing_measures(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        with pytest.raises(KeyboardInterrupt):
            run_with(store, Spread(), model=Model(stop_after=20))
        run_with(store, Spread())
        before = store.fact("set measures")
        run_with(store, Broken())
        after = summarize(store).to_json()["winner"]["set_measures"]  # type: ignore[index]
        assert [each["measure"] for each in after] == ["range", "range", "broken", "broken"]
        assert before is not None


def test_a_measure_that_crashes_costs_no_run_its_winner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with begun(tmp_path / "run") as store:
        run_with(store, Spread(), Broken())
        assert store.status() == "finished"
        summary = summarize(store)
        print_summary(summary)
        shown = capsys.readouterr().out
        assert "Measures of all answers" in shown and "no such net" in " ".join(shown.split())
        assert "Measures of all answers together" in write_report(store).read_text(encoding="utf-8")


def test_the_interval_of_a_mean_is_near_the_normal_interval() -> None:
    values = [float(n % 7) for n in range(700)]
    low, high = half_sample_bounds(values, lambda drawn: sum(map(float, map(str, drawn))) / len(drawn))
    assert low == pytest.approx(3 - 1.96 * 2 / 700**0.5, abs=0.02)
    assert high == pytest.approx(3 + 1.96 * 2 / 700**0.5, abs=0.02)
    assert half_sample_bounds(values, lambda drawn: float(len(drawn))) == (700.0, 700.0)
    assert half_sample_bounds(values, lambda _: float("nan")) == (-math.inf, math.inf)
