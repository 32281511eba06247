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
    """Totals of one evaluation."""

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
