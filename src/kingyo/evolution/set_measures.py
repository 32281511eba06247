"""Set measures of models that were scored on all of a split: baselines, finalists and winners.

Searches use item scores only, unless run.yaml makes a set measure count (``Objectives.by_set``). Each value
is computed once, stored, and shown beside the item scores.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, cast

from kingyo.errors import crash
from kingyo.evolution.objectives import Objectives
from kingyo.evolution.scorer import Scorer
from kingyo.stats.bootstrap import bootstrap_bounds, percentiles
from kingyo.store import RunStore, StoredTrial
from kingyo.types import SPLITS, Evaluation, Item, ItemScore, SetMeasure, Split

FACT = "set measures"
READ: tuple[Split, ...] = ("validation", "test")
Key = tuple[str, str, Split]
"""Task, measure and split of a value."""


@dataclass(frozen=True, kw_only=True)
class SetValue:
    """The value of a set measure for one model on one split.

    Attributes:
        task: its name; empty for a single task, and for the value that decides the run.
        measure: its name.
        split: split of the answers.
        n: number of answers.
        value: None if it could not be computed.
        low, high: 95 % bounds, by a bootstrap over the items; None without a value.
        failure: why there is no value.
    """

    task: str
    measure: str
    split: Split
    n: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    failure: str | None = None


def read_set_values(store: RunStore, trial: StoredTrial) -> tuple[SetValue, ...]:
    """Return the stored set measures of a trial."""
    stored = cast("Mapping[str, list[dict[str, Any]]]", store.fact(FACT) or {})
    return tuple(SetValue(**row) for row in stored.get(str(trial.id), ()))


def measure_sets(
    store: RunStore,
    objectives: Objectives,
    measures: Mapping[str, Sequence[SetMeasure]],
    trials: Iterable[StoredTrial],
) -> None:
    """Compute and store missing set measures of trials with scores on all items of a task in a split.

    The value that decides the run (``Objectives.title``) is computed on fit, too.

    Args:
        store: the run, open for writing.
        objectives: objectives of the run.
        measures: name of a task -> its set measures.
        trials: baselines, finalists and winners.
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
            fact = dict(cast("Mapping[str, object]", store.fact(FACT) or {}))
            store.set_fact(FACT, {**fact, str(trial.id): [asdict(value) for value in (*stored, *new)]})


def _new_values(
    scorer: Scorer,
    items: Sequence[Item],
    scores: Mapping[str, ItemScore],
    measures: Mapping[str, Sequence[SetMeasure]],
    split: Split,
    known: Collection[Key],
) -> list[SetValue]:
    """Compute the missing set measures of a trial on a split."""
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
    """Compute a set measure; a crash becomes a value with a reason."""
    n = len(items)
    try:
        features = measure.features(items, scores)
        value = float(measure.value(features))
        if not math.isfinite(value):
            raise ValueError(f"no finite value of {n} answers")
        low, high = bootstrap_bounds(features, measure.value)
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a measure of the user's own may raise anything)
        return SetValue(task=task, measure=measure.name, split=split, n=n, failure=crash(error))
    return SetValue(task=task, measure=measure.name, split=split, n=n, value=value, low=low, high=high)


def _is_missing(
    task: str, measure: str, split: Split, known: Collection[Key], objectives: Objectives
) -> bool:
    """Return whether a measure of a task is to be computed; not if ``_deciding`` computes it."""
    is_shown = split in READ or objectives.by_set.get(task) == measure
    return is_shown and (task, measure, split) not in known and (task, measure) != ("", objectives.title)


def _deciding(scorer: Scorer, evaluation: Evaluation, split: Split) -> SetValue:
    """Compute the value that decides the run; bounds are infinite if no bootstrap sample has a value."""
    low, high = -math.inf, math.inf
    with suppress(ValueError):
        low, high = percentiles(scorer.bootstrap(evaluation))
    return SetValue(
        task="",
        measure=scorer.objectives.title,
        split=split,
        n=len(evaluation.scores),
        value=scorer.value(evaluation),
        low=low,
        high=high,
    )
