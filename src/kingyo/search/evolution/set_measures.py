"""The best model of a run, and set measures of models that were scored on all of a split.

Each value is computed once, stored, and shown beside the item scores. The differences of models need the
task's code, too, so they are computed at the end of a run and stored as its verdict.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import combinations

from kingyo.core.types import SPLITS, Evaluation, Item, ItemScore, SetMeasure, Split
from kingyo.errors import crash
from kingyo.search.evolution.objectives import Objectives
from kingyo.search.evolution.scorer import Scorer
from kingyo.search.evolution.types import BASELINES
from kingyo.stats import ROUNDING, Groups, PairedDifference, SampleSize, size_of, with_groups
from kingyo.stats.paired import bounds_around, half_sample_bounds, half_sample_difference
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
    is_shown = split in READ or objectives.by_set.get(task) == measure
    return is_shown and (task, measure, split) not in known and (task, measure) != ("", objectives.title)


def _deciding(scorer: Scorer, evaluation: Evaluation, split: Split) -> SetValue:
    """Compute the value that decides the run; bounds are infinite if no half of the answers has a value."""
    value = scorer.value(evaluation)
    low, high = bounds_around(value or 0.0, scorer.half_samples(evaluation))
    size, title = scorer.size(evaluation), scorer.objectives.title
    known = SetValue(task="", measure=title, split=split, n=size.n, value=value, low=low, high=high)
    return with_groups(known, size)


@dataclass(frozen=True, kw_only=True)
class Lead(SampleSize):
    """One model (its trial) compared with another before test, on the items that both answered.

    ``lead`` is the value of the first minus that of the second; if it ``is_clear``, the first is preferred.
    """

    trial: int
    over: int
    lead: float
    is_clear: bool


@dataclass(frozen=True, kw_only=True)
class BestOfRun:
    """The best of a run (id of its trial), and the comparisons that decided, in order."""

    best: int
    leads: tuple[Lead, ...] = ()


Differences = tuple[tuple[int, int, PairedDifference], ...]
"""One trial, another, and the difference of the two."""


@dataclass(frozen=True, kw_only=True)
class SetVerdict:
    """The models of a finished run, compared by set measures on test."""

    choice: BestOfRun | None
    differences: Differences

    def difference(self, one: int, other: int) -> PairedDifference | None:
        for first, second, found in self.differences:
            if (first, second) == (one, other):
                return found
            if (second, first) == (one, other):
                interval = found.interval
                opposite = replace(interval, score=-interval.score, low=-interval.high, high=-interval.low)
                return replace(found, interval=opposite)
        return None


VERDICT = Fact("verdict", SetVerdict)


def store_verdict(
    store: RunStore, objectives: Objectives, winners: Sequence[StoredTrial], trained: Collection[str]
) -> None:
    baselines = store.trials(BASELINES)
    choice = best_of_run(store, objectives, winners, baselines, trained)
    ids = [trial.id for trial in (*winners, *baselines)]
    evaluations = {trial: store.evaluation(trial, "test") for trial in ids}
    tested = {trial: each for trial, each in evaluations.items() if each and not each.failure}
    pairs = differences(Scorer(objectives, store.items()["test"]), tested)
    store.set_fact(VERDICT, SetVerdict(choice=choice, differences=pairs))


def differences(scorer: Scorer, tested: Mapping[int, Evaluation]) -> Differences:
    """Compare all pairs of models on the same items, unless no half of the answers has both values."""
    values = {trial: scorer.value(evaluation) or 0.0 for trial, evaluation in tested.items()}
    samples = {trial: scorer.half_samples(evaluation) for trial, evaluation in tested.items()}
    pairs: list[tuple[int, int, PairedDifference]] = []
    for one, other in combinations(tested, 2):
        with suppress(ValueError):
            gap, size = values[one] - values[other], scorer.size(tested[one])
            difference = half_sample_difference(gap, size.n, samples[one], samples[other])
            interval = with_groups(difference.interval, size)
            pairs.append((one, other, replace(difference, interval=interval)))
    return tuple(pairs)


def choose_best(
    scorer: Scorer, winners: Mapping[int, Evaluation], baselines: Mapping[int, Evaluation]
) -> BestOfRun:
    """Choose among models by their scores on fit and validation, by the id of their trial.

    A winner of a search is the best of many candidates and looks better than it is, so each step takes a lead
    of more than a standard error over all items that both models answered, paired by item:

    1. The bred model, unless winners of controls are ahead of it; then the one with the largest lead.
    2. The best baseline, unless that winner beats it (``Scorer.beats_baseline``); ties go to the first.
    """
    bred, *controls = winners
    leads = [_lead(scorer, winners, control, bred) for control in controls]
    best = max((each for each in leads if each.is_clear), key=lambda each: each.lead, default=None)
    chosen = bred if best is None else best.trial
    if not baselines:
        return BestOfRun(best=chosen, leads=tuple(leads))
    values = {trial: scorer.objectives.value(scorer.observed_means(own)) for trial, own in baselines.items()}
    known = next(trial for trial, value in values.items() if value >= max(values.values()) - ROUNDING)
    rows = {chosen: winners[chosen], known: baselines[known]}
    leads.append(_lead(scorer, rows, chosen, known, is_clear=scorer.beats_baseline(*rows.values())))
    return BestOfRun(best=chosen if leads[-1].is_clear else known, leads=tuple(leads))


def _lead(
    scorer: Scorer, rows: Mapping[int, Evaluation], trial: int, over: int, *, is_clear: bool | None = None
) -> Lead:
    lead, shared = scorer.lead(rows[trial], rows[over])
    is_clear = scorer.is_ahead(rows[trial], rows[over]) if is_clear is None else is_clear
    compared = Lead(trial=trial, over=over, lead=lead, n=len(shared), is_clear=is_clear)
    return with_groups(compared, size_of(len(shared), scorer.groups(shared)))


def best_of_run(
    store: RunStore,
    objectives: Objectives,
    winners: Sequence[StoredTrial],
    baselines: Sequence[StoredTrial],
    trained: Collection[str],
) -> BestOfRun | None:
    """Choose the best trial of a run; only baselines that were scored on all of validation count.

    The bred model is the first winner. Only validation counts for searches in ``trained``, which learned from
    fit. None for several objectives, and if a winner was not scored on all of validation.
    """
    items = store.items()

    def is_validated(trial: StoredTrial) -> bool:
        evaluation = store.evaluation(trial.id, "validation")
        return evaluation is not None and len(evaluation.scores) == len(items["validation"])

    def before_test(trial: StoredTrial) -> Evaluation:
        splits: tuple[Split, ...] = ("validation",) if trial.search in trained else ("fit", "validation")
        evaluations = [store.evaluation(trial.id, split) for split in splits]
        return Evaluation(scores=tuple(score for each in evaluations if each for score in each.scores))

    if objectives.names or not winners or not all(map(is_validated, winners)):
        return None
    return choose_best(
        Scorer(objectives, (*items["fit"], *items["validation"])),
        {trial.id: before_test(trial) for trial in winners},
        {trial.id: before_test(trial) for trial in filter(is_validated, baselines)},
    )
