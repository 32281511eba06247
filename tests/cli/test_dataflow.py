"""Paths through layers, from a run.yaml to an exported model that answers the same."""

from typing import Any

import pytest

from tests.cli.conftest import World
from tests.cli.path_runs import DATAFLOW
from tests.decoders import SHAPE, loud, maker
from tests.models_on_disk import tokenizer


def test_show_prints_the_path_of_a_winner_and_of_a_trial(world: World) -> None:
    shown = world.data("evolve", world.config(**DATAFLOW))["winner"]
    hops = [(hop["model"], hop["layer"], hop["scale"]) for hop in shown["path"]["hops"]]
    assert hops == recipe_hops(shown["recipe"])
    output = world.run("show", "runs/small").stdout
    assert f"Path of bred: {len(hops)} hop" in output and "embeddings, norm and head of a" in output
    assert shown["path"]["text"] in output.splitlines()
    assert shown["path"]["text"] in world.run("show", "runs/small", env={"COLUMNS": "10"}).stdout.splitlines()
    number = (shown["trial"] + 1) % 6
    one = world.data("show", "runs/small", "--trial", str(number))
    assert one["trial"] == number and one["fit"]["n"] > 0
    hops = [(hop["model"], hop["layer"], hop["scale"]) for hop in one["path"]["hops"]]
    assert hops == recipe_hops(one["recipe"])
    output = world.run("show", "runs/small", "--trial", str(number)).stdout
    assert one["path"]["text"] in output.splitlines() and "merge_method: passthrough" in output
    world.fails("show", "runs/small", "--trial", "99", says="a number from 0 to 5")


def recipe_hops(recipe: dict[str, Any]) -> list[tuple[str, int, float]]:
    hops: list[tuple[str, int, float]] = []
    for entry in recipe["path"]:
        first, end = entry.get("layer_range") or (entry["layer"], entry["layer"] + 1)
        hops += [(entry["model"], layer, entry.get("scale", 1.0)) for layer in range(first, end)]
    return hops


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"space": "parameters"}, "space: dataflow (or hybrid) beside dataflow"),
        (
            {"merge": {"method": "ties"}},
            "merge: expected no other keys than dtype with space: dataflow; received method",
        ),
        ({"dataflow": {"frame": "zz"}}, "one of a, b as dataflow.frame"),
        ({"dataflow": {"repetition": 2}}, "Did you mean 'repetitions'"),
    ],
)
def test_mistakes_are_named(world: World, changed: dict[str, object], says: str) -> None:
    world.fails("evolve", world.config(**{**DATAFLOW, **changed}), says=says)
    assert not (world.folder / "runs").exists()


def test_models_without_exportable_paths_are_refused_before_a_run(world: World) -> None:
    for seed, name in enumerate(("other-a", "other-b")):
        loud(maker("Olmo3", **SHAPE), seed).save_pretrained(world.folder / name)
        tokenizer().save_pretrained(world.folder / name)
    settings: dict[str, object] = {**DATAFLOW, "sources": {"a": "other-a", "b": "other-b"}}
    for option in ((), ("--dry-run",)):
        done = world.fails("evolve", world.config(**settings), *option)
        assert "scales in a model of type olmo3" in done.stderr
        assert "scales: none" in done.stderr
        assert not (world.folder / "runs").exists()
    settings["dataflow"] = {"scales": "none"}
    world.ok("evolve", world.config(**settings), "--dry-run")
