"""Runs on several workers, in real processes: the same end as on one, also when they are killed."""

import importlib.util

import pytest

from tests.cli.conftest import World, interrupted
from tests.cli.resumed import facts

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["processes", pytest.param("ray", marks=needs_ray)])
def test_a_run_killed_on_two_workers_ends_like_one_on_one_worker(
    finished: World, world: World, runner: str
) -> None:
    config = world.config(runner=runner, workers=2)
    interrupted(world, "evolve", config, after=9, env={"OMP_NUM_THREADS": "1"})
    world.ok("resume", "runs/small")
    assert facts(world.folder / "runs" / "small") == facts(finished.folder / "runs" / "small")


def test_workers_without_a_runner_are_refused(world: World) -> None:
    done = world.fails("evolve", world.config(workers=2))
    assert "runner: processes" in done.stderr.replace("\n", " ")
    assert not (world.folder / "runs").exists()


@pytest.mark.slow
def test_a_killed_asynchronous_run_resumes(world: World) -> None:
    config = world.config(
        runner="processes",
        workers=2,
        search={"strategy": "ga", "mode": "asynchronous"},
        budget={"candidates": 10},
    )
    interrupted(world, "evolve", config, after=7)
    before = facts(world.folder / "runs" / "small")
    world.ok("resume", "runs/small")
    after = facts(world.folder / "runs" / "small")
    assert world.show("runs/small")["status"] == "finished"
    assert after["told"][: len(before["told"])] == before["told"]
    assert [row for row in after["trials"] if row in before["trials"]] == before["trials"]
