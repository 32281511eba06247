"""The protocol of runners, and their jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kingyo.recipe import Recipe
from kingyo.types import Evaluation, Split


class Evaluate(Protocol):
    """Scores a recipe on items of a split."""

    def __call__(self, recipe: Recipe, split: Split, items: Sequence[str]) -> Evaluation:
        """Return a score for each item, in the order of ``items``, or a failure."""
        ...


Factory = Callable[[], Evaluate]
"""Builds the evaluator in a worker. Runners on several workers pickle it."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A recipe to evaluate.

    Attributes:
        id: chosen by the caller; unique among unfinished jobs.
        recipe: the candidate.
        split: the split of the items.
        items: names of the items to score.
    """

    id: int
    recipe: Recipe
    split: Split
    items: tuple[str, ...]


class Runner(Protocol):
    """Evaluates jobs on its workers; the job submitted first starts first."""

    @property
    def n_workers(self) -> int:
        """The most jobs at a time."""
        ...

    def submit(self, job: Job) -> None:
        """Add a job to the queue, and return at once."""
        ...

    def next(self) -> tuple[int, Evaluation]:
        """Wait until a job finishes; return its id and evaluation.

        If the worker dies or exceeds the timeout, the evaluation is a failure with the reason.

        Raises:
            KingyoError: a worker cannot start.
            Exception: the evaluator raised it.
            ValueError: no job is unfinished.
        """
        ...

    def close(self) -> None:
        """End all workers and drop unfinished jobs; safe to call twice."""
        ...
