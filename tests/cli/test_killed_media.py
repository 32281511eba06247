"""Runs that draw or see end with the same trials, pictures and winner, however often they are killed."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.cli import sight_runs
from tests.cli.conftest import World, evaluations, interrupted
from tests.cli.resumed import facts
from tests.cli.sight_runs import FLOW, HYBRID, path_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
MOMENTS = 10


def write_drawing(folder: Path) -> None:
    """Write a run of two tasks that draw."""
    pytest.importorskip("diffusers")
    from tests.cli.picture_runs import CONFIG, TASK, write_models

    def task(data: str, *timesteps: int) -> dict[str, object]:
        scheduler = {"class": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}
        return {**TASK, "data": data, "scheduler": scheduler, "arguments": {"timesteps": list(timesteps)}}

    write_models(folder)
    config = {key: each for key, each in CONFIG.items() if key != "task"}
    tasks = {"tasks": {"early": task("prompts.jsonl", 900, 300), "late": task("late.jsonl", 500, 100)}}
    rows = map(json.loads, (folder / "prompts.jsonl").read_text().splitlines())
    # a seed that `early` has in one split, `late` may have in another
    others = [json.dumps({**row, "seed": 5 - row["seed"]}) for row in rows]
    (folder / "late.jsonl").write_text("\n".join(others))
    (folder / "run.yaml").write_text(yaml.safe_dump(config | tasks))


WRITERS = {"drawing": write_drawing, "sight": sight_runs.write_models}


@pytest.fixture(scope="module", params=WRITERS)
def origin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world with a run that was never killed, `whole`."""
    folder = tmp_path_factory.mktemp(request.param) / "world"
    folder.mkdir()
    WRITERS[request.param](folder)
    World(folder=folder).ok("evolve", "run.yaml", "--run", "whole")
    return folder


@pytest.fixture
def world(origin: Path, tmp_path: Path) -> World:
    return World(folder=Path(shutil.copytree(origin, tmp_path / "world")))


def pictures(run: Path) -> set[str]:
    return {each.name for each in (run / "media").iterdir()} if (run / "media").exists() else set()


def resume(world: World, whole: str = "whole") -> None:
    """Resume the killed run, and compare trials, scores, winner and pictures with those of a whole one."""
    world.ok("resume", "killed")
    run, expected = world.folder / "killed", world.folder / whole
    assert facts(run) == facts(expected)
    assert pictures(run) == pictures(expected)


def stop(world: World, moment: int) -> int:
    """Return after how many evaluations to kill it: from the first one to before the last one."""
    last = evaluations(world.folder / "whole") - 1
    return 1 + round((last - 1) * moment / (MOMENTS - 1))


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_a_run_may_be_killed_at_any_moment(world: World, moment: int) -> None:
    words = ("evolve", "run.yaml", "--run", "killed")
    interrupted(world, *words, after=stop(world, moment), where="killed")
    resume(world)


def test_a_run_may_be_killed_at_all_moments(world: World) -> None:
    """The same run is killed again and again."""
    words = ("evolve", "run.yaml", "--run", "killed")
    for moment in range(MOMENTS):
        interrupted(world, *words, after=stop(world, moment), where="killed")
        words = ("resume", "killed")
    resume(world)


@pytest.mark.parametrize("origin", ["sight"], indirect=True)
@pytest.mark.parametrize("keys", [FLOW, HYBRID])
def test_a_killed_run_of_paths_ends_as_one_that_was_not(world: World, keys: dict[str, object]) -> None:
    run = path_run(world, **keys)
    world.ok("evolve", run, "--run", "paths")
    interrupted(world, "evolve", run, "--run", "killed", after=8, where="killed")
    resume(world, "paths")
