"""Progress messages of a run, and its defaults."""

from __future__ import annotations

import json

from tests.cli.conftest import World, interrupted


def test_the_test_split_of_a_run_under_way_is_not_read_by_accident(world: World) -> None:
    interrupted(world, "evolve", "run.yaml", after=5)
    done = world.fails("evaluate", "a", "runs/small", "--json")
    error = json.loads(done.stdout)["error"]
    assert "a finished run" in error["expected"]
    world.ok("evaluate", "a", "runs/small", "--split", "validation")
    assert world.run("show", "runs/small").stdout.splitlines()[-1] == "Next: `kingyo resume runs/small`"
