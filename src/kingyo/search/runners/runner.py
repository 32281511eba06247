"""The protocol of runners, their jobs and progress, and the runner without workers."""

from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from kingyo.core.types import Answered, Evaluation, Item, Progress, ReportsProgress, Split
from kingyo.merging.recipe import Recipe

Evaluate = Callable[[Recipe, Split, Sequence[str]], Evaluation]
"""Scores a recipe on items of a split: a score for each item, in their order, or a failure.

If it ``ReportsProgress``, it reports how many of the items are answered.
"""
Factory = Callable[[], Evaluate]
"""Builds the evaluator in a worker. Runners on several workers pickle it."""


JobProgress = Callable[[int, Answered], None]
"""Gets the id of an unfinished job, and how many of its items are answered."""


def ignore_jobs(_: int, __: Answered) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Job:
    """A recipe to evaluate on some items; the id is unique among unfinished jobs."""

    id: int
    recipe: Recipe
    split: Split
    items: tuple[str, ...]


class Runner(Protocol):
    """Evaluates jobs on its workers; the job submitted first starts first."""

    @property
    def n_workers(self) -> int: ...

    def submit(self, job: Job) -> None: ...

    def next(self, progress: JobProgress = ignore_jobs) -> tuple[int, Evaluation]:
        """Wait until a job finishes, and call ``progress`` meanwhile; return its id and evaluation.

        If the worker dies or exceeds the timeout, the evaluation is a failure with the reason. It raises what
        the evaluator raised, a KingyoError if a worker cannot start, and ValueError if no job is unfinished.
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


class ReportFailedError(BaseException):
    """A report failed, such as on a closed terminal. It is no failure of the candidate; see ``__cause__``."""


@contextmanager
def reporting(source: object, progress: Progress) -> Generator[None]:
    if not isinstance(source, ReportsProgress):
        yield
        return
    before, source.progress = source.progress, progress
    try:
        yield
    finally:
        source.progress = before


class ItemProgress:
    """Turns the progress of a model's calls into that of items: a call answers the items of one task.

    A task of several calls, such as a user's, counts as answered after the first.
    """

    def __init__(self, items: Sequence[Item], progress: Progress) -> None:
        self._sizes = list(Counter(item.task for item in items).values())
        self._total = len(items)
        self._before = 0
        self._progress = progress

    def begin(self) -> None:
        self._report(Answered(0, 0, self._total))

    def __call__(self, call: Answered) -> None:
        if not self._sizes:
            return
        size = self._sizes[0]
        done, timed = (self._before + size * n // max(1, call.total) for n in (call.done, call.timed))
        self._report(Answered(done, timed, self._total))
        if call.timed == call.total:
            self._before += self._sizes.pop(0)

    def _report(self, answered: Answered) -> None:
        try:
            self._progress(answered)
        except (Exception, SystemExit) as error:
            raise ReportFailedError from error
