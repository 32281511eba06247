"""Worker processes: they may die while idle, and end with their parent and their children."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kingyo.core.types import Evaluation, ItemScore, Progress
from kingyo.errors import KingyoError
from kingyo.search.runners import Job, ProcessRunner
from kingyo.search.runners.worker_pool import JobNotSentError, WorkerPool
from tests.search.runners.fakes import FakeFactory, alive, job, wait_until

PARENT = """
import signal
import sys
from pathlib import Path
from kingyo.search.runners import ProcessRunner
from tests.search.runners.fakes import FakeFactory, job, wait_until

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it for background jobs

if __name__ == "__main__":
    runner = ProcessRunner(FakeFactory(folder=Path(sys.argv[1])), n_workers=2)
    runner.submit(job(0, "hang"))
    runner.submit(job(1, "fine"))
    runner.next()
    if "exits" in sys.argv:
        wait_until((Path(sys.argv[1]) / "hangs").exists)  # the other worker may start later
        sys.exit()
    try:
        runner.next()
    finally:
        if "closes" in sys.argv:
            runner.close()
"""


@contextmanager
def parent(folder: Path, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """Start a process whose runner has a worker that hangs, with a child process, and an idle worker."""
    script = folder / "parent.py"
    script.write_text(PARENT)
    root = str(Path(__file__).parents[3])
    paths = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, str(script), str(folder), *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


class Handle:
    """A worker that takes a job or, if it is gone, does not."""

    is_alive = True

    def __init__(self, is_gone: bool) -> None:
        self.is_gone = is_gone

    def start(self, timeout: float) -> None: ...

    def evaluate(self, job: Job, timeout: float | None, progress: Progress) -> Evaluation:
        if self.is_gone:
            raise JobNotSentError
        return Evaluation(scores=(ItemScore("x", 1.0, ""),))

    def kill(self) -> str:
        return "killed"


@pytest.mark.parametrize(("gone", "failure"), [(1, None), (2, "no worker took the job")])
def test_a_job_that_a_worker_did_not_receive_is_sent_to_another(gone: int, failure: str | None) -> None:
    handles = [Handle(is_gone=number < gone) for number in range(3)]
    pool = WorkerPool(lambda: handles.pop(0), n_workers=1, timeout=None)
    pool.submit(job(7, "fine"))
    number, evaluation = pool.next()
    assert (number, evaluation.failure) == (7, failure)
    pool.close()


def test_a_worker_that_never_starts_is_an_error() -> None:
    """Such as an actor of a cluster whose machines are busy."""

    class Stuck(Handle):
        def start(self, timeout: float) -> None:
            raise TimeoutError

    pool = WorkerPool(lambda: Stuck(is_gone=False), n_workers=1, timeout=None)
    pool.submit(job(0, "fine"))
    with pytest.raises(KingyoError, match=r"workers: .*received none within 3600 s"):
        pool.next()
    pool.close()


def test_child_processes_of_a_worker_end_with_it(tmp_path: Path) -> None:
    runner = ProcessRunner(FakeFactory(folder=tmp_path), n_workers=1, timeout=1)
    runner.submit(job(0, "hang"))
    assert runner.next()[1].failure == "took longer than 1 s"
    wait_until(lambda: not alive(tmp_path))
    runner.close()


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path: Path, sent: signal.Signals) -> None:
    with parent(tmp_path) as process:
        wait_until(lambda: (tmp_path / "hangs").exists() and len(alive(tmp_path)) == 3)
        os.killpg(process.pid, sent)  # as a terminal does
        _, errors = process.communicate(timeout=60)
    wait_until(lambda: not alive(tmp_path))
    assert "leaked" not in errors


@pytest.mark.parametrize("how", ["closes", "exits"])
def test_no_process_outlives_a_parent_that_ends_normally(tmp_path: Path, how: str) -> None:
    with parent(tmp_path, how) as process:
        wait_until((tmp_path / "hangs").exists)
        if how == "closes":
            os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == (0 if how == "exits" else -signal.SIGINT)
    assert ("KeyboardInterrupt" in errors, "leaked" in errors) == (how == "closes", False)
    assert errors.count("Traceback") == (how == "closes")
    wait_until(lambda: not alive(tmp_path))
