"""Near-duplicates on the command line: they are counted and stay in one split."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from kingyo.store import RunStore
from tests.cli.conftest import World

SPELLINGS = ("{}+1", "{} + 1", "{}+1?", "{}+1.", "{}\u200b+1")


def in_spellings(world: World, **splits: object) -> Path:
    """Write a run.yaml whose items are eight questions in five spellings each."""
    rows = [
        {"q": spelling.format(i), "a": "2", "part": ("fit", "validation", "test")[n % 3]}
        for i in range(8)
        for n, spelling in enumerate(SPELLINGS)
    ]
    (world.folder / "spelled.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = yaml.safe_load((world.folder / "run.yaml").read_text())["task"]
    task |= {"data": "spelled.jsonl", "prompt": "{q}", "answer": "a", "splits": splits}
    plain = {"search": {"strategy": "random"}, "controls": {"random": False, "grid": False}}
    return world.config(task=task, budget={"candidates": 2}, **plain)


@pytest.mark.slow
def test_a_run_reports_the_count_and_an_older_one_omits_it(world: World) -> None:
    config = in_spellings(world, fit=18, validation=8, test=9)
    looked = world.ok("evolve", config, "--dry-run")
    summary = world.data("evolve", config, "--dry-run")
    numbers = {"groups": 8, "items": 35, "apart": 0, "images": 0}
    assert summary["near_duplicates"] == numbers
    line = "8 groups of near-duplicates (35 items), each within one split"
    assert f"0 duplicates dropped; {line}" in " ".join(looked.stdout.split())
    done = world.ok("evolve", config)
    assert f"Items: {line}." in " ".join(done.stdout.split())
    assert world.show("runs/small")["near_duplicates"] == numbers
    world.ok("report", "runs/small")
    assert line in (world.folder / "runs/small/report.html").read_text()
    with RunStore.open(world.folder / "runs/small") as store:
        splits = store.items()
        store.set_fact("near_duplicates", None)  # as a run that an older kingyo began
    assert [len(items) for items in splits.values()] == [18, 8, 9]
    where = {item.prompt[0]: split for split, items in splits.items() for item in items}
    assert all(where[item.prompt[0]] == split for split, items in splits.items() for item in items)
    assert "near_duplicates" not in world.show("runs/small")
    assert "near-duplicates" not in world.run("show", "runs/small").stdout
