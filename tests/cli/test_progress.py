"""Progress messages of a run, and its defaults."""

from __future__ import annotations

import json
import re

import yaml

from kingyo.store import RunStore
from tests.cli.conftest import World, interrupted


def test_a_short_search_reports_how_it_ended(world: World) -> None:
    config = world.config(budget={"candidates": 6}, controls={"random": True, "grid": False})
    done = world.ok("evolve", config)
    assert len(re.findall(r"6 of 6 models, best \d+\.\d%", done.stderr)) == 2


def test_a_tiny_model_computes_with_one_thread(finished: World) -> None:
    with RunStore.read(finished.folder / "runs" / "small") as store:
        assert store.fact("threads") == 1


def test_the_test_split_of_a_run_under_way_is_not_read_by_accident(world: World) -> None:
    interrupted(world, "evolve", "run.yaml", after=5)
    done = world.fails("evaluate", "a", "runs/small", "--json")
    error = json.loads(done.stdout)["error"]
    assert "a finished run" in error["expected"]
    world.ok("evaluate", "a", "runs/small", "--split", "validation")
    assert world.run("show", "runs/small").stdout.splitlines()[-1] == "Next: `kingyo resume runs/small`"


def test_counts_of_one_are_singular(world: World) -> None:
    """Check all messages of a run with one source, one candidate and one item per split."""
    rows = [json.dumps({"prompt": f"{n} + {n} =", "answer": str(n)}) for n in range(3)]
    (world.folder / "items.jsonl").write_text("\n".join([*rows, rows[0]]))
    task = yaml.safe_load((world.folder / "task.yaml").read_text())
    config = world.config(
        sources={"a": "a"},
        task={**task, "splits": {"fit": 1, "validation": 1, "test": 1}},
        search={"strategy": "random"},
        budget={"candidates": 1},
        controls=None,
    )
    commands = (("evolve", config, "--dry-run"), ("evolve", config), ("show", "runs/small"))
    done = [world.run(*words) for words in commands]
    assert [each.returncode for each in done] == [0, 0, 0], done[-1].stderr
    output = " ".join(word for each in done for word in (each.stdout + each.stderr).split())
    assert (
        "1 duplicate dropped" in output and "1 trial, 0 failures" in output and "up to 1 item each" in output
    )
    assert re.findall(r"(?<![\d.,=] )(?<![\d.,])1 [a-z]+s\b", output) == []
