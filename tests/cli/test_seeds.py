"""kingyo evolve --seeds: several runs, what they say together, and going on where it was stopped."""

import json
import shlex
import signal

import pytest

from kingyo.store import RunStore
from tests.cli.conftest import World, interrupted


def test_seeds_are_run_once_and_their_spread_is_reported(world: World) -> None:
    config = world.config(budget={"candidates": 4}, controls={"random": True, "grid": False})
    summary = world.data("evolve", config, "--run", "many", "--seeds", "2", "--seed", "3")
    assert summary["seeds"] == [3, 4]
    singles = [world.show(f"many/seed-{seed}") for seed in (3, 4)]
    tests = [each["winner"]["test"]["score"] for each in singles]
    assert summary["test"] == tests
    assert summary["mean"]["score"] == sum(tests) / 2
    assert summary["mean"]["low"] <= summary["mean"]["score"] <= summary["mean"]["high"]
    assert set(summary["ahead"]) == set(singles[0]["comparisons"])  # type: ignore[call-overload]

    again = world.ok("evolve", config, "--run", "many", "--seeds", "3", "--seed", "3")
    assert "Seed 3 is finished" in again.stderr
    assert "3 seeds (3, 4, 5)" in again.stdout
    assert "bred − uniform" in again.stdout
    assert world.run("show", "many").stdout == again.stdout
    with RunStore.read(world.folder / "many" / "seed-5") as store:
        assert store.status() == "finished"


@pytest.mark.slow
def test_equal_baselines_are_scored_once_and_the_best_seed_is_named(world: World) -> None:
    config = world.config(budget={"candidates": 3}, controls={"random": False, "grid": False})
    log = world.folder / "graded.txt"
    done = world.ok("evolve", config, "--run", "many", "--seeds", "2", "--json", env={"GRADED": str(log)})
    summary = json.loads(done.stdout)
    # All baselines on all items: base, a, b, uniform on 16 + 12 + 12.
    assert summary["copied_baseline_scores"] == 4 * 40
    graded = len(log.read_text().split())
    world.ok("evolve", config, "--run", "alone", "--seed", "2")
    runs = {seed: world.show(f"many/seed-{seed}") for seed in (1, 2)}
    assert graded == sum(int(str(each["item_evaluations"])) for each in runs.values())
    mine, theirs = runs[2], world.show("alone")
    assert mine["item_evaluations"] == int(str(theirs["item_evaluations"])) - 160
    for key in ("winner", "baselines", "comparisons", "predicted"):
        assert mine[key] == theirs[key]
    scores = {seed: each["winner"]["validation"]["score"] for seed, each in runs.items()}
    best = max(scores, key=lambda seed: (scores[seed], -seed))
    assert summary["export"]["seed"] == best
    named = "" if runs[best]["best"]["search"] == "main" else " --search main"
    assert summary["export"]["command"] == f"kingyo export many/seed-{best} OUT{named}"
    assert summary["export"]["validation"] == runs[best]["winner"]["validation"]
    output = world.run("show", "many").stdout
    assert "160 scores of baselines were copied" in output and "the best of 2" in output
    assert summary["not_compared"] in output and summary["export"]["command"] in output
    world.ok(*shlex.split(summary["export"]["command"].removeprefix("kingyo ")))


def test_an_interrupted_run_prints_the_command_to_continue(world: World) -> None:
    config = world.config(budget={"candidates": 4}, controls={"random": False, "grid": False})
    words = ("evolve", config, "--run", "runs/my seeds", "--seeds", "2", "--seed", "3")
    code, errors = interrupted(world, *words, after=8, sent=signal.SIGINT, where="runs/my seeds/seed-3")
    assert code == 130 and "Traceback" not in errors, errors
    command = errors.strip().splitlines()[-1].partition("Continue with: kingyo ")[2]
    done = world.ok(*shlex.split(command))
    assert "2 seeds (3, 4)" in done.stdout
    assert "for run in 'runs/my seeds'/seed-*; do kingyo control \"$run\" random; done" in done.stdout


def test_runs_that_differ_in_more_than_the_seed_are_not_put_together(world: World) -> None:
    changes = {"budget": {"candidates": 2}, "controls": {"random": False, "grid": False}}
    config = world.config(**changes)
    world.ok("evolve", config, "--run", "many", "--seeds", "1")
    world.config(**changes, finalists=2)
    done = world.fails("evolve", config, "--run", "many", "--seeds", "2")
    assert "many/seed-1: expected a run that differs" in done.stderr
    assert not (world.folder / "many" / "seed-2").exists()
    world.config(**changes, workers=1)
    done = world.run("evolve", config, "--run", "many", "--seeds", "1")
    assert done.returncode == 0, done.stderr


def test_a_run_is_no_folder_for_runs(finished: World) -> None:
    done = finished.run("evolve", "run.yaml", "--run", "runs/small", "--seeds", "2")
    assert done.returncode != 0
    assert "a folder for the runs of several seeds" in done.stderr
