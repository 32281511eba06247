"""The rows of the run database as data."""

from __future__ import annotations

from dataclasses import dataclass

from kingyo.types import Trial


@dataclass(frozen=True, kw_only=True)
class StoredTrial:
    """One row of ``trials``: what was asked, under which search, and the recipe of its genome.

    ``told`` is how many outcomes the strategy of the search had been told when it asked.
    """

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
    """A trial about to be stored."""

    asked: Trial
    recipe: str
    recipe_hash: str
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class EvaluationRow:
    """One evaluation in numbers.

    Attributes:
        trial, search: whose it is.
        failure: its reason, or None.
        build_seconds, score_seconds, ended_at: what it cost, and when it ended.
        copied_from: the trial whose scores these are, if all of them are copied.
        n: items that were scored.
        mean: over those items; None for a failure.
        value: on fit, what the strategy was told: the mean, or an estimate where only some items were scored.
        is_partial: the strategy was told an estimate.
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
    """What a strategy was told of a trial, without the item scores.

    Attributes:
        trial: its id.
        failure: its reason, or None.
        value: what a search for one objective maximises; None for a failure.
        objectives: one number per objective; empty where there is only one.
        is_partial: only some of the items were scored.
    """

    trial: int
    failure: str | None
    value: float | None
    objectives: tuple[float, ...] = ()
    is_partial: bool = False
