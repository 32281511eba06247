"""A run whose items have reference answers trains a LoRA for a short time, unless its run.yaml decides."""

import json
from typing import Any

import pytest
import yaml

from tests.cli.conftest import World
from tests.cli.forked import run_without
from tests.cli.training_runs import EASY, SPLITS, easy


def undecided(world: World, **changes: object) -> str:
    """Write a run.yaml that leaves the control ``trained`` open."""
    config = easy(world, **changes)
    values = yaml.safe_load(config.read_text())
    del values["controls"]
    config.write_text(yaml.safe_dump(values))
    return config.name


def test_reference_answers_bring_a_short_training(world: World) -> None:
    done = world.ok("evolve", undecided(world, budget={"candidates": 6}), "--json")
    summary = json.loads(done.stdout)
    training: dict[str, Any] = summary["training"]
    assert training["share"] == 0.25 and summary["controls"]["trained"]["test"]["n"] == 12
    shown = world.run("show", "runs/small")
    assert "trained LoRA" in shown.stdout and "the main search took" in " ".join(shown.stdout.split())
    assert "has changed" not in world.run("resume", "runs/small").stderr
    again = world.ok("control", "runs/small", "trained")
    assert "already done" in again.stderr


@pytest.mark.parametrize("grader", ["half", "few"])
def test_without_them_nothing_is_trained(world: World, grader: str) -> None:
    (world.folder / "graders.py").write_text(
        "def half(answer, item):\n    return 0.5\n"
        "def few(answer, item):\n    return float(item.prompt.startswith('1'))\n"
    )
    task = {**EASY, "grader": f"graders.py:{grader}", "splits": SPLITS}
    done = world.ok("evolve", undecided(world, task=task), "--dry-run")
    assert "search" in done.stdout and "control trained" not in done.stdout


def test_without_peft_nothing_is_trained(world: World) -> None:
    config = undecided(world, budget={"candidates": 2})
    done = run_without(["peft"], world.folder, "evolve", config, "--json")
    assert done.returncode == 0, done.stderr
    assert "trained" not in json.loads(done.stdout)["controls"]
