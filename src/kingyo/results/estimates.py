"""What models would score on all of fit, from the items that they met: read by show and the report.

A search is told such an estimate when a candidate has been scored. Here it is made anew, from all that is
known by now, with an interval.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kingyo.evolution import BASELINES, Objectives, stored_objectives
from kingyo.io.units import counted
from kingyo.irt import Estimate, Responses
from kingyo.irt.item_groups import divided
from kingyo.screens import appraise
from kingyo.stats import NORMAL, ROUNDING, Interval, interval, percent, weighted_mean
from kingyo.store import RunStore, StoredTrial
from kingyo.types import Item

NEAR = 90  # trials before and after one that it is compared with
LEAST_MET = 4  # items of each group that a trial is expected to meet, else they are estimated together


@dataclass(frozen=True, kw_only=True)
class FitEstimate:
    """A score for all of fit.

    Attributes:
        score: the estimate with its interval; ``n`` is the number of items that it rests on.
        raw: the plain mean over these items; of several tasks their weighted mean.
    """

    score: Interval
    raw: float

    @property
    def beside(self) -> str:
        """Say what stands beside the estimate: ``estimated; 0.0 % on 16 items``."""
        return estimated(self.raw, self.score.n)

    def to_json(self) -> dict[str, object]:
        """Return the estimate, and the raw mean beside it."""
        each = self.score
        raw = {"score": self.raw, "n": each.n}
        return {"score": each.score, "n": each.n, "low": each.low, "high": each.high, "raw": raw}


def estimated(raw: float, n: int) -> str:
    """Say that a score is an estimate, and what was measured."""
    return f"estimated; {percent(raw)} on {counted(n, 'item')}"


def estimate(store: RunStore, trial: StoredTrial) -> FitEstimate | None:
    """Estimate what a trial would score on all of fit.

    The interval holds with 95 % confidence, as far as the trial is like those before and after it. Where
    these trials and the baselines all score the same, it comes from the trial's own items. Items that
    baselines tell apart (``kingyo.irt.item_groups``) are estimated apart.

    Returns:
        The estimate; None where the trial was scored on all items, failed, or was not scored on each task.
    """
    items, objectives = store.items()["fit"], stored_objectives(store)
    found = store.evaluation(trial.id, "fit")
    columns = _columns(items, objectives)
    if found is None or found.failure is not None or len(found.scores) == len(items):
        return None
    scores = {each.item: each.score for each in found.scores}
    met = [[scores[items[i].id] for i in own if items[i].id in scores] for own in columns]
    if not all(met):
        return None
    rows = _rows(store, trial)
    responses = Responses([item.id for item in items])
    for key, row in rows.items():
        responses.add(key, row)
    weights = list(objectives.tasks.values())
    raw = _weighted([sum(own) / len(own) for own in met], weights)
    groups = _groups(store, items, scores) if len(columns) == 1 else []
    if groups:
        columns, weights = groups, [float(len(own)) for own in groups]
    parts = [
        _of_alike([scores[items[i].id] for i in own if items[i].id in scores], len(own))
        if _are_alike(rows.values(), {items[i].id for i in own})
        else _of_estimate(appraise(responses, [trial.id], own)[0])
        for own in columns
    ]
    return FitEstimate(score=_within(weighted_mean(parts, weights)), raw=raw)


def raw_means(store: RunStore, search: str) -> dict[int, float]:
    """Return the plain mean on fit of each trial (its id) that was scored, over the items that it met.

    Of several tasks it is their weighted mean; trials without scores on each of them are left out.
    """
    objectives, items = stored_objectives(store), store.items()["fit"]
    names = [[items[i].id for i in own] for own in _columns(items, objectives)]
    found: dict[int, float] = {}
    for trial, row in store.scores(search, "fit").items():
        met = [[row[name] for name in own if name in row] for own in names]
        if all(met):
            found[trial] = _weighted([sum(own) / len(own) for own in met], list(objectives.tasks.values()))
    return found


def _groups(store: RunStore, items: Sequence[Item], met: Collection[str]) -> list[list[int]]:
    """The places of items that only one baseline solves, or else the best, and of the others.

    Nothing where baselines tell no items apart, or where trials meet too few of a group.
    """
    rows = list(store.scores(BASELINES, "fit").values())
    most = max(map(len, rows), default=0)
    found = divided([row for row in rows if len(row) == most])
    if not found:
        return []
    group_of = {item: number for number, group in enumerate(found) for item in group}
    groups = [
        [i for i, item in enumerate(items) if group_of.get(item.id) == number] for number in range(len(found))
    ]
    others = [i for i, item in enumerate(items) if item.id not in group_of]
    parts = [*groups, others] if others else groups
    least = LEAST_MET * len(items) / len(met)
    is_met = all(len(part) >= least and any(items[i].id in met for i in part) for part in parts)
    return parts if is_met else []


def _columns(items: Sequence[Item], objectives: Objectives) -> list[list[int]]:
    """The places of each task's items."""
    is_one = len(objectives.tasks) == 1
    return [[i for i, item in enumerate(items) if is_one or item.task == name] for name in objectives.tasks]


def _rows(store: RunStore, trial: StoredTrial) -> dict[int, Mapping[str, float]]:
    """Return the scores of the baselines, and of the trials asked for shortly before and after this one."""
    near = store.scores(trial.search, "fit", (trial.id - NEAR, trial.id + NEAR))
    return {**store.scores(BASELINES, "fit"), **near}


def _are_alike(rows: Iterable[Mapping[str, float]], items: Collection[str]) -> bool:
    """Return whether all known scores of these items are equal; at least one is known."""
    scores = [score for row in rows for item, score in row.items() if item in items]
    return max(scores) - min(scores) <= ROUNDING


def _of_estimate(found: Estimate) -> Interval:
    reach = NORMAL.inv_cdf(0.975) * found.error
    low, high = found.score - reach, found.score + reach
    return Interval(score=found.score, n=found.n, low=low, high=high, method="normal")


def _of_alike(known: Sequence[float], n_items: int) -> Interval:
    """Bound the mean over all items by known scores that are all equal.

    It is the interval of the known scores, narrowed by the share of items that are known.
    """
    found, share = interval(known), 1 - len(known) / n_items
    low = found.score - share * (found.score - found.low)
    high = found.score + share * (found.high - found.score)
    return replace(found, low=low, high=high)


def _within(found: Interval) -> Interval:
    """Cut an interval where no mean score can be."""
    return replace(found, low=max(0.0, found.low), high=min(1.0, found.high))


def _weighted(means: Sequence[float], weights: Sequence[float]) -> float:
    return math.fsum(w * mean for w, mean in zip(weights, means, strict=True)) / math.fsum(weights)
