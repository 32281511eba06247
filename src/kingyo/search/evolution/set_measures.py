"""Set measures of models that were scored on all of a split: baselines, finalists and winners.

Searches use item scores only, unless run.yaml makes a set measure count (``Objectives.by_set``). Each value
is computed once, stored, and shown beside the item scores. The differences of models need the task's code,
too, so they are computed at the end of a run and stored as its verdict.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, cast

from kingyo.core.types import SPLITS, Evaluation, Item, ItemScore, SetMeasure, Split
from kingyo.errors import crash
from kingyo.search.evolution.best_of_run import BestOfRun, Lead, best_of_run
from kingyo.search.evolution.objectives import Objectives
from kingyo.search.evolution.scorer import Scorer
from kingyo.search.evolution.types import BASELINES
from kingyo.stats import Groups, Interval, PairedDifference, SampleSize, size_of, with_groups
from kingyo.stats.half_samples import bounds_around, half_sample_bounds, half_sample_difference
from kingyo.store import Fact, RunStore, StoredTrial

READ: tuple[Split, ...] = ("validation", "test")
Key = tuple[str, str, Split]
"""Task, measure and split of a value."""


@dataclass(frozen=True, kw_only=True)
class SetValue(SampleSize):
    """The value of a set measure for one model on one split, with 95% bounds.

    ``task`` is empty for a single task, and for the value that decides the run.
    """

    task: str
    measure: str
    split: Split
    value: float | None = None
    low: float | None = None
    high: float | None = None
    failure: str | None = None


SET_VALUES = Fact("set measures", dict[int, tuple[SetValue, ...]], {})
"""Id of a trial -> its set measures."""


def read_set_values(store: RunStore, trial: StoredTrial) -> tuple[SetValue, ...]:
    """Return the stored set measures of a trial."""
    return store.fact(SET_VALUES).get(trial.id, ())


def measure_sets(
    store: RunStore,
    objectives: Objectives,
    measures: Mapping[str, Sequence[SetMeasure]],
    trials: Iterable[StoredTrial],
) -> None:
    """Compute and store missing set measures of trials with scores on all items of a task in a split.

    The value that decides the run (``Objectives.title``) is computed on fit, too.
    """
    items = store.items()
    scorers = {split: Scorer(objectives, items[split]) for split in SPLITS}
    for trial in trials if any(measures.values()) else ():
        stored = read_set_values(store, trial)
        known: set[Key] = {(value.task, value.measure, value.split) for value in stored}
        new: list[SetValue] = []
        for split in SPLITS if objectives.by_set else READ:
            evaluation = store.evaluation(trial.id, split)
            scores = {} if evaluation is None else {score.item: score for score in evaluation.scores}
            new += _new_values(scorers[split], items[split], scores, measures, split, known)
        if new:
            store.set_fact(SET_VALUES, {**store.fact(SET_VALUES), trial.id: (*stored, *new)})


def _new_values(
    scorer: Scorer,
    items: Sequence[Item],
    scores: Mapping[str, ItemScore],
    measures: Mapping[str, Sequence[SetMeasure]],
    split: Split,
    known: Collection[Key],
) -> list[SetValue]:
    objectives, values = scorer.objectives, list[SetValue]()
    for task, own in measures.items():
        asked = [item for item in items if task in ("", item.task)]
        if asked and all(item.id in scores for item in asked):
            answers = [scores[item.id] for item in asked]
            missing = [each for each in own if _is_missing(task, each.name, split, known, objectives)]
            values += [_measured(each, task, split, asked, answers) for each in missing]
    is_decided = ("", objectives.title, split) in known
    if objectives.by_set and not is_decided and len(scores) == len(items):
        values.append(_deciding(scorer, Evaluation(scores=tuple(scores.values())), split))
    return values


def _measured(
    measure: SetMeasure, task: str, split: Split, items: Sequence[Item], scores: Sequence[ItemScore]
) -> SetValue:
    groups, n = Groups.of(item.group for item in items), len(items)
    try:
        features = measure.features(items, scores)
        value = float(measure.value(features))
        if not math.isfinite(value):
            raise ValueError(f"no finite value of {n} answers")
        low, high = half_sample_bounds(features, measure.value, groups)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a measure of the user's own may raise anything)
        return SetValue(task=task, measure=measure.name, split=split, n=n, failure=crash(error))
    known = SetValue(task=task, measure=measure.name, split=split, n=n, value=value, low=low, high=high)
    return with_groups(known, size_of(n, groups))


def _is_missing(
    task: str, measure: str, split: Split, known: Collection[Key], objectives: Objectives
) -> bool:
    """Return whether a measure of a task is to be computed; not if ``_deciding`` computes it."""
    is_shown = split in READ or objectives.by_set.get(task) == measure
    return is_shown and (task, measure, split) not in known and (task, measure) != ("", objectives.title)


def _deciding(scorer: Scorer, evaluation: Evaluation, split: Split) -> SetValue:
    """Compute the value that decides the run; bounds are infinite if no half of the answers has a value."""
    value = scorer.value(evaluation)
    low, high = bounds_around(value or 0.0, scorer.half_samples(evaluation))
    size, title = scorer.size(evaluation), scorer.objectives.title
    known = SetValue(task="", measure=title, split=split, n=size.n, value=value, low=low, high=high)
    return with_groups(known, size)


VERDICT = "verdict"


@dataclass(frozen=True, kw_only=True)
class SetVerdict:
    """The models of a finished run, compared by set measures."""

    choice: BestOfRun | None
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
    stored = cast("dict[str, Any] | None", store.fact(VERDICT))
    if stored is None:
        return None
    pairs: dict[tuple[int, int], PairedDifference] = {}
    for one, other, row in stored["differences"]:
        interval = Interval(**row["interval"])
        pairs[one, other] = PairedDifference(interval=interval, p=row["p"], test=row["test"])
    return SetVerdict(choice=_choice(stored), differences=pairs)


def _choice(verdict: Mapping[str, Any]) -> BestOfRun | None:
    """Read the choice of a run; older versions stored only the best."""
    stored = verdict.get("choice")
    if stored is not None:
        return BestOfRun(best=stored["best"], leads=tuple(Lead(**lead) for lead in stored["leads"]))
    best: int | None = verdict.get("best")
    return None if best is None else BestOfRun(best=best)


def store_verdict(
    store: RunStore, objectives: Objectives, winners: Sequence[StoredTrial], trained: Collection[str]
) -> None:
    """Compare the models of a run at its end; ``trained``: searches whose candidates learned from fit."""
    baselines = store.trials(BASELINES)
    choice = best_of_run(store, objectives, winners, baselines, trained)
    ids = [trial.id for trial in (*winners, *baselines)]
    evaluations = {trial: store.evaluation(trial, "test") for trial in ids}
    tested = {trial: each for trial, each in evaluations.items() if each and not each.failure}
    pairs = differences(Scorer(objectives, store.items()["test"]), tested)
    stored = [(*pair, asdict(difference)) for pair, difference in pairs.items()]
    store.set_fact(VERDICT, {"choice": choice and asdict(choice), "differences": stored})


def differences(scorer: Scorer, tested: Mapping[int, Evaluation]) -> dict[tuple[int, int], PairedDifference]:
    """Compare all pairs of models by their values on the same items.

    Pairs without a half of the answers that has both values are left out.
    """
    values = {trial: scorer.value(evaluation) or 0.0 for trial, evaluation in tested.items()}
    samples = {trial: scorer.half_samples(evaluation) for trial, evaluation in tested.items()}
    pairs: dict[tuple[int, int], PairedDifference] = {}
    for one, other in combinations(tested, 2):
        with suppress(ValueError):
            gap, size = values[one] - values[other], scorer.size(tested[one])
            difference = half_sample_difference(gap, size.n, samples[one], samples[other])
            pairs[one, other] = replace(difference, interval=with_groups(difference.interval, size))
    return pairs
