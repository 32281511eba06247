"""What only processes do: die idle, leave nothing behind, and go when their parent goes, however it goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kingyo.runners import ProcessRunner
from tests.runners.fakes import Fake, alive, job, until

PARENT = """
import signal
import sys
from pathlib import Path
from kingyo.runners import ProcessRunner
from tests.runners.fakes import Fake, job, until

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells make what runs in the background ignore it

if __name__ == "__main__":
    runner = ProcessRunner(Fake(folder=Path(sys.argv[1])), n_workers=2)
    runner.submit(job(0, "hang"))
    runner.submit(job(1, "fine"))
    runner.next()
    if "leaves" in sys.argv:
        until((Path(sys.argv[1]) / "hangs").exists)  # the other worker may be slower to begin
        sys.exit()
    try:
        runner.next()
    finally:
        if "closes" in sys.argv:
            runner.close()
"""


@contextmanager
def parent(folder: Path, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """A process whose runner has one worker that hangs, with a child, and an idle one."""
    script = folder / "parent.py"
    script.write_text(PARENT)
    root = str(Path(__file__).parents[2])
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


def test_one_that_dies_idle_loses_no_job(tmp_path: Path) -> None:
    runner = ProcessRunner(Fake(folder=tmp_path), n_workers=1)
    runner.submit(job(0, "fine"))
    runner.next()
    (first,) = alive(tmp_path)
    os.kill(first, signal.SIGKILL)
    runner.submit(job(1, "fine", 2))
    number, evaluation = runner.next()
    assert number == 1
    assert evaluation.failure in {None, "the worker died (signal 9)"}  # it may take the job and die of it
    runner.close()
    until(lambda: not alive(tmp_path))


def test_what_a_grader_started_ends_with_its_worker(tmp_path: Path) -> None:
    runner = ProcessRunner(Fake(folder=tmp_path), n_workers=1, timeout=1)
    runner.submit(job(0, "hang"))
    assert runner.next()[1].failure == "took longer than 1 s"
    until(lambda: not alive(tmp_path))
    runner.close()


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path: Path, sent: signal.Signals) -> None:
    with parent(tmp_path) as process:
        until(lambda: (tmp_path / "hangs").exists() and len(alive(tmp_path)) == 3)
        os.killpg(process.pid, sent)  # as a terminal does it
        _, errors = process.communicate(timeout=60)
    until(lambda: not alive(tmp_path))
    assert "leaked" not in errors


@pytest.mark.parametrize("how", ["closes", "leaves"])
def test_a_parent_that_ends_in_good_order_leaves_nothing(tmp_path: Path, how: str) -> None:
    with parent(tmp_path, how) as process:
        until((tmp_path / "hangs").exists)
        if how == "closes":
            os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == (0 if how == "leaves" else -signal.SIGINT)
    assert ("KeyboardInterrupt" in errors, "leaked" in errors) == (how == "closes", False)
    assert errors.count("Traceback") == (how == "closes")
    until(lambda: not alive(tmp_path))
