"""The best model of a run, and the differences of models if set measures count.

Differences of mean item scores can be computed from a store at any time. Set measures need the task's code,
so their differences are computed at the end of a run and stored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, cast

from kingyo.evolution.objectives import Objectives
from kingyo.evolution.scorer import Scorer
from kingyo.evolution.types import BASELINES
from kingyo.stats import ROUNDING, Interval, PairedDifference
from kingyo.stats.bootstrap import bootstrap_difference
from kingyo.store import RunStore, StoredTrial
from kingyo.types import Evaluation, Split

FACT = "verdict"


@dataclass(frozen=True, kw_only=True)
class SetVerdict:
    """The models of a finished run, compared by set measures.

    Attributes:
        best: id of the best trial; None if there is none.
        differences: ids of two trials -> the first minus the second, on test.
    """

    best: int | None
    differences: Mapping[tuple[int, int], PairedDifference]

    def difference(self, one: int, other: int) -> PairedDifference | None:
        """Return one trial (its id) minus another on test; None if they were not compared."""
        if (one, other) in self.differences:
            return self.differences[one, other]
        opposite = self.differences.get((other, one))
        if opposite is None:
            return None
        interval = opposite.interval
        interval = replace(interval, score=-interval.score, low=-interval.high, high=-interval.low)
        return replace(opposite, interval=interval)


def read_verdict(store: RunStore) -> SetVerdict | None:
    """Return the stored verdict; None before the end of a run, and if no set measure counts."""
    stored = cast("dict[str, Any] | None", store.fact(FACT))
    if stored is None:
        return None
    pairs: dict[tuple[int, int], PairedDifference] = {}
    for one, other, row in stored["differences"]:
        interval = Interval(**row["interval"])
        pairs[one, other] = PairedDifference(interval=interval, p=row["p"], test=row["test"])
    return SetVerdict(best=stored["best"], differences=pairs)


def store_verdict(
    store: RunStore, objectives: Objectives, winners: Sequence[StoredTrial], trained: Collection[str]
) -> None:
    """Compare the models of a run at its end, and store the verdict.

    Args:
        store: the run, open for writing.
        objectives: objectives of the run, with set measures.
        winners: winners of its searches.
        trained: names of searches whose candidates were trained on fit.
    """
    baselines = store.trials(BASELINES)
    best = best_trial(store, objectives, winners, baselines, trained)
    ids = [trial.id for trial in (*winners, *baselines)]
    evaluations = {trial: store.evaluation(trial, "test") for trial in ids}
    tested = {trial: each for trial, each in evaluations.items() if each and not each.failure}
    pairs = differences(Scorer(objectives, store.items()["test"]), tested)
    stored = [(*pair, asdict(difference)) for pair, difference in pairs.items()]
    store.set_fact(FACT, {"best": best and best.id, "differences": stored})


def differences(scorer: Scorer, tested: Mapping[int, Evaluation]) -> dict[tuple[int, int], PairedDifference]:
    """Compare all pairs of models by their values on the same items.

    Pairs without a bootstrap sample that has both values are left out.

    Args:
        scorer: scorer of the split.
        tested: id of a trial -> its evaluation on all items.
    """
    values = {trial: scorer.value(evaluation) or 0.0 for trial, evaluation in tested.items()}
    samples = {trial: scorer.bootstrap(evaluation) for trial, evaluation in tested.items()}
    pairs: dict[tuple[int, int], PairedDifference] = {}
    for one, other in combinations(tested, 2):
        with suppress(ValueError):
            gap, n = values[one] - values[other], len(tested[one].scores)
            pairs[one, other] = bootstrap_difference(gap, n, samples[one], samples[other])
    return pairs


def best_trial(
    store: RunStore,
    objectives: Objectives,
    winners: Sequence[StoredTrial],
    baselines: Sequence[StoredTrial],
    trained: Collection[str],
) -> StoredTrial | None:
    """Return the best trial of a run; ties go to the first.

    That is the winner with the best validation score, unless it does not beat the best baseline on fit and
    validation together (see ``Scorer.beats_baseline``). Only baselines scored on all of validation count.
    None for several objectives, and if a winner was not scored on all of validation.

    Args:
        store, objectives, trained: see ``store_verdict``; validation is complete.
        winners: winners of the searches, the main search first.
        baselines: models to compare with.
    """
    items = store.items()
    evaluations = [store.evaluation(trial.id, "validation") for trial in winners]
    validated = [each for each in evaluations if each and len(each.scores) == len(items["validation"])]
    if objectives.names or not winners or len(validated) < len(winners):
        return None
    scorer = Scorer(objectives, items["validation"])
    bred = winners[_first_best([scorer.value(evaluation) or 0.0 for evaluation in validated])]
    complete = [trial for trial in baselines if _n_validated(store, trial) == len(items["validation"])]
    if not complete:
        return bred
    scorer = Scorer(objectives, (*items["fit"], *items["validation"]))
    rows = [_before_test(store, trial, trained) for trial in complete]
    best = _first_best([objectives.value(scorer.observed_means(row)) for row in rows])
    beats = scorer.beats_baseline(_before_test(store, bred, trained), rows[best])
    return bred if beats else complete[best]


def _first_best(values: Sequence[float]) -> int:
    return next(place for place, value in enumerate(values) if value >= max(values) - ROUNDING)


def _n_validated(store: RunStore, trial: StoredTrial) -> int:
    evaluation = store.evaluation(trial.id, "validation")
    return 0 if evaluation is None else len(evaluation.scores)


def _before_test(store: RunStore, trial: StoredTrial, trained: Collection[str]) -> Evaluation:
    """Return the scores of a model on fit and validation; without fit if it was trained on it."""
    splits: tuple[Split, ...] = ("validation",) if trial.search in trained else ("fit", "validation")
    evaluations = [store.evaluation(trial.id, split) for split in splits]
    return Evaluation(scores=tuple(score for each in evaluations if each for score in each.scores))
