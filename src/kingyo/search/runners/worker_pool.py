"""A runner on several workers. A thread for each worker hands it jobs and replaces it when it ends."""

import pickle
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Protocol

from kingyo.core.types import Answered, Evaluation, Progress, ignore_progress
from kingyo.errors import KingyoError
from kingyo.search.runners.runner import Evaluate, Factory, Job, JobProgress, ignore_jobs, reporting

START_SECONDS = 3600.0
"""Limit of a worker's start, in which it loads all models; a cluster without room may never start it."""


class Worker:
    """Builds an evaluator and evaluates jobs with it. It returns exceptions, so that they reach the run."""

    def __init__(self, factory: Factory) -> None:
        self._factory = factory
        self._evaluator: Evaluate | None = None

    def start(self) -> Exception | None:
        try:
            self._evaluator = self._factory()
        except Exception as error:  # noqa: BLE001 (the run raises it)
            return _picklable(error)
        return None

    def evaluate(self, job: Job, progress: Progress = ignore_progress) -> Evaluation | Exception:
        assert self._evaluator is not None, "start comes first"
        try:
            with reporting(self._evaluator, progress):
                return self._evaluator(job.recipe, job.split, job.items)
        except Exception as error:  # noqa: BLE001 (the run raises it)
            return _picklable(error)


class WorkerDiedError(Exception):
    """A worker ended before it answered."""


class JobNotSentError(WorkerDiedError):
    """A worker had ended before it received the job, which did not cause it."""


class WorkerHandle(Protocol):
    """A worker process or Ray actor, seen from the run."""

    @property
    def is_alive(self) -> bool: ...

    def start(self, timeout: float) -> Exception | None:
        """Wait until it has built its evaluator; return the exception that this raised."""
        ...

    def evaluate(self, job: Job, timeout: float | None, progress: Progress) -> Evaluation | Exception:
        """Wait for a job, and call ``progress`` meanwhile; return what the evaluator returned or raised."""
        ...

    def kill(self) -> str:
        """End it at once; return how it had ended before, in a few words. Called once, from any thread."""
        ...


class WorkerPool:
    """A runner on several workers. Each starts when there is a job for it.

    ``launch`` creates a worker, and does not wait until it is ready. The timeout, in seconds, is for a job;
    a start has ``START_SECONDS``.
    """

    def __init__(self, launch: Callable[[], WorkerHandle], n_workers: int, timeout: float | None) -> None:
        self._launch = launch
        self._n_workers = n_workers
        self._timeout = timeout
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._outcomes: SimpleQueue[tuple[int, Answered | Evaluation | Exception]] = SimpleQueue()
        self._n_unfinished = 0
        self._threads: list[Thread] = []
        self._lock = Lock()  # held to change the workers, and the error that stops new ones
        self._workers: list[WorkerHandle] = []
        self._stop_error: Exception | None = None

    @property
    def n_workers(self) -> int:
        return self._n_workers

    def submit(self, job: Job) -> None:
        self._n_unfinished += 1
        self._jobs.put(job)
        if len(self._threads) < min(self._n_workers, self._n_unfinished):
            thread = Thread(target=self._serve, name="kingyo-worker", daemon=True)
            thread.start()  # first: ``close`` joins all threads in the list
            self._threads.append(thread)

    def next(self, progress: JobProgress = ignore_jobs) -> tuple[int, Evaluation]:
        if not self._n_unfinished:
            raise ValueError("next: no job was submitted that is not finished")
        number, outcome = self._outcomes.get()
        while isinstance(outcome, Answered):
            progress(number, outcome)
            number, outcome = self._outcomes.get()
        self._n_unfinished -= 1
        if isinstance(outcome, Exception):
            raise outcome
        return number, outcome

    def close(self) -> None:
        with self._lock:
            self._stop_error = RuntimeError("the runner is closed")
            while self._workers:
                self._workers.pop().kill()
        for _ in self._threads:
            self._jobs.put(None)
        while self._threads:
            self._threads.pop().join()

    def _serve(self) -> None:
        worker: WorkerHandle | None = None
        while (job := self._jobs.get()) is not None:
            try:
                worker = self._ready(worker)
                outcome = self._evaluate(worker, job)
                if outcome is None:
                    worker = self._ready(worker)
                    outcome = self._evaluate(worker, job) or Evaluation(failure="no worker took the job")
            except Exception as error:  # noqa: BLE001 (``next`` raises it)
                outcome = error
            self._outcomes.put((job.id, outcome))

    def _ready(self, worker: WorkerHandle | None) -> WorkerHandle:
        if worker is not None:
            if worker in self._workers and worker.is_alive:
                return worker
            self._kill(worker)  # what it started may still run
        with self._lock:
            if self._stop_error is not None:
                raise self._stop_error
            worker = self._launch()
            self._workers.append(worker)
        self._start(worker)
        return worker

    def _start(self, worker: WorkerHandle) -> None:
        try:
            error = worker.start(START_SECONDS)
        except WorkerDiedError:
            error = _cannot_start(self._kill(worker))
        except TimeoutError:
            error = _cannot_start(f"none within {START_SECONDS:g} s")
        if error is not None:
            self._kill(worker)
            if not isinstance(error, KingyoError):
                error = _cannot_start(f"{type(error).__name__}: {error}")
            with self._lock:
                self._stop_error = self._stop_error or error
            raise error

    def _evaluate(self, worker: WorkerHandle, job: Job) -> Evaluation | Exception | None:
        try:
            return worker.evaluate(
                job, self._timeout, lambda answered: self._outcomes.put((job.id, answered))
            )
        except TimeoutError:
            self._kill(worker)
            seconds = self._timeout or 0.0
            return Evaluation(failure=f"took longer than {seconds:g} s", score_seconds=seconds)
        except JobNotSentError:
            self._kill(worker)
            return None
        except WorkerDiedError:
            return Evaluation(failure=f"the worker died ({self._kill(worker)})")

    def _kill(self, worker: WorkerHandle) -> str:
        with self._lock:
            if worker not in self._workers:
                return "killed"
            self._workers.remove(worker)
            return worker.kill()


def _cannot_start(how: str) -> KingyoError:
    remedy = "Fix the cause, often too little memory for all workers; then use `kingyo resume`."
    return KingyoError("workers", "a worker that starts and loads the model", how, remedy)


def _picklable(error: Exception) -> Exception:
    """Return the error if it can travel between processes, else a RuntimeError with its type and message."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 (the error may be a class of a user)
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
