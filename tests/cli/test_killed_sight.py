"""A run that breeds a model that sees ends with the same trials and winner, however often it is killed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import World, evaluations, interrupted
from tests.cli.resumed import facts
from tests.cli.sight_runs import FLOW, HYBRID, path_run, write_models

MOMENTS = 10
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world with a run that was never killed, `whole`."""
    folder = write_models(tmp_path_factory.mktemp("sight") / "world")
    done = World(folder=folder).run("evolve", "run.yaml", "--run", "whole")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def world(origin: Path, tmp_path: Path) -> World:
    return World(folder=Path(shutil.copytree(origin, tmp_path / "world")))


def resume(world: World, whole: str = "whole") -> None:
    """Resume the killed run, and compare its trials, scores and winner with those of a whole one."""
    world.ok("resume", "killed")
    assert facts(world.folder / "killed") == facts(world.folder / whole)


def test_a_killed_run_ends_as_one_that_was_not(world: World) -> None:
    interrupted(world, "evolve", "run.yaml", "--run", "killed", after=6, where="killed")
    resume(world)


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_a_run_may_be_killed_at_any_moment(world: World, moment: int) -> None:
    """Kill it after its first evaluation, before its last one, and at moments between them."""
    last = evaluations(world.folder / "whole") - 1
    after = 1 + round((last - 1) * moment / (MOMENTS - 1))
    interrupted(world, "evolve", "run.yaml", "--run", "killed", after=after, where="killed")
    resume(world)


def test_a_run_may_be_killed_at_all_moments(world: World) -> None:
    """The same run is killed again and again."""
    last = evaluations(world.folder / "whole") - 1
    words = ("evolve", "run.yaml", "--run", "killed")
    for moment in range(MOMENTS):
        interrupted(world, *words, after=1 + round((last - 1) * moment / (MOMENTS - 1)), where="killed")
        words = ("resume", "killed")
    resume(world)


@pytest.mark.parametrize("keys", [FLOW, HYBRID])
def test_a_killed_run_of_paths_ends_as_one_that_was_not(world: World, keys: dict[str, object]) -> None:
    run = path_run(world, **keys)
    world.ok("evolve", run, "--run", "paths")
    interrupted(world, "evolve", run, "--run", "killed", after=8, where="killed")
    resume(world, "paths")
