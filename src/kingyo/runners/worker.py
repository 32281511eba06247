"""The part of a worker that is the same in a process and in a Ray actor."""

from __future__ import annotations

import pickle

from kingyo.runners.runner import Evaluate, Factory, Job
from kingyo.types import Evaluation


class Worker:
    """Builds an evaluator and evaluates jobs with it. It returns exceptions, so that they reach the run.

    Args:
        factory: builds the evaluator.
    """

    def __init__(self, factory: Factory) -> None:
        self._factory = factory
        self._evaluator: Evaluate | None = None

    def start(self) -> Exception | None:
        """Build the evaluator; return the exception that this raises."""
        try:
            self._evaluator = self._factory()
        except Exception as error:  # noqa: BLE001 (the run raises it)
            return _picklable(error)
        return None

    def evaluate(self, job: Job) -> Evaluation | Exception:
        """Evaluate a job; return the exception that the evaluator raises."""
        assert self._evaluator is not None, "start comes first"
        try:
            return self._evaluator(job.recipe, job.split, job.items)
        except Exception as error:  # noqa: BLE001 (the run raises it)
            return _picklable(error)


def _picklable(error: Exception) -> Exception:
    """Return the error if it can travel between processes, else a RuntimeError with its type and message."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 (the error may be a class of a user)
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
