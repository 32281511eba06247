"""Rows of the run database."""

from __future__ import annotations

from dataclasses import dataclass

from kingyo.types import Trial


@dataclass(frozen=True, kw_only=True)
class StoredTrial:
    """A trial of a search and its recipe."""

    id: int
    search: str
    batch: int
    name: str | None
    asked: Trial
    recipe: str
    recipe_hash: str
    told: int = 0


@dataclass(frozen=True, kw_only=True)
class NewTrial:
    """A trial before it is stored."""

    asked: Trial
    recipe: str
    recipe_hash: str
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class EvaluationRow:
    """Totals of one evaluation.

    Attributes:
        trial, search: trial id and name of the search.
        failure: reason, or None.
        build_seconds, score_seconds: cost.
        ended_at: time in seconds since 1970.
        copied_from: trial id that all scores were copied from, or None.
        n: number of scored items.
        mean: over these items; None for a failure.
        value: on fit, the value that the strategy got: the mean, or an estimate from some of the items.
        is_partial: whether the strategy got an estimate.
    """

    trial: int
    search: str
    failure: str | None
    build_seconds: float
    score_seconds: float
    ended_at: float
    copied_from: int | None
    n: int
    mean: float | None
    value: float | None
    is_partial: bool


@dataclass(frozen=True, kw_only=True)
class StoredOutcome:
    """The outcome of a trial that a strategy got."""

    trial: int
    failure: str | None
    value: float | None
    objectives: tuple[float, ...] = ()
    is_partial: bool = False
