"""The runner without workers."""

from __future__ import annotations

from collections import deque

from kingyo.runners.runner import Evaluate, Job
from kingyo.types import Evaluation


class LocalRunner:
    """A runner in this process: ``next`` evaluates a job. A crash of the process ends the run.

    Args:
        evaluate: scores a recipe.
    """

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self._jobs: deque[Job] = deque()

    @property
    def n_workers(self) -> int:
        """One."""
        return 1

    def submit(self, job: Job) -> None:
        """See ``Runner``."""
        self._jobs.append(job)

    def next(self) -> tuple[int, Evaluation]:
        """See ``Runner``."""
        if not self._jobs:
            raise ValueError("next: no job was submitted that is not finished")
        job = self._jobs.popleft()
        return job.id, self._evaluate(job.recipe, job.split, job.items)

    def close(self) -> None:
        """See ``Runner``."""
        self._jobs.clear()
