"""Limits of paths: how long and how large."""

import json
from typing import Any

import yaml
from safetensors.torch import load_file

from tests.cli.conftest import World
from tests.cli.path_runs import DATAFLOW

NUMBERS = 9072
"""Of each model of the world: three layers of 2336, and 2064 around them."""
LAYER, ENDS = 2336, 2064


def dry_run_json(world: World, **changed: Any) -> dict[str, Any]:
    done = world.ok("evolve", world.config(**{**DATAFLOW, **changed}), "--dry-run", "--json")
    return json.loads(done.stdout)


def n_bytes(world: World, model: str) -> int:
    return sum(each.nbytes for each in load_file(world.folder / model / "model.safetensors").values())


def test_the_dry_run_counts_every_model_that_lives_and_the_longest_path(world: World) -> None:
    summary = dry_run_json(world, dataflow={"frame": "a", "repetitions": 2})
    memory = summary["memory"]
    assert memory["live_models"] == 3, "both sources, and what the uniform merge is filled into"
    assert memory["live_bytes"] == 3 * NUMBERS * 4
    assert summary["paths"] == {"longest": 12, "longest_bytes": (ENDS + 12 * LAYER) * 4}
    # keys and values of 12 layers, 2 heads of 4, in 40 rows of the longest prompt and 6 new tokens
    assert memory["cache_bytes"] == 2 * 12 * 2 * 4 * 4 * 40 * (4 + 6)
    done = world.run("evolve", world.config(**DATAFLOW), "--dry-run")
    assert "4 layers at most, 45.6 kB of weights" in " ".join(done.stdout.split())


def test_the_size_that_is_foreseen_is_that_of_the_checkpoint(world: World) -> None:
    for dtype in ("float32", "bfloat16"):
        summary = dry_run_json(world, dataflow={"repetitions": 1}, merge={"dtype": dtype})
        hops = [{"model": name, "layer_range": [0, 3]} for name in "ab"]
        recipe = {"merge_method": "passthrough", "base_model": "a", "path": hops, "dtype": dtype}
        (world.folder / "long.yaml").write_text(yaml.safe_dump(recipe))
        world.ok("merge", "long.yaml", dtype)
        assert n_bytes(world, dtype) == summary["paths"]["longest_bytes"]


def test_the_number_of_hops_limits_paths(world: World) -> None:
    assert dry_run_json(world, dataflow={"max_hops": 2})["paths"]["longest"] == 2
