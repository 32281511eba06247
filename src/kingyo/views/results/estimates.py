"""Estimate scores on all of fit for models that were scored on some of its items.

The search receives such an estimate for each candidate. Here it is computed again for show and the report,
from all scores so far, with an interval.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kingyo.core.types import Item
from kingyo.search.evolution import BASELINES, Objectives, stored_objectives
from kingyo.search.evolution.screens import estimate_means
from kingyo.stats import (
    NORMAL,
    ROUNDING,
    Groups,
    Interval,
    interval,
    interval_json,
    size_of,
    weighted_mean,
    with_groups,
)
from kingyo.stats.irt import Estimate, Responses
from kingyo.stats.irt.item_tasks import group_items
from kingyo.store import RunStore, StoredTrial

NEAR = 90  # number of neighbouring trials on each side to compare a trial with
MIN_SCORED = 4  # smallest expected number of scored items per set; otherwise items are not divided


@dataclass(frozen=True, kw_only=True)
class FitEstimate:
    """An estimated score on all of fit.

    Attributes:
        score: the estimate with its interval; ``n`` is the number of scored items.
        raw: the mean over these items; for several tasks the weighted mean.
    """

    score: Interval
    raw: float

    def to_json(self) -> dict[str, object]:
        estimate = interval_json(self.score) or {}
        return {**estimate, "raw": {"score": self.raw, **self.score.size_json}}


def estimate(store: RunStore, trial: StoredTrial) -> FitEstimate | None:
    """Estimate the score of a trial on all of fit.

    Baselines are scored on items of fit drawn at random, so theirs is the interval of these; for the mean of
    all items of fit it does not matter which belong together. That of another trial
    holds with 95% confidence if the trial is similar to those before and after it. If these trials and the
    baselines all have equal scores, it is computed from the trial's own items. Sets of items that baselines
    differ on (``kingyo.stats.irt.item_tasks``) are estimated separately.

    Returns:
        The estimate; None if the trial was scored on all items, failed, or has no score on some task.
    """
    items, objectives = store.items()["fit"], stored_objectives(store)
    evaluation = store.evaluation(trial.id, "fit")
    columns, names = _columns(items, objectives), [item.id for item in items]
    if evaluation is None or evaluation.failure is not None or len(evaluation.scores) == len(items):
        return None
    scores = {score.item: score.score for score in evaluation.scores}
    weights = list(objectives.tasks.values())
    raw = _raw_mean(scores, names, columns, weights)
    if raw is None:
        return None
    if trial.search == BASELINES:
        parts = [
            _narrowed(interval(own), math.sqrt(1 - len(own) / len(column)))  # finite population correction
            for column in columns
            for own in [_scored(scores, names, column)]
        ]
    else:
        parts = _parts(store, items, scores) if len(columns) == 1 else []
        if parts:
            columns, weights = parts, [float(len(positions)) for positions in parts]
        labels = Groups.of(item.group for item in items)
        parts = _intervals(store, trial, names, scores, columns, labels)
    scored = Groups.of(item.group for item in items if item.id in scores)
    score = with_groups(weighted_mean(parts, weights), size_of(len(scores), scored))
    return FitEstimate(score=replace(score, low=max(0.0, score.low), high=min(1.0, score.high)), raw=raw)


def _intervals(
    store: RunStore,
    trial: StoredTrial,
    names: Sequence[str],
    scores: Mapping[str, float],
    columns: Sequence[Sequence[int]],
    groups: Groups | None,
) -> list[Interval]:
    near = store.scores(trial.search, "fit", (trial.id - NEAR, trial.id + NEAR))
    rows = {**store.scores(BASELINES, "fit"), **near}
    responses = Responses(names)
    for key, row in rows.items():
        responses.add(key, row)
    parts: list[Interval] = []
    for column in columns:
        own = _scored(scores, names, column)
        if _are_equal(rows.values(), {names[i] for i in column}):
            parts.append(_narrowed(interval(own), 1 - len(own) / len(column)))
        else:
            parts.append(_interval_from_estimate(estimate_means(responses, [trial.id], column, groups)[0]))
    return parts


def raw_means(store: RunStore, search: str) -> dict[int, float]:
    """Return id of a trial -> its mean on fit over the scored items; for several tasks the weighted mean.

    Trials without a score on some task are left out.
    """
    objectives, items = stored_objectives(store), store.items()["fit"]
    names, columns = [item.id for item in items], _columns(items, objectives)
    weights = list(objectives.tasks.values())
    rows = store.scores(search, "fit").items()
    means = {trial: _raw_mean(row, names, columns, weights) for trial, row in rows}
    return {trial: mean for trial, mean in means.items() if mean is not None}


def _raw_mean(
    row: Mapping[str, float],
    names: Sequence[str],
    columns: Sequence[Sequence[int]],
    weights: Sequence[float],
) -> float | None:
    scored = [_scored(row, names, column) for column in columns]
    if not all(scored):
        return None
    means = [sum(part) / len(part) for part in scored]
    return math.fsum(w * mean for w, mean in zip(weights, means, strict=True)) / math.fsum(weights)


def _scored(row: Mapping[str, float], names: Sequence[str], positions: Sequence[int]) -> list[float]:
    return [row[names[i]] for i in positions if names[i] in row]


def _parts(store: RunStore, items: Sequence[Item], scored: Collection[str]) -> list[list[int]]:
    """Return the positions of each set of items that baselines differ on, and of the other items.

    Nothing if the baselines do not differ or lack items, or if trials get too few items of a set.
    """
    rows = list(store.scores(BASELINES, "fit").values())
    names = group_items([row for row in rows if len(row) == len(items)])
    if not names:
        return []
    sets = [[i for i, item in enumerate(items) if item.id in own] for own in map(set, names)]
    placed = {i for own in sets for i in own}
    others = [i for i in range(len(items)) if i not in placed]
    parts = [*sets, others] if others else sets
    min_size = MIN_SCORED * len(items) / len(scored)
    is_large = all(len(part) >= min_size and any(items[i].id in scored for i in part) for part in parts)
    return parts if is_large else []


def _columns(items: Sequence[Item], objectives: Objectives) -> list[list[int]]:
    is_single = len(objectives.tasks) == 1
    return [
        [i for i, item in enumerate(items) if is_single or item.task == name] for name in objectives.tasks
    ]


def _are_equal(rows: Iterable[Mapping[str, float]], items: Collection[str]) -> bool:
    scores = [score for row in rows for item, score in row.items() if item in items]
    return max(scores) - min(scores) <= ROUNDING


def _interval_from_estimate(estimate: Estimate) -> Interval:
    reach = NORMAL.inv_cdf(0.975) * estimate.error
    low, high = estimate.score - reach, estimate.score + reach
    return Interval(score=estimate.score, n=estimate.n, low=low, high=high, method="normal")


def _narrowed(measured: Interval, factor: float) -> Interval:
    low = measured.score - factor * (measured.score - measured.low)
    high = measured.score + factor * (measured.high - measured.score)
    return replace(measured, low=low, high=high)
