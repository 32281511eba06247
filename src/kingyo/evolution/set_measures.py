"""Measures of sets of answers, for models that were scored on all of a split: baselines, finalists, winners.

Searches see item scores only, unless a run.yaml lets a measure count instead (``Objectives.by_set``).
Each value is computed once, stored, and shown beside the item scores.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, cast

from kingyo.errors import crash
from kingyo.evolution.objectives import Objectives, Scorer
from kingyo.stats.bootstrap import bootstrap_bounds, percentiles
from kingyo.store import RunStore, StoredTrial
from kingyo.types import SPLITS, Evaluation, Item, ItemScore, SetMeasure, Split

FACT = "set measures"
READ: tuple[Split, ...] = ("validation", "test")


@dataclass(frozen=True, kw_only=True)
class SetValue:
    """The value of one measure of one model on one split.

    Attributes:
        task: its name; empty where there is one.
        measure: its name.
        split: of the answers.
        n: how many answers there are.
        value: None where it could not be computed.
        low, high: 95 % bounds, from a bootstrap over the items; None where there are none.
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
    """Return what was measured of a trial."""
    stored = cast("Mapping[str, list[dict[str, Any]]]", store.fact(FACT) or {})
    return tuple(SetValue(**each) for each in stored.get(str(trial.id), ()))


def measure_sets(
    store: RunStore,
    objectives: Objectives,
    measures: Mapping[str, Sequence[SetMeasure]],
    trials: Iterable[StoredTrial],
) -> None:
    """Measure and store what is not stored yet, of trials with scores on all items of a task in a split.

    What counts in place of item scores, see ``Objectives.title``, is measured on fit, too.

    Args:
        store: the run, open for writing.
        objectives: of the run.
        measures: name of a task -> its measures.
        trials: baselines, finalists and winners.
    """
    items = store.items()
    scorers = {split: Scorer(objectives, items[split]) for split in SPLITS}
    for trial in trials if any(measures.values()) else ():
        values = list(read_set_values(store, trial))
        known: set[tuple[str, str, Split]] = {(each.task, each.measure, each.split) for each in values}
        for split in SPLITS if objectives.by_set else READ:
            evaluation = store.evaluation(trial.id, split)
            scores = {each.item: each for each in evaluation.scores} if evaluation is not None else {}
            for task, own in measures.items():
                asked = [item for item in items[split] if task in ("", item.task)]
                if asked and all(item.id in scores for item in asked):
                    found = [scores[item.id] for item in asked]
                    new = [each for each in own if _is_missing(task, each.name, split, known, objectives)]
                    values += [_measured(each, task, split, asked, found) for each in new]
            is_new = ("", objectives.title, split) not in known
            if objectives.by_set and is_new and len(scores) == len(items[split]):
                values.append(_counted(scorers[split], Evaluation(scores=tuple(scores.values())), split))
        if len(values) > len(known):
            stored = dict(cast("Mapping[str, object]", store.fact(FACT) or {}))
            store.set_fact(FACT, {**stored, str(trial.id): [asdict(each) for each in values]})


def _measured(
    measure: SetMeasure, task: str, split: Split, items: Sequence[Item], scores: Sequence[ItemScore]
) -> SetValue:
    """The one place where a measure that crashes becomes a value with a reason."""
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
    task: str, measure: str, split: Split, known: Collection[tuple[str, str, Split]], objectives: Objectives
) -> bool:
    """Whether a measure of a task is still to be computed by itself: not if it alone counts."""
    is_wanted = split in READ or objectives.by_set.get(task) == measure
    return is_wanted and (task, measure, split) not in known and (task, measure) != ("", objectives.title)


def _counted(scorer: Scorer, evaluation: Evaluation, split: Split) -> SetValue:
    """What counts of a model on a split. Where no set that is drawn anew has a value, bounds are infinite."""
    low, high = -math.inf, math.inf
    with suppress(ValueError):
        low, high = percentiles(scorer.drawn(evaluation))
    n = len(evaluation.scores)
    return SetValue(
        task="",
        measure=scorer.objectives.title,
        split=split,
        n=n,
        value=scorer.value(evaluation),
        low=low,
        high=high,
    )
