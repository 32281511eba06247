"""Runs on several workers, in real processes: the same end as on one, also when they are killed."""

import importlib.util
from pathlib import Path

import pytest

from tests.cli.conftest import World, interrupted
from tests.stores import query

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")


def facts(run: Path) -> list[list[tuple[object, ...]]]:
    """All that must not depend on who finished first; ids of rows may."""
    queries = (
        "SELECT search, number, batch, name, genome, parents FROM trials ORDER BY search, number",
        "SELECT t.search, t.number, s.split, s.item, s.score, s.answer FROM scores s"
        " JOIN trials t ON t.id = s.trial ORDER BY 1, 2, 3, 4",
        "SELECT t.search, t.number, o.failure, o.value FROM outcomes o JOIN trials t ON t.id = o.trial"
        " ORDER BY o.id",
        "SELECT s.name, t.number FROM searches s LEFT JOIN trials t ON t.id = s.winner ORDER BY 1",
    )
    return [query(run, sql) for sql in queries]


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
    assert after[2][: len(before[2])] == before[2]  # what was told, in its order
    assert [row for row in after[0] if row in before[0]] == before[0]
