"""Workers that are processes of this machine.

They are spawned, not forked: threads and locks of torch do not survive a fork. Each is the head of a process
group of its own, so a Ctrl-C at the terminal goes to the parent alone, and whatever a grader started ends
with its worker. A worker whose parent is gone, however it went, ends itself.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from threading import Thread

from kingyo.runners.crew import Crew
from kingyo.runners.runner import Factory, Job
from kingyo.runners.worker import Gone, News, Ready, Worker

MOMENT = 1.0  # seconds in which a process that has closed its connection is gone


class ProcessRunner(Crew["_Seat"]):
    """A runner with processes as workers.

    Args:
        factory: builds what scores recipes, once in each worker; it is pickled.
        n_workers: how many at most.
        timeout: seconds that a job may take; then its worker is killed and replaced. None: any time.
    """

    def __init__(self, factory: Factory, *, n_workers: int, timeout: float | None = None) -> None:
        super().__init__(_Machine(factory), n_workers, timeout)
        # Python joins its children before it ends: without this it would wait for workers who wait for work.
        atexit.register(self.close)

    def close(self) -> None:
        """See ``Runner``."""
        super().close()
        atexit.unregister(self.close)


class _Machine:
    """Starts processes and listens to them."""

    def __init__(self, factory: Factory) -> None:
        self._factory = factory
        self._context = multiprocessing.get_context("spawn")

    def start(self) -> _Seat:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._factory), name="kingyo-worker")
        with _uninterrupted(), theirs:
            process.start()
        return _Seat(process, ours)

    def wait(self, seats: Sequence[_Seat], seconds: float | None) -> list[_Seat]:
        told = wait([place for seat in seats for place in seat.places], seconds)
        return [seat for seat in seats if any(place in told for place in seat.places)]

    def close(self) -> None:
        """Nothing is its own."""


class _Seat:
    """One worker process, seen from its parent."""

    def __init__(self, process: SpawnProcess, connection: Connection) -> None:
        self._process = process
        self._connection = connection

    @property
    def places(self) -> tuple[Connection, int]:
        """Where it can be heard: what it sends, and its end. (A child of it may hold the connection open.)"""
        return self._connection, self._process.sentinel

    def give(self, job: Job) -> None:
        self._connection.send(job)

    def hear(self) -> News:
        with suppress(EOFError, OSError):  # it has ended
            if self._connection.poll():  # what it sent before counts
                return self._connection.recv()
        wait([self._process.sentinel], MOMENT)  # it may still be on its way out
        return Gone(how=self._end())

    def end(self) -> None:
        self._end()
        self._process.close()
        self._connection.close()

    def _end(self) -> str:
        """Kill it and all that it started; return how it had ended, if it had."""
        assert self._process.pid is not None, "it was started"
        with suppress(ProcessLookupError, PermissionError):  # not yet the head of a group, or nobody is left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        code = self._process.exitcode or 0
        return f"signal {-code}" if code < 0 else f"exit code {code}"


@contextmanager
def _uninterrupted() -> Generator[None]:
    """Keep a Ctrl-C back while a child is born, and from the child, which has no handler yet."""
    resource_tracker.ensure_running()  # it would let it through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, factory: Factory) -> None:
    """The life of a worker."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    Thread(target=_end_with_parent, name="kingyo-parent", daemon=True).start()
    # In a spawned process locks would by default be named semaphores, which outlive a kill.
    multiprocessing.set_start_method(None, force=True)
    sys.stdout = sys.stderr  # standard output is for the parent's answer alone
    worker = Worker(factory)
    news = worker.begin()
    connection.send(news)
    while isinstance(news, Ready):
        try:
            job = connection.recv()
        except EOFError:  # the parent is gone
            return
        connection.send(worker.answer(job))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker is a child"
    wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)
