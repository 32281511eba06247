"""Worker processes of this machine.

They are spawned, not forked: threads and locks of torch do not survive a fork. Each leads a process group, so
a Ctrl-C at the terminal reaches the parent alone, and processes that a grader started end with their worker.
A worker ends when its parent ends, even when the parent is killed.

Workers share nothing, so one that is killed never blocks another. ``pebble.ProcessPool`` was tried: its
workers share a lock, which a killed one may hold, and one that dies while it starts is replaced without end.
"""

import atexit
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import Any

from kingyo.core.types import Answered, Evaluation, Progress
from kingyo.search.runners.runner import Factory, Job
from kingyo.search.runners.worker_pool import JobNotSentError, Worker, WorkerDiedError, WorkerPool

EXIT_SECONDS = 1.0  # within which a process that has closed its connection ends


class ProcessRunner(WorkerPool):
    """A runner on processes of this machine; see ``WorkerPool``. The factory is pickled."""

    def __init__(self, factory: Factory, *, n_workers: int, timeout: float | None = None) -> None:
        super().__init__(lambda: ProcessWorker(factory), n_workers, timeout)
        atexit.register(self.close)  # at exit Python waits for its child processes, and these wait for jobs

    def close(self) -> None:
        super().close()
        atexit.unregister(self.close)


class ProcessWorker:
    """A worker process, seen from the run; see ``WorkerHandle``."""

    def __init__(self, factory: Factory) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, factory), name="kingyo-worker")
        with _interrupts_blocked(), theirs:
            self._process.start()

    @property
    def is_alive(self) -> bool:
        return not wait([self._process.sentinel], 0)

    def start(self, timeout: float) -> Exception | None:
        return self._receive(time.monotonic() + timeout)

    def evaluate(self, job: Job, timeout: float | None, progress: Progress) -> Evaluation | Exception:
        try:
            self._connection.send(job)
        except OSError as error:
            raise JobNotSentError from error
        end = None if timeout is None else time.monotonic() + timeout
        while isinstance(message := self._receive(end), Answered):
            progress(message)
        return message

    def kill(self) -> str:
        assert self._process.pid is not None, "it was started"
        with suppress(ProcessLookupError, PermissionError):  # it leads no group yet, or all have ended
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        code = self._process.exitcode or 0
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _receive(self, end: float | None) -> Any:
        left = None if end is None else max(0.0, end - time.monotonic())
        # The sentinel too: a process that a grader started may hold the connection open.
        if not wait([self._connection, self._process.sentinel], left):
            raise TimeoutError
        with suppress(EOFError, OSError):
            if self._connection.poll():
                return self._connection.recv()
        wait([self._process.sentinel], EXIT_SECONDS)  # until its exit code is known
        raise WorkerDiedError


@contextmanager
def _interrupts_blocked() -> Generator[None]:
    """Block SIGINT in this thread and in a process that it starts: that has no handler yet."""
    resource_tracker.ensure_running()  # when it starts, it unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, factory: Factory) -> None:
    _prepare_process()
    worker = Worker(factory)
    error = worker.start()
    connection.send(error)
    while error is None:
        try:
            job = connection.recv()
        except EOFError:  # the parent has ended
            return
        connection.send(worker.evaluate(job, connection.send))


def _prepare_process() -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    Thread(target=_end_with_parent, name="kingyo-parent", daemon=True).start()
    # With the spawn method, locks would be named semaphores, which outlive a kill.
    multiprocessing.set_start_method(None, force=True)
    sys.stdout = sys.stderr  # the command alone prints results


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker is a child process"
    wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)
