"""What happens in a worker, wherever it runs: build once what scores recipes, then answer job after job."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

from kingyo.runners.runner import Evaluate, Factory, Job
from kingyo.types import Evaluation


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A worker has built what it needs."""


@dataclass(frozen=True, kw_only=True)
class Raised:
    """What was raised in a worker, on its way to whoever waits for it."""

    error: Exception


@dataclass(frozen=True, kw_only=True)
class Gone:
    """A worker has ended, and with it its job; how, in a few words."""

    how: str


News = Ready | Evaluation | Raised | Gone
"""All that can be heard of a worker."""


class Worker:
    """Answers jobs.

    Args:
        factory: builds what scores recipes; called by ``begin``.
    """

    def __init__(self, factory: Factory) -> None:
        self._factory = factory
        self._evaluate: Evaluate | None = None

    def begin(self) -> Ready | Raised:
        """Build what scores recipes."""
        try:
            self._evaluate = self._factory()
        except Exception as error:  # noqa: BLE001 (it is raised again where somebody waits for it)
            return Raised(error=_portable(error))
        return Ready()

    def answer(self, job: Job) -> Evaluation | Raised:
        """Do a job."""
        assert self._evaluate is not None, "begin comes first"
        try:
            return self._evaluate(job.recipe, job.split, job.items)
        except Exception as error:  # noqa: BLE001 (as above)
            return Raised(error=_portable(error))


def _portable(error: Exception) -> Exception:
    """The error itself when it can travel between processes, else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 (whatever an error of somebody else does when it is pickled)
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
