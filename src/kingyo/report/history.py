"""How a search went, trial by trial: every fit score, the best so far, the mean of each batch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from kingyo.evolution import BASELINES, stored_aims
from kingyo.report import wording
from kingyo.results.estimates import raw_means
from kingyo.results.summary import read_entry
from kingyo.stats import Interval
from kingyo.store import EvaluationRow, RunStore, StoredTrial


@dataclass(frozen=True, kw_only=True)
class Point:
    """One trial of a search that ended on the fit split.

    Attributes:
        trial: as stored.
        score: what its strategy was told: its mean, or an estimate where ``is_partial``; None for a failure.
        n: items that it was scored on.
        failure: its reason, or None.
        is_partial: only some of the items were scored.
        raw: the plain mean over the items that were scored; None for a failure.
    """

    trial: StoredTrial
    score: float | None
    n: int
    failure: str | None
    is_partial: bool = False
    raw: float | None = None

    @property
    def number(self) -> int:
        """The trial's number within its search."""
        return self.trial.asked.number


@dataclass(frozen=True, kw_only=True)
class Record:
    """A trial that was better than all before it.

    Attributes:
        number: of the trial within its search.
        score: what its strategy was told, as in ``Point``.
        fit: the same with its interval; None where only some of the items were scored, since their plain mean
            is not what is compared.
        raw, n: that mean, and over how many items.
        unit: of the score.
    """

    number: int
    score: float
    fit: Interval | None
    raw: float
    n: int
    unit: wording.Unit = wording.PERCENT

    @property
    def text(self) -> str:
        """The score with its interval, or as an estimate; of most measures there is no interval on fit."""
        if self.fit is not None:
            return self.unit.bounded(self.fit)
        is_estimate = self.unit.measure is None
        return wording.estimated(self.score, self.raw, self.n) if is_estimate else self.unit.text(self.score)


@dataclass(frozen=True, kw_only=True)
class History:
    """One search on the fit split.

    Attributes:
        name, description: as stored.
        points: the trials that ended, in the order of asking.
        records: the improvements.
        build_seconds, score_seconds: what its evaluations cost, on all splits.
        unit: of its scores.
    """

    name: str
    description: Mapping[str, object]
    points: tuple[Point, ...]
    records: tuple[Record, ...]
    build_seconds: float
    score_seconds: float
    unit: wording.Unit = wording.PERCENT

    @property
    def given(self) -> int:
        """How many of the first trials were given to the search, as paths to begin with."""
        n = self.description.get("given", 0)
        return n if isinstance(n, int) else 0

    @property
    def strategy(self) -> str:
        """The strategy's name, as the search describes itself."""
        return str(self.description.get("strategy", self.name))

    @property
    def failures(self) -> Counter[str]:
        """How often each reason of failure occurred."""
        return Counter(point.failure for point in self.points if point.failure is not None)

    @cached_property
    def by_number(self) -> dict[int, Point]:
        """The trials by their number."""
        return {point.number: point for point in self.points}

    @property
    def measured_records(self) -> tuple[Interval, ...]:
        """The intervals of the records, where all of them were scored on all items; else none."""
        fits = tuple(record.fit for record in self.records if record.fit is not None)
        return fits if len(fits) == len(self.records) else ()

    @property
    def sizes(self) -> list[int]:
        """How many items each trial that did not fail was scored on."""
        return [point.n for point in self.points if point.failure is None]

    def batches(self) -> list[tuple[float, float]]:
        """Return place (mean number of trials so far) and mean score of each batch with several scores."""
        groups: dict[int, list[Point]] = {}
        for point in self.points:
            if point.score is not None:
                groups.setdefault(point.trial.batch, []).append(point)
        return [(_mean([p.number + 1 for p in g]), _mean(_scores(g))) for g in groups.values() if len(g) > 1]

    def batch_of(self, trial: StoredTrial) -> list[Point]:
        """Return the trials that were asked for together with this one."""
        return [point for point in self.points if point.trial.batch == trial.batch]


def read_histories(store: RunStore) -> dict[str, History]:
    """Read all searches but the baselines, in the order of their declaration."""
    lines = {line.trial: line for line in store.summaries("fit")}
    costs = [line for split in ("fit", "validation", "test") for line in store.summaries(split)]
    return {
        name: _read_history(store, name, description, lines, [c for c in costs if c.search == name])
        for name, description in store.searches().items()
        if name != BASELINES
    }


def _read_history(
    store: RunStore,
    name: str,
    description: Mapping[str, object],
    lines: Mapping[int, EvaluationRow],
    costs: Sequence[EvaluationRow],
) -> History:
    ended = [(trial, lines[trial.id]) for trial in store.trials(name) if trial.id in lines]
    raw, unit = raw_means(store, name), unit_of(store)
    points = tuple(
        Point(
            trial=trial,
            score=line.value,
            n=line.n,
            failure=line.failure,
            is_partial=line.is_partial,
            raw=None if line.failure is not None else raw.get(trial.id),
        )
        for trial, line in ended
    )
    return History(
        name=name,
        description=description,
        points=points,
        records=tuple(replace(each, unit=unit) for each in _records(store, points)),
        build_seconds=sum(cost.build_seconds for cost in costs),
        score_seconds=sum(cost.score_seconds for cost in costs),
        unit=unit,
    )


def unit_of(store: RunStore) -> wording.Unit:
    """Return the unit of what a run chooses by."""
    aims = stored_aims(store)
    return wording.Unit(measure=aims.title if aims.by_set else None)


def _records(store: RunStore, points: Sequence[Point]) -> list[Record]:
    found: list[Record] = []
    best = -math.inf
    for point in points:
        if point.score is not None and point.score > best:
            best = point.score
            fit = None if point.is_partial else read_entry(store, "", point.trial).counts_on("fit")
            raw = point.score if point.raw is None else point.raw
            found.append(Record(number=point.number, score=point.score, fit=fit, raw=raw, n=point.n))
    return found


def _scores(points: Sequence[Point]) -> list[float]:
    return [point.score for point in points if point.score is not None]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
