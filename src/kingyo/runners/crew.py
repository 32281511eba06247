"""Several workers as one runner: who does what, how long it may take, and what becomes of a worker that dies.

It does not know what a worker is: a process and a Ray actor are both a ``Seat`` at a ``Site``.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from kingyo.errors import KingyoError
from kingyo.runners.runner import Job
from kingyo.runners.worker import Gone, News, Raised, Ready
from kingyo.types import Evaluation


class Seat(Protocol):
    """A worker, seen from here. It says that it is ready, then answers each job."""

    def give(self, job: Job) -> None:
        """Let it begin a job.

        Raises:
            OSError: it has ended meanwhile, and never saw the job.
        """
        ...

    def hear(self) -> News:
        """Take what it has to say; asked only when it has."""
        ...

    def end(self) -> None:
        """End it now, whatever it does."""
        ...


S = TypeVar("S", bound=Seat)


class Site(Protocol[S]):
    """Where workers are."""

    def start(self) -> S:
        """Let a new worker begin; it is not ready yet."""
        ...

    def wait(self, seats: Sequence[S], seconds: float | None) -> list[S]:
        """Return those that have something to say, as soon as one has; none when time is over."""
        ...

    def close(self) -> None:
        """Give back what the site itself took."""
        ...


@dataclass(kw_only=True, eq=False)
class _Desk(Generic[S]):
    """A worker and what it does."""

    seat: S
    is_ready: bool = False
    job: Job | None = None
    until: float | None = None

    @property
    def is_idle(self) -> bool:
        return self.is_ready and self.job is None


class Crew(Generic[S]):
    """A runner with several workers. They start when there is work for them.

    Args:
        site: where they are.
        n_workers: how many at most.
        timeout: seconds that a job may take; a worker's time to start does not count.
    """

    def __init__(self, site: Site[S], n_workers: int, timeout: float | None) -> None:
        self._site = site
        self._n_workers = n_workers
        self._timeout = timeout
        self._jobs: deque[Job] = deque()
        self._finished: deque[tuple[int, Evaluation]] = deque()
        self._desks: list[_Desk[S]] = []

    @property
    def n_workers(self) -> int:
        """How many jobs are done at a time."""
        return self._n_workers

    def submit(self, job: Job) -> None:
        """See ``Runner``."""
        self._jobs.append(job)
        self._hand_out()

    def next(self) -> tuple[int, Evaluation]:
        """See ``Runner``."""
        while not self._finished:
            if not self._jobs and all(desk.job is None for desk in self._desks):
                raise ValueError("next: no job was submitted that is not finished")
            self._hand_out()
            told = set(map(id, self._site.wait([desk.seat for desk in self._desks], self._patience())))
            for desk in [desk for desk in self._desks if id(desk.seat) in told]:
                self._hear(desk)
            self._end_late_ones()
        self._hand_out()
        return self._finished.popleft()

    def close(self) -> None:
        """See ``Runner``."""
        self._jobs.clear()
        self._finished.clear()
        while self._desks:
            self._desks.pop().seat.end()
        self._site.close()

    def _hand_out(self) -> None:
        """Give jobs to whoever is idle, and let as many more begin as there is work for."""
        for desk in [desk for desk in self._desks if desk.is_idle]:
            if self._jobs:
                self._give(desk, self._jobs.popleft())
        starting = sum(not desk.is_ready for desk in self._desks)
        while starting < len(self._jobs) and len(self._desks) < self._n_workers:
            self._desks.append(_Desk(seat=self._site.start()))
            starting += 1

    def _give(self, desk: _Desk[S], job: Job) -> None:
        try:
            desk.seat.give(job)
        except OSError:  # it died idle: no job is lost, another worker does it
            self._jobs.appendleft(job)
            self._drop(desk)
            return
        desk.job = job
        desk.until = None if self._timeout is None else time.monotonic() + self._timeout

    def _patience(self) -> float | None:
        """Seconds until the first worker is late; None when none can be."""
        ends = [desk.until for desk in self._desks if desk.until is not None]
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _hear(self, desk: _Desk[S]) -> None:
        news = desk.seat.hear()
        if isinstance(news, Ready):
            desk.is_ready = True
        elif isinstance(news, Evaluation):
            self._finish(desk, news)
        elif isinstance(news, Gone):
            self._drop(desk)
            if not desk.is_ready:
                raise _cannot_start(news.how)
            self._finish(desk, Evaluation(failure=f"the worker died ({news.how})"))
        elif desk.is_ready or isinstance(news.error, KingyoError):
            self._drop(desk)
            raise news.error
        else:
            self._drop(desk)
            raise _cannot_start(_described(news)) from news.error

    def _end_late_ones(self) -> None:
        now = time.monotonic()
        for desk in [desk for desk in self._desks if desk.until is not None and desk.until <= now]:
            self._drop(desk)
            spent = self._timeout or 0.0
            self._finish(desk, Evaluation(failure=f"took longer than {spent:g} s", score_seconds=spent))

    def _finish(self, desk: _Desk[S], evaluation: Evaluation) -> None:
        if desk.job is not None:
            self._finished.append((desk.job.id, evaluation))
        desk.job = desk.until = None

    def _drop(self, desk: _Desk[S]) -> None:
        self._desks.remove(desk)
        desk.seat.end()


def _described(news: Raised) -> str:
    return f"{type(news.error).__name__}: {news.error}"


def _cannot_start(how: str) -> KingyoError:
    """Another one would end the same way, so nobody tries."""
    return KingyoError(
        "workers",
        expected="a worker that starts and loads the model",
        received=how,
        remedy="Fix the cause (is memory enough for so many workers?), then go on with `kingyo resume`.",
    )
