"""The rows of the run database as data."""

from __future__ import annotations

from dataclasses import dataclass

from kingyo.types import Trial


@dataclass(frozen=True, kw_only=True)
class StoredTrial:
    """One row of ``trials``: what was asked, under which search, and the recipe of its genome."""

    id: int
    search: str
    batch: int
    name: str | None
    asked: Trial
    recipe: str
    recipe_hash: str


@dataclass(frozen=True, kw_only=True)
class NewTrial:
    """A trial about to be stored."""

    asked: Trial
    recipe: str
    recipe_hash: str
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class EvaluationRow:
    """One evaluation in numbers: mean over n items (None for a failure) and its cost in seconds."""

    trial: int
    search: str
    failure: str | None
    build_seconds: float
    score_seconds: float
    ended_at: float
    copied_from: int | None
    n: int
    mean: float | None
