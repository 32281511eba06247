"""What a runner is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kingyo.recipe import Recipe
from kingyo.types import Evaluation, Split


class Evaluate(Protocol):
    """Scores a recipe on some items of a split; crashes are values."""

    def __call__(self, recipe: Recipe, split: Split, items: Sequence[str]) -> Evaluation:
        """Return one score for each item, in the order given, or a failure."""
        ...


Factory = Callable[[], Evaluate]
"""Builds, in a worker, what scores recipes there. Runners of several workers pickle it."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One evaluation to do; its id is the caller's, and unique among what is not finished."""

    id: int
    recipe: Recipe
    split: Split
    items: tuple[str, ...]


class Runner(Protocol):
    """Evaluates jobs on its workers, the first submitted first."""

    @property
    def n_workers(self) -> int:
        """How many jobs it does at a time."""
        ...

    def submit(self, job: Job) -> None:
        """Take a job; it does not wait for it."""
        ...

    def next(self) -> tuple[int, Evaluation]:
        """Wait for a job that finishes, and return its id with how it went.

        A worker that dies, or that takes longer than it may, makes a failure with its reason.

        Raises:
            KingyoError: a worker cannot start.
            Exception: whatever the evaluation itself raised; what it meant as a failure, it returned.
            ValueError: nothing is left to wait for.
        """
        ...

    def close(self) -> None:
        """End all workers and drop what is not finished; safe to call twice."""
        ...
