"""The contract of all runners, and of runners whose workers may die."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from kingyo.core.types import Answered
from kingyo.errors import ChangedSourceError, KingyoError
from kingyo.search.runners import LocalRunner, ProcessRunner, RayRunner, Runner
from tests.search.runners.fakes import FakeFactory, alive, job, wait_until

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")
RAY = pytest.param("ray", marks=needs_ray)
PARALLEL = ["processes", pytest.param("ray", marks=[needs_ray, pytest.mark.slow])]


@pytest.fixture(scope="module", autouse=True)
def cluster(request: pytest.FixtureRequest) -> Iterator[None]:
    """Shut down the cluster that the Ray tests share; their runners must leave it running."""
    yield
    if importlib.util.find_spec("ray") is not None:
        import ray

        ray.shutdown()


def make_runner(kind: str, folder: Path, n_workers: int = 2, timeout: float | None = None) -> Runner:
    factory = FakeFactory(folder=folder)
    if kind == "local":
        return LocalRunner(factory())
    if kind == "processes":
        return ProcessRunner(factory, n_workers=n_workers, timeout=timeout)
    import ray

    if not ray.is_initialized():
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    return RayRunner(factory, n_workers=n_workers, timeout=timeout)


def results(runner: Runner, n_jobs: int) -> dict[int, object]:
    evaluations = dict(runner.next() for _ in range(n_jobs))
    return {number: each.failure or each.mean for number, each in evaluations.items()}


@pytest.mark.parametrize("kind", ["local", "processes", RAY])
def test_every_job_has_one_evaluation(kind: str, tmp_path: Path) -> None:
    runner = make_runner(kind, tmp_path)
    for number in range(7):
        runner.submit(job(number, "fine", number))
    evaluations = dict(runner.next() for _ in range(7))
    assert {number: each.mean for number, each in evaluations.items()} == {
        n: pytest.approx(n / 10) for n in range(7)
    }
    assert [each.item for each in evaluations[3].scores] == ["x", "y"]
    assert evaluations[3].scores[0].answer == "fine fit"
    assert (evaluations[3].build_seconds, evaluations[3].score_seconds) == (0.25, 0.5)
    with pytest.raises(ValueError, match="no job"):
        runner.next()
    runner.submit(job(8, "crash"))
    assert results(runner, 1) == {8: "it crashed"}
    runner.close()
    runner.close()


@pytest.mark.parametrize("kind", ["local", "processes"])
def test_next_passes_on_the_progress_of_jobs(kind: str, tmp_path: Path) -> None:
    runner, counts = make_runner(kind, tmp_path), dict[int, Answered]()
    runner.submit(job(3, "fine"))
    runner.submit(job(5, "crash"))
    for _ in range(2):
        runner.next(counts.__setitem__)
    assert counts == {3: Answered(1, 1, 2), 5: Answered(1, 1, 2)}
    runner.close()


@pytest.mark.parametrize("kind", ["local", *PARALLEL])
def test_next_raises_exceptions_of_the_evaluator(kind: str, tmp_path: Path) -> None:
    runner = make_runner(kind, tmp_path)
    runner.submit(job(0, "changed"))
    with pytest.raises(
        ChangedSourceError, match=r"a: expected the old; received a new\. Restore it"
    ) as caught:
        runner.next()
    assert caught.value.argument == "a"
    runner.submit(job(1, "bug"))
    with pytest.raises(Exception, match="lambda"):
        runner.next()
    runner.close()


@pytest.mark.parametrize("kind", PARALLEL)
def test_evaluations_come_in_order_of_finishing(kind: str, tmp_path: Path) -> None:
    runner = make_runner(kind, tmp_path)
    assert runner.n_workers == 2
    runner.submit(job(0, "wait"))
    runner.submit(job(1, "fine"))
    assert runner.next()[0] == 1
    (tmp_path / "go").touch()
    assert runner.next()[0] == 0
    runner.close()


@pytest.mark.parametrize("kind", ["processes", pytest.param("ray", marks=[needs_ray, pytest.mark.slow])])
def test_a_job_with_a_dead_worker_fails_and_others_continue(kind: str, tmp_path: Path) -> None:
    runner = make_runner(kind, tmp_path)
    for number, action in enumerate(["kill", "wait", "exit", "fine", "kill", "fine"]):
        runner.submit(job(number, action))
    evaluations = {}
    for _ in range(5):  # all but the job that waits
        number, each = runner.next()
        evaluations[number] = each
    assert 1 not in evaluations
    (tmp_path / "go").touch()
    number, each = runner.next()
    assert (number, each.failure) == (1, None)
    assert evaluations[3].failure is None and evaluations[5].failure is None
    for dead in (0, 2, 4):
        assert str(evaluations[dead].failure).startswith("the worker died (")
    if kind == "processes":
        assert evaluations[0].failure == "the worker died (signal 9)"
        assert evaluations[2].failure == "the worker died (exit code 3)"
    runner.close()
    wait_until(lambda: not alive(tmp_path))


@pytest.mark.parametrize("kind", PARALLEL)
def test_a_job_that_exceeds_the_timeout_fails(kind: str, tmp_path: Path) -> None:
    runner = make_runner(kind, tmp_path, timeout=1.5)
    runner.submit(job(0, "wait"))
    runner.submit(job(1, "fine"))
    runner.submit(job(2, "fine"))
    assert results(runner, 2) == {1: 0.1, 2: 0.1}
    assert results(runner, 1) == {0: "took longer than 1.5 s"}
    runner.submit(job(3, "fine"))
    assert results(runner, 1) == {3: 0.1}
    runner.close()
    wait_until(lambda: not alive(tmp_path))


@pytest.mark.parametrize("kind", PARALLEL)
@pytest.mark.parametrize(
    ("file", "message"), [("broken", "expected one that loads"), ("dies", "a worker that starts")]
)
def test_a_worker_that_cannot_start_raises_at_once(
    kind: str, file: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / file).touch()
    runner = make_runner(kind, tmp_path)
    for number in range(4):
        runner.submit(job(number, "fine"))
    with pytest.raises(KingyoError, match=message):
        runner.next()
    runner.close()
    wait_until(lambda: not alive(tmp_path))
    assert len(list(tmp_path.glob("*.pid"))) <= 2


@pytest.mark.parametrize("kind", PARALLEL)
def test_close_ends_workers_that_are_busy(kind: str, tmp_path: Path) -> None:
    runner = make_runner(kind, tmp_path)
    runner.submit(job(0, "wait"))
    runner.submit(job(1, "fine"))
    runner.next()
    runner.close()
    wait_until(lambda: not alive(tmp_path))
    assert not (tmp_path / "done-wait-1").exists()
