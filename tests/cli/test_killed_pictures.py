"""A run that draws ends with the same trials, pictures and winner, however often it is killed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import World, evaluations, interrupted
from tests.cli.resumed import facts

pytest.importorskip("diffusers")
from tests.cli.picture_runs import CONFIG, TASK, write_models

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
MOMENTS = 10
EULER = {"class": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}


def task(data: str, *timesteps: int) -> dict[str, object]:
    return {**TASK, "data": data, "scheduler": EULER, "arguments": {"timesteps": list(timesteps)}}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world with a run of two tasks that was never killed, `whole`."""
    folder = tmp_path_factory.mktemp("pictures") / "world"
    folder.mkdir()
    write_models(folder)
    config = {key: each for key, each in CONFIG.items() if key != "task"}
    tasks = {"tasks": {"early": task("prompts.jsonl", 900, 300), "late": task("late.jsonl", 500, 100)}}
    rows = map(json.loads, (folder / "prompts.jsonl").read_text().splitlines())
    # a seed that `early` has in one split, `late` may have in another
    others = [json.dumps({**row, "seed": 5 - row["seed"]}) for row in rows]
    (folder / "late.jsonl").write_text("\n".join(others))
    (folder / "run.yaml").write_text(yaml.safe_dump(config | tasks))
    done = World(folder=folder).run("evolve", "run.yaml", "--run", "whole")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def world(origin: Path, tmp_path: Path) -> World:
    return World(folder=Path(shutil.copytree(origin, tmp_path / "world")))


def pictures(run: Path) -> set[str]:
    return {each.name for each in (run / "media").iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_a_run_may_be_killed_at_any_moment(world: World, moment: int) -> None:
    """Kill it after its first evaluation, before its last one, and at moments between them."""
    last = evaluations(world.folder / "whole") - 1
    after = 1 + round((last - 1) * moment / (MOMENTS - 1))
    interrupted(world, "evolve", "run.yaml", "--run", "killed", after=after, where="killed")
    world.ok("resume", "killed")
    killed, whole = world.folder / "killed", world.folder / "whole"
    assert facts(killed) == facts(whole)
    assert pictures(killed) == pictures(whole)
