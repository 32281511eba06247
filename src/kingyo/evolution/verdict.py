"""Which model of a run is its best, and how models differ where measures of sets of answers count.

Means of item scores can be compared whenever somebody looks at a run. Measures need the task's code, so what
they say is computed at the end of a run, and stored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, cast

from kingyo.evolution.objectives import Objectives, Scorer
from kingyo.evolution.types import BASELINES
from kingyo.stats import ROUNDING, Interval, PairedDifference
from kingyo.stats.bootstrap import bootstrap_difference
from kingyo.store import RunStore, StoredTrial
from kingyo.types import Evaluation, Split

FACT = "verdict"


@dataclass(frozen=True, kw_only=True)
class SetVerdict:
    """What measures say of the models of a finished run.

    Attributes:
        best: the best one (its id); None where nothing is said.
        differences: two trials (their ids) that were tested -> the first minus the second, on test.
    """

    best: int | None
    differences: Mapping[tuple[int, int], PairedDifference]

    def difference(self, one: int, other: int) -> PairedDifference | None:
        """Return one model minus another (their ids) on test; None where they were not compared."""
        if (one, other) in self.differences:
            return self.differences[one, other]
        found = self.differences.get((other, one))
        if found is None:
            return None
        turned = found.interval
        turned = replace(turned, score=-turned.score, low=-turned.high, high=-turned.low)
        return replace(found, interval=turned)


def read_verdict(store: RunStore) -> SetVerdict | None:
    """Return what a run stores; None before its end, and where no measure counts."""
    stored = cast("dict[str, Any] | None", store.fact(FACT))
    if stored is None:
        return None
    found: dict[tuple[int, int], PairedDifference] = {}
    for one, other, each in stored["differences"]:
        interval = Interval(**each["interval"])
        found[one, other] = PairedDifference(interval=interval, p=each["p"], test=each["test"])
    return SetVerdict(best=stored["best"], differences=found)


def store_verdict(
    store: RunStore, objectives: Objectives, winners: Sequence[StoredTrial], trained: Collection[str]
) -> None:
    """Compare the models of a run that is at its end, and store it.

    Args:
        store: the run, open for writing.
        objectives: of the run, by measures.
        winners: of its searches.
        trained: searches whose candidates were trained on fit.
    """
    baselines = store.trials(BASELINES)
    best = best_trial(store, objectives, winners, baselines, trained)
    ids = [trial.id for trial in (*winners, *baselines)]
    tested = {each: found for each in ids if (found := store.evaluation(each, "test")) and not found.failure}
    found = differences(Scorer(objectives, store.items()["test"]), tested)
    stored = [(*pair, asdict(each)) for pair, each in found.items()]
    store.set_fact(FACT, {"best": best and best.id, "differences": stored})


def differences(scorer: Scorer, tested: Mapping[int, Evaluation]) -> dict[tuple[int, int], PairedDifference]:
    """Compare all pairs of models by what counts, on the items that all were scored on.

    Pairs are left out where no set of answers that is drawn anew has a value of both.

    Args:
        scorer: of the split.
        tested: trial (its id) -> its scores on all items.
    """
    values = {trial: scorer.value(each) or 0.0 for trial, each in tested.items()}
    drawn = {trial: scorer.drawn(each) for trial, each in tested.items()}
    found: dict[tuple[int, int], PairedDifference] = {}
    for one, other in combinations(tested, 2):
        with suppress(ValueError):
            gap, n = values[one] - values[other], len(tested[one].scores)
            found[one, other] = bootstrap_difference(gap, n, drawn[one], drawn[other])
    return found


def best_trial(
    store: RunStore,
    objectives: Objectives,
    winners: Sequence[StoredTrial],
    baselines: Sequence[StoredTrial],
    trained: Collection[str],
) -> StoredTrial | None:
    """Return the best of a run: of the winners of its searches the best on validation, the first of equals.

    It is the best baseline on fit and validation together where that winner does not outdo it there: see
    ``Scorer.outdoes``. Baselines count that met all of validation. None with several objectives, and where a
    winner has not met all of validation.

    Args:
        store, objectives, trained: see ``store_verdict``; all validation is over.
        winners: of the searches, that of the main search first.
        baselines: models to compare with.
    """
    items = store.items()
    found = [store.evaluation(trial.id, "validation") for trial in winners]
    n = len(items["validation"])
    if (
        objectives.names
        or not winners
        or not all(each is not None and len(each.scores) == n for each in found)
    ):
        return None
    scorer = Scorer(objectives, items["validation"])
    bred = winners[_first_of_best([scorer.value(each) or 0.0 for each in found if each is not None])]
    met = [trial for trial in baselines if _n_met(store, trial) == n]
    if not met:
        return bred
    scorer = Scorer(objectives, (*items["fit"], *items["validation"]))
    rows = [_before_test(store, each, trained) for each in met]
    best = _first_of_best([objectives.value(scorer.measured(each)) for each in rows])
    return bred if scorer.outdoes(_before_test(store, bred, trained), rows[best]) else met[best]


def _first_of_best(values: Sequence[float]) -> int:
    return next(place for place, value in enumerate(values) if value >= max(values) - ROUNDING)


def _n_met(store: RunStore, trial: StoredTrial) -> int:
    evaluation = store.evaluation(trial.id, "validation")
    return 0 if evaluation is None else len(evaluation.scores)


def _before_test(store: RunStore, trial: StoredTrial, trained: Collection[str]) -> Evaluation:
    """What was measured of a model on fit and validation; on fit not of one that was trained on it."""
    splits: tuple[Split, ...] = ("validation",) if trial.search in trained else ("fit", "validation")
    found = [store.evaluation(trial.id, split) for split in splits]
    return Evaluation(scores=tuple(score for each in found if each for score in each.scores))
