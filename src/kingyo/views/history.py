"""How a search went, trial by trial: scores on fit, the best so far, and ancestors."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from kingyo.core.io.units import counted
from kingyo.core.types import Genome
from kingyo.search.evolution import BASELINES, stored_objectives
from kingyo.stats import Interval
from kingyo.store import EvaluationRow, RunStore, StoredTrial
from kingyo.views.results.model_result import raw_means, read_model_result
from kingyo.views.results.trials import SHARES, Unit, percent, unit_of
from kingyo.views.results.tuning import describe_lesson
from kingyo.views.view import without_places


@dataclass(frozen=True, kw_only=True)
class Point:
    """One trial that was evaluated on fit.

    Attributes:
        trial: as stored.
        score: what its strategy received: its mean, or an estimate where ``is_partial``; None for a failure.
        n: items that it was scored on.
        failure: the reason of its failure, or None.
        is_partial: only some of the items were scored.
        raw: the plain mean over the items that were scored; None for a failure.
        lesson: how its genome was learned, or None.
    """

    trial: StoredTrial
    score: float | None
    n: int
    failure: str | None
    is_partial: bool = False
    raw: float | None = None
    lesson: str | None = None

    @property
    def number(self) -> int:
        return self.trial.asked.number

    @property
    def name(self) -> str:
        return f"{self.number}{'' if self.lesson is None else f', {self.lesson}'}"


@dataclass(frozen=True, kw_only=True)
class Record:
    """A trial that was better than all before it."""

    point: Point
    score: float
    fit: Interval | None


@dataclass(frozen=True, kw_only=True)
class SearchHistory:
    """One search on the fit split."""

    name: str
    description: Mapping[str, object]
    points: tuple[Point, ...]
    records: tuple[Record, ...]
    unit: Unit = SHARES

    @property
    def strategy(self) -> str:
        return str(self.description.get("strategy", self.name))

    def text(self, record: Record) -> str:
        """Return a score with its interval, or as an estimate; most measures have no interval on fit."""
        if record.fit is not None:
            return self.unit.bounded(record.fit)
        if self.unit.measure or record.point.raw is None:
            return self.unit.text(record.score)
        items = counted(record.point.n, "item")
        return f"≈ {percent(record.score)} ({percent(record.point.raw)} on {items})"

    @property
    def failures(self) -> Counter[str]:
        return Counter(point.failure for point in self.points if point.failure is not None)

    @cached_property
    def by_number(self) -> dict[int, Point]:
        return {point.number: point for point in self.points}

    @property
    def scored(self) -> list[tuple[Point, float]]:
        return [(point, point.score) for point in self.points if point.score is not None]

    @property
    def genomes(self) -> list[tuple[Genome, float]]:
        return [(point.trial.asked.genome, score) for point, score in self.scored]

    @property
    def learned(self) -> list[Point]:
        return [point for point in self.points if point.lesson is not None]

    @property
    def measured_records(self) -> tuple[Interval, ...]:
        """The intervals of the records, where all of them were scored on all items; else none."""
        fits = tuple(record.fit for record in self.records if record.fit is not None)
        return fits if len(fits) == len(self.records) else ()


def read_histories(store: RunStore) -> dict[str, SearchHistory]:
    """Read all searches but the baselines, in the order of their declaration."""
    rows = {row.trial: row for row in store.summaries("fit")}
    return {
        name: _read_history(store, name, description, rows)
        for name, description in store.searches().items()
        if name != BASELINES
    }


def _read_history(
    store: RunStore,
    name: str,
    description: Mapping[str, object],
    rows: Mapping[int, EvaluationRow],
) -> SearchHistory:
    raw, lessons = raw_means(store, name), store.lessons(name)
    points = tuple(
        Point(
            trial=trial,
            score=rows[trial.id].value,
            n=rows[trial.id].n,
            failure=without_places(rows[trial.id].failure or "", store.folder) or None,
            is_partial=rows[trial.id].is_partial,
            raw=None if rows[trial.id].failure is not None else raw.get(trial.id),
            lesson=describe_lesson(trial, lessons[trial.id]) if trial.id in lessons else None,
        )
        for trial in store.trials(name)
        if trial.id in rows
    )
    return SearchHistory(
        name=name,
        description=description,
        points=points,
        records=tuple(_records(store, points)),
        unit=unit_of(stored_objectives(store)),
    )


def _records(store: RunStore, points: Sequence[Point]) -> list[Record]:
    records: list[Record] = []
    best = -math.inf
    for point in points:
        if point.score is not None and point.score > best:
            best = point.score
            fit = None if point.is_partial else read_model_result(store, "", point.trial).counts_on("fit")
            records.append(Record(point=point, score=best, fit=fit))
    return records


@dataclass(frozen=True, kw_only=True)
class Family:
    """All ancestors of one trial, where its strategy records parents.

    Attributes:
        child: the trial's number.
        members: the numbers of its ancestors and its own.
        edges: parent and child, of all members.
        depth: length of the longest line of descent, in steps.
    """

    child: int
    members: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]
    depth: int


def trace(child: int, points: Mapping[int, Point]) -> Family | None:
    """Follow a trial's parents back to trials that have none; None when it has none itself."""
    if child not in points or not points[child].trial.asked.parents:
        return None
    depths: dict[int, int] = {child: 0}
    edges: list[tuple[int, int]] = []
    for number in range(child, -1, -1):  # parents are earlier trials, so each comes after all its children
        parents = points[number].trial.asked.parents if number in depths else ()
        for parent in (each for each in parents if each in points and each < number):
            edges.append((parent, number))
            depths[parent] = max(depths.get(parent, 0), depths[number] + 1)
    return Family(
        child=child,
        members=tuple(sorted(depths)),
        edges=tuple(dict.fromkeys(edges)),
        depth=max(depths.values()),
    )
