"""What every runner keeps; and what those keep whose workers can die."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from kingyo.errors import ChangedSourceError, KingyoError
from kingyo.runners import LocalRunner, ProcessRunner, RayRunner, Runner
from tests.runners.fakes import Fake, alive, job, until

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")
CROWDS = ["processes", pytest.param("ray", marks=needs_ray)]


@pytest.fixture(scope="module", autouse=True)
def cluster(request: pytest.FixtureRequest) -> Iterator[None]:
    """One local cluster for all tests here, so that what a runner did not start is not shut down."""
    yield
    if importlib.util.find_spec("ray") is not None:
        import ray

        ray.shutdown()


def make(kind: str, folder: Path, n_workers: int = 2, timeout: float | None = None) -> Runner:
    fake = Fake(folder=folder)
    if kind == "local":
        return LocalRunner(fake())
    if kind == "processes":
        return ProcessRunner(fake, n_workers=n_workers, timeout=timeout)
    import ray

    if not ray.is_initialized():
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    return RayRunner(fake, n_workers=n_workers, timeout=timeout)


def drained(runner: Runner, jobs: int) -> dict[int, object]:
    found = dict(runner.next() for _ in range(jobs))
    return {number: each.failure or each.mean for number, each in found.items()}


@pytest.mark.parametrize("kind", ["local", *CROWDS])
def test_every_job_is_answered_once(kind: str, tmp_path: Path) -> None:
    runner = make(kind, tmp_path)
    for number in range(7):
        runner.submit(job(number, "fine", number))
    found = dict(runner.next() for _ in range(7))
    assert {number: each.mean for number, each in found.items()} == {
        n: pytest.approx(n / 10) for n in range(7)
    }
    assert [each.item for each in found[3].scores] == ["x", "y"]
    assert found[3].scores[0].answer == "fine fit"
    assert (found[3].build_seconds, found[3].score_seconds) == (0.25, 0.5)
    with pytest.raises(ValueError, match="no job"):
        runner.next()
    runner.submit(job(8, "crash"))
    assert drained(runner, 1) == {8: "it crashed"}
    runner.close()
    runner.close()


@pytest.mark.parametrize("kind", ["local", *CROWDS])
def test_what_ends_a_run_is_raised(kind: str, tmp_path: Path) -> None:
    runner = make(kind, tmp_path)
    runner.submit(job(0, "changed"))
    with pytest.raises(
        ChangedSourceError, match=r"a: expected the old; received a new\. Bring it back"
    ) as seen:
        runner.next()
    assert seen.value.argument == "a"
    runner.submit(job(1, "bug"))
    with pytest.raises(Exception, match="lambda"):
        runner.next()
    runner.close()


@pytest.mark.parametrize("kind", CROWDS)
def test_results_come_in_order_of_finishing(kind: str, tmp_path: Path) -> None:
    runner = make(kind, tmp_path)
    assert runner.n_workers == 2
    runner.submit(job(0, "wait"))
    runner.submit(job(1, "fine"))
    assert runner.next()[0] == 1
    (tmp_path / "go").touch()
    assert runner.next()[0] == 0
    runner.close()


@pytest.mark.parametrize("kind", CROWDS)
def test_a_worker_that_dies_is_a_failure_and_the_others_go_on(kind: str, tmp_path: Path) -> None:
    runner = make(kind, tmp_path)
    for number, what in enumerate(["kill", "wait", "leave", "fine", "kill", "fine"]):
        runner.submit(job(number, what))
    found = {}
    for _ in range(5):  # the worker that waits keeps its job through all of it
        number, each = runner.next()
        found[number] = each
    assert 1 not in found
    (tmp_path / "go").touch()
    number, each = runner.next()
    assert (number, each.failure) == (1, None)
    assert found[3].failure is None and found[5].failure is None
    for dead in (0, 2, 4):
        assert str(found[dead].failure).startswith("the worker died (")
    if kind == "processes":
        assert found[0].failure == "the worker died (signal 9)"
        assert found[2].failure == "the worker died (exit code 3)"
    runner.close()
    until(lambda: not alive(tmp_path))


@pytest.mark.parametrize("kind", CROWDS)
def test_a_job_that_takes_too_long_is_a_failure(kind: str, tmp_path: Path) -> None:
    runner = make(kind, tmp_path, timeout=1.5)
    runner.submit(job(0, "wait"))
    runner.submit(job(1, "fine"))
    runner.submit(job(2, "fine"))
    assert drained(runner, 2) == {1: 0.1, 2: 0.1}
    assert drained(runner, 1) == {0: "took longer than 1.5 s"}
    runner.submit(job(3, "fine"))
    assert drained(runner, 1) == {3: 0.1}
    runner.close()
    until(lambda: not alive(tmp_path))


@pytest.mark.parametrize("kind", CROWDS)
@pytest.mark.parametrize(
    ("how", "told"), [("broken", "expected one that loads"), ("dies", "a worker that starts")]
)
def test_a_worker_that_cannot_start_ends_it_at_once(kind: str, how: str, told: str, tmp_path: Path) -> None:
    (tmp_path / how).touch()
    runner = make(kind, tmp_path)
    for number in range(4):
        runner.submit(job(number, "fine"))
    with pytest.raises(KingyoError, match=told):
        runner.next()
    runner.close()
    until(lambda: not alive(tmp_path))
    assert len(list(tmp_path.glob("*.pid"))) <= 2


@pytest.mark.parametrize("kind", CROWDS)
def test_a_second_worker_that_cannot_start_raises_while_the_first_works(kind: str, tmp_path: Path) -> None:
    runner = make(kind, tmp_path)
    runner.submit(job(0, "fine"))
    runner.next()
    (tmp_path / "dies").touch()
    runner.submit(job(1, "wait"))
    runner.submit(job(2, "fine"))
    with pytest.raises(KingyoError, match="a worker that starts"):
        runner.next()
    runner.close()
    until(lambda: not alive(tmp_path))
    assert len(list(tmp_path.glob("*.pid"))) == 2


@pytest.mark.parametrize("kind", CROWDS)
def test_closed_in_mid_work_nothing_stays(kind: str, tmp_path: Path) -> None:
    runner = make(kind, tmp_path)
    runner.submit(job(0, "wait"))
    runner.submit(job(1, "fine"))
    runner.next()
    runner.close()
    until(lambda: not alive(tmp_path))
    assert not (tmp_path / "done-wait-1").exists()
