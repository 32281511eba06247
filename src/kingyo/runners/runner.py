"""The protocol of runners, their jobs, and the runner without workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kingyo.recipe import Recipe
from kingyo.runners.item_progress import reporting
from kingyo.types import Answered, Evaluation, Split

Evaluate = Callable[[Recipe, Split, Sequence[str]], Evaluation]
"""Scores a recipe on items of a split: a score for each item, in their order, or a failure.

If it ``ReportsProgress``, it reports how many of the items are answered.
"""
Factory = Callable[[], Evaluate]
"""Builds the evaluator in a worker. Runners on several workers pickle it."""


JobProgress = Callable[[int, Answered], None]
"""Gets the id of an unfinished job, and how many of its items are answered."""


def ignore_jobs(_: int, __: Answered) -> None:
    """Ignore the progress of jobs."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A recipe to evaluate.

    Attributes:
        id: chosen by the caller; unique among unfinished jobs.
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

    def next(self, progress: JobProgress = ignore_jobs) -> tuple[int, Evaluation]:
        """Wait until a job finishes; return its id and evaluation.

        If the worker dies or exceeds the timeout, the evaluation is a failure with the reason. Meanwhile
        ``progress`` is called, in this thread, with the progress of jobs whose workers report it.

        Raises:
            KingyoError: a worker cannot start.
            Exception: the evaluator raised it.
            ValueError: no job is unfinished.
        """
        ...

    def close(self) -> None:
        """End all workers and drop unfinished jobs; safe to call twice."""
        ...


class LocalRunner:
    """A runner in this process: ``next`` evaluates a job. A crash of the process ends the run."""

    def __init__(self, evaluate: Evaluate) -> None:
        self.evaluate = evaluate
        self._jobs: deque[Job] = deque()

    @property
    def n_workers(self) -> int:
        return 1

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def next(self, progress: JobProgress = ignore_jobs) -> tuple[int, Evaluation]:
        if not self._jobs:
            raise ValueError("next: no job was submitted that is not finished")
        job = self._jobs.popleft()
        with reporting(self.evaluate, lambda answered: progress(job.id, answered)):
            return job.id, self.evaluate(job.recipe, job.split, job.items)

    def close(self) -> None:
        self._jobs.clear()
