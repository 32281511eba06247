"""Measures of all answers: a search by one, and others that are stored and shown next to item scores."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import pytest

from kingyo.cli.tables import print_summary
from kingyo.core.types import Evaluation, Item, ItemScore, SetMeasure, Split
from kingyo.errors import KingyoError
from kingyo.merging.recipe import Recipe
from kingyo.search.evolution import BASELINES, MAIN, Journey, Objectives, fixed, read_finalists
from kingyo.search.evolution.scorer import Scorer
from kingyo.search.evolution.set_measures import VERDICT, differences, read_set_values
from kingyo.stats.paired import half_sample_bounds
from kingyo.store import RunStore
from kingyo.views.page import write_report
from kingyo.views.results.summary import summarize
from kingyo.views.statements import compared as compared_on_test
from tests.fake_runs import SPLITS, Model, facts, journey
from tests.fake_runs import begun as plain_run
from tests.tasks.pictures import media


@dataclass(frozen=True, kw_only=True)
class Far:
    """How far the weights are from where all items are right, as answers say: the opposite of the scores."""

    name: str = "far"
    least: float = 0.0

    def features(self, items: Sequence[Item], scores: Sequence[ItemScore]) -> Sequence[float]:
        assert [item.id for item in items] == [each.item for each in scores]
        return [float(each.answer) for each in scores]

    def value(self, features: Sequence[object]) -> float:
        distance = fmean(float(str(each)) for each in features)
        return distance if distance >= self.least else math.nan


def begun(folder: Path) -> RunStore:
    """Begin a run by the measure."""
    store = plain_run(folder)
    store.set_fact("aims", {"tasks": {"": 1.0}, "objectives": [], "by_set": {"": "far"}})
    return store


def by_measure(store: RunStore, model: Model, measure: SetMeasure | None = None, **more: object) -> Journey:
    measure = measure or Far()
    search_run = journey(store, model, **more)  # type: ignore[arg-type]
    measures: dict[str, Sequence[SetMeasure]] = {"": (measure,)}
    objectives = Objectives(by_set={"": measure.name}).with_set_measures(measures)
    return replace(
        search_run,
        stages=[fixed(*[replace(search, objectives=objectives) for search in search_run.first])],
        set_measures=measures,
    )


def distance(store: RunStore, trial: int, split: Split = "test") -> float:
    evaluation = store.evaluation(trial, split)
    assert evaluation is not None
    return float(evaluation.scores[0].answer)


@pytest.mark.parametrize("strategy", ["ga", "cma-es", "mixed-cma-es", "random"])
def test_the_measure_decides_not_the_mean(tmp_path: Path, strategy: str) -> None:
    with begun(tmp_path / "measure") as store:
        by_measure(store, Model(), strategy=strategy).run()
        winner = store.winner(MAIN)
        assert winner is not None
        outcomes = {trial: each.value for trial, each in store.outcomes(MAIN).items()}
        assert outcomes == {trial: distance(store, trial, "fit") for trial in outcomes}
        seen = [each.trial for each in store.summaries("validation") if each.search == MAIN]
        assert distance(store, winner.id) == max(distance(store, each, "validation") for each in seen)
    with begun(tmp_path / "mean") as other:
        journey(other, Model(), strategy=strategy).run()
        mean = other.winner(MAIN)
        assert mean is not None
        assert distance(other, mean.id) < 0.4 < distance(RunStore.read(tmp_path / "measure"), winner.id)


def test_all_validation_items_are_scored_and_no_finalist_is_dropped(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        by_measure(store, Model()).run()
        for split in ("fit", "validation", "test"):
            assert {each.n for each in store.summaries(split)} == {len(SPLITS[split])}


@pytest.mark.slow
@pytest.mark.parametrize("is_asynchronous", [False, True])
def test_an_interrupt_anywhere_does_not_change_the_result(tmp_path: Path, is_asynchronous: bool) -> None:
    model = Model()
    with begun(tmp_path / "whole") as store:
        by_measure(store, model, is_asynchronous=is_asynchronous).run()
        expected = (*facts(store), store.fact("verdict"), store.fact("set measures"))
    for stop_after in range(0, model.asked.total(), 13):
        first, second = Model(stop_after=stop_after), Model()
        folder = tmp_path / f"stopped-{stop_after}"
        with begun(folder) as store, pytest.raises(KeyboardInterrupt):
            by_measure(store, first, is_asynchronous=is_asynchronous).run()
        with RunStore.open(folder) as store:
            by_measure(store, second, is_asynchronous=is_asynchronous).run()
            assert (*facts(store), store.fact("verdict"), store.fact("set measures")) == expected
        assert first.asked + second.asked == model.asked


def test_a_candidate_without_a_value_fails_and_the_search_continues(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        by_measure(store, Model(), Far(least=0.3)).run()
        failed = [each for each in store.summaries("fit") if each.failure]
        assert failed and {each.failure for each in failed} == {"far: no finite value of 8 answers"}
        assert store.status() == "finished"
        winner = store.winner(MAIN)
        assert winner is not None and distance(store, winner.id) > 0.3


def test_a_baseline_without_a_value_ends_the_run_and_can_be_fixed(tmp_path: Path) -> None:
    says = r"baseline 'a'.*far: no finite value of 8 answers.*resume.*evolve"
    with begun(tmp_path / "run") as store:
        with pytest.raises(KingyoError, match=says):
            by_measure(store, Model(), Far(least=1)).run()
        by_measure(store, Model()).run()
        assert store.status() == "finished"


def test_a_verdict_of_an_older_checkout_keeps_its_unit(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        by_measure(store, Model()).run()
        verdict = cast("dict[str, Any]", store.fact("verdict"))
        old = [(one, other, {**row, "test": "bootstrap"}) for one, other, row in verdict["differences"]]
        store.set_fact("verdict", {**verdict, "differences": old})
        texts = [each.lead for each in compared_on_test(summarize(store))]
    assert texts and not any("points" in text for text in texts)


def test_models_are_compared_by_the_measure_on_test(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        by_measure(store, Model()).run()
        winner, verdict, summary = store.winner(MAIN), store.fact(VERDICT), summarize(store)
        assert winner is not None and verdict is not None
        models = [winner, *store.trials(BASELINES)]
        farthest = max(models, key=lambda trial: distance(store, trial.id))
        assert farthest.name == "b", "the corner, which has all items wrong as the bred model has"
        assert summary.best is not None and summary.best.trial == farthest
        assert verdict.choice is not None and verdict.choice.best == farthest.id
        compared = {each.other: each for each in summary.comparisons}
        for trial in store.trials(BASELINES):
            each = compared[str(trial.name)]
            gap = distance(store, winner.id) - distance(store, trial.id)
            assert each.difference.score == pytest.approx(gap)
            assert (each.difference.low, each.difference.high) == pytest.approx((gap, gap))
            assert (each.test, each.difference.n) == ("half-samples", len(SPLITS["test"]))
        values = {each.split: each for each in read_set_values(store, winner)}
        assert set(values) == {"fit", "validation", "test"}
        assert values["test"].value == pytest.approx(distance(store, winner.id))
        finalists = read_finalists(store, MAIN)
        assert all(each.together == each.validation for each in finalists)


class Drawing(Model):
    """A model that answers with images; their bytes are the answers."""

    def __call__(self, recipe: Recipe, split: Split, items: Sequence[str]) -> Evaluation:
        result = super().__call__(recipe, split, items)
        return replace(
            result, scores=tuple(each._replace(media=media(each.answer.encode())) for each in result.scores)
        )


@dataclass(frozen=True, kw_only=True)
class FarInImages(Far):
    """The same, read from the images alone; counts the models that it looks at."""

    seen: Counter[str] = field(default_factory=Counter[str])

    def features(self, items: Sequence[Item], scores: Sequence[ItemScore]) -> Sequence[float]:
        images = [each.media.read() for each in scores if each.media is not None]
        self.seen[str(images)] += 1
        return [float(each) for each in images]


def test_images_of_candidates_are_kept_for_the_measure(tmp_path: Path) -> None:
    measure = FarInImages()
    with begun(tmp_path / "images") as store, begun(tmp_path / "texts") as other:
        with pytest.raises(KeyboardInterrupt):
            by_measure(store, Drawing(stop_after=20), measure).run()
        by_measure(store, Drawing(), measure).run()
        by_measure(other, Model()).run()
        assert facts(store) == facts(other)
        winner = store.winner(MAIN)
        assert winner is not None
        evaluation = store.evaluation(winner.id, "fit")
        assert evaluation is not None and all(each.media is not None for each in evaluation.scores)


TWO = [Item(id=f"{task}/{n}", prompt=f"{task} {n}", answer="", task=task) for task in "ab" for n in range(40)]


def make_evaluation(**right: float) -> Evaluation:
    return Evaluation(
        scores=tuple(
            ItemScore(item.id, float(n % 40 < right[item.task] * 40), str(right[item.task]))
            for n, item in enumerate(TWO)
        )
    )


def test_with_several_tasks_measures_and_mean_scores_are_averaged(tmp_path: Path) -> None:
    objectives = Objectives(tasks={"a": 1.0, "b": 3.0}, by_set={"b": "far"}).with_set_measures(
        {"a": (), "b": (Spread(), Far())}
    )
    scorer = Scorer(objectives, TWO)
    one, other = make_evaluation(a=0.5, b=0.9), make_evaluation(a=0.75, b=0.1)
    assert scorer.observed_means(one) == pytest.approx((0.5, 0.9))
    assert scorer.value(one) == pytest.approx((0.5 + 3 * 0.9) / 4)
    result = {each[:2]: each[2] for each in differences(scorer, {1: one, 2: other, 3: one})}
    assert result[1, 3].p == 1 and result[1, 3].interval.score == 0
    result = result[1, 2]
    assert result.interval.score == pytest.approx((-0.25 + 3 * 0.8) / 4)
    assert result.interval.low < result.interval.score < result.interval.high
    assert result.p < 0.01 and result.interval.n == 80
    assert scorer.is_ahead(one, other) and not scorer.is_ahead(other, one) and not scorer.is_ahead(one, one)
    assert objectives.title == "weighted mean of 2 tasks (b by far)"


# ---- measures that are shown next to item scores, and that no search uses


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


def run_with(store: RunStore, *measures: Spread, model: Model | None = None) -> None:
    replace(journey(store, model or Model()), set_measures={"": measures}).run()


def test_baselines_finalists_and_winners_are_measured_on_validation_and_test(tmp_path: Path) -> None:
    with plain_run(tmp_path / "run") as store:
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
    with plain_run(tmp_path / "with") as one, plain_run(tmp_path / "without") as other:
        run_with(one, Spread(factor=-1000))
        journey(other, Model()).run()
        assert facts(one) == facts(other)


def test_an_interrupted_run_computes_only_the_missing_measures(tmp_path: Path) -> None:
    with plain_run(tmp_path / "run") as store:
        with pytest.raises(KeyboardInterrupt):
            run_with(store, Spread(), model=Model(stop_after=20))
        run_with(store, Spread())
        run_with(store, Broken())
        after = summarize(store).to_json()["winner"]["set_measures"]  # type: ignore[index]
        assert [each["measure"] for each in after] == ["range", "range", "broken", "broken"]


def test_a_measure_that_crashes_costs_no_run_its_winner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with plain_run(tmp_path / "run") as store:
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
