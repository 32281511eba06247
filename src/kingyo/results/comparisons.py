"""Compare models of a run, paired by item."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kingyo.evolution import stored_objectives
from kingyo.evolution.set_measures import read_verdict
from kingyo.results.model_result import STATISTICS_SEED, ModelResult, groups_by_task, scores_by_task
from kingyo.stats import Interval, PairedDifference, interval_json, paired_difference, with_groups
from kingyo.store import RunStore
from kingyo.types import Evaluation, Split


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """A model minus another model, over the same test items.

    Attributes:
        other: name of the other model.
        difference: mean paired difference with its interval.
        p: two-sided p-value that the two are equally good.
        test: McNemar's exact test for one task scored 0 or 1, or Student's if its items are in groups; the
            level at which Gaffke's interval excludes 0 otherwise; half-samples if set measures count, whose
            difference this is then; bootstrap in runs of an older checkout.
        is_alike: whether both gave the same answer to every item, so that they may be the same model.
    """

    other: str
    difference: Interval
    p: float
    test: Literal["mcnemar", "gaffke", "half-samples", "student", "bootstrap"]
    is_alike: bool = False

    @property
    def verdict(self) -> Literal["better", "worse", "open"]:
        """Say what it shows: nothing unless the interval leaves out 0, as it does where p <= 0.05."""
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "open"

    def to_json(self) -> dict[str, object]:
        numbers = interval_json(self.difference) or {}
        return {**numbers, "p": self.p, "test": self.test, "alike": self.is_alike}


def compare_on_test(
    store: RunStore, model: ModelResult, others: Sequence[ModelResult]
) -> tuple[PairedComparison, ...]:
    """Compare a model with others on the test items, by scores or by the stored set measures.

    Models without a test score are left out; the result is empty if the model has none.
    """
    own = None if model.test is None else store.evaluation(model.trial.id, "test")
    if own is None:
        return ()
    objectives = stored_objectives(store)
    verdict = read_verdict(store) if objectives.by_set else None
    comparisons: list[PairedComparison] = []
    for other in others:
        evaluation = store.evaluation(other.trial.id, "test") if other.test else None
        if evaluation is None:
            continue
        if not objectives.by_set:
            difference = _difference(own, evaluation, objectives.tasks, store.groups())
        else:
            difference = verdict.difference(model.trial.id, other.trial.id) if verdict else None
        if difference is not None:
            comparisons.append(
                PairedComparison(
                    other=other.name,
                    difference=difference.interval,
                    p=difference.p,
                    test=difference.test,
                    is_alike=_answers(own) == _answers(evaluation),
                )
            )
    return tuple(comparisons)


def _difference(
    own: Evaluation, other: Evaluation, weights: Mapping[str, float], labels: Mapping[str, str]
) -> PairedDifference:
    one, two = (scores_by_task(evaluation, weights) for evaluation in (own, other))
    pairs = [(one[task], two[task]) for task in weights]
    groups = list(groups_by_task(own, weights, labels).values())
    return paired_difference(pairs, list(weights.values()), STATISTICS_SEED, groups=groups)


def _answers(evaluation: Evaluation) -> dict[str, tuple[object, ...]]:
    """Return item -> its score and answer, with the image."""
    return {score.item: score[1:] for score in evaluation.scores}


def gap_to_test(model: ModelResult, split: Split) -> Interval | None:
    """Return a model's score on fit or validation minus its score on test; None if one is unknown.

    An interval above 0 means that picking by this split most likely biased its score. For fit, use it only
    if the model was scored on all items: items that a screen chose are harder or easier than others. The
    items differ, so the two scores are independent: square-and-add (Newcombe 1998, Statistics in Medicine
    17:873, method 10; for any two intervals Zou & Donner 2008). ``n`` is that of the smaller split.
    """
    chosen, test = model.on(split), model.test
    if chosen is None or test is None:
        return None
    difference, smaller = chosen.score - test.score, min(chosen, test, key=lambda each: each.n)
    bounds = Interval(
        score=difference,
        n=smaller.n,
        low=difference - math.hypot(chosen.score - chosen.low, test.high - test.score),
        high=difference + math.hypot(chosen.high - chosen.score, test.score - test.low),
        method="newcombe",
    )
    return with_groups(bounds, smaller)
