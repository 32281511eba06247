"""Genomes against mergekit's: the same genotype is the same recipe."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kingyo.recipe import Recipe
from kingyo.space.mergekit_genome import ON_BASE, GenomeLayout, MergekitGenome
from tests.models_on_disk import llama
from tests.oracle.peer import MERGEKIT, find_python

pytestmark = pytest.mark.oracle
LAYERS = 6
METHODS = ("linear", "task_arithmetic", "ties", "dare_ties", "slerp")
CASES = 20


def cases(folder: Path) -> list[dict[str, Any]]:
    """Genome definitions of every method, at random, with genotypes within their bounds and beyond."""
    dice = random.Random(20261126)
    spec: list[dict[str, Any]] = []
    for method in METHODS * CASES:
        models = [str(folder / name) for name in dice.sample(["a", "b", "c", "d"], dice.randint(2, 4))]
        base = dice.choice([str(folder / "base"), models[-1]]) if method in ON_BASE else None
        genome: dict[str, Any] = {"models": models, "merge_method": method, "base_model": base}
        genome["layer_granularity"] = dice.choice([0, 1, 2, 3, 6, -1])
        genome["normalize"] = dice.choice([None, True, False])
        genome["allow_negative_weights"] = dice.random() < 0.5
        genome["tokenizer_source"] = dice.choice([None, "base"]) if method != "slerp" else None
        if method != "slerp":
            genome["filters"] = dice.choice([None, [], ["self_attn"], ["self_attn", "mlp"]])
            genome["smooth"] = dice.random() < 0.5
        size = len(space(genome).axes)
        spec.append({"genome": genome, "genotype": [dice.uniform(-1.5, 2.5) for _ in range(size)]})
    return spec


def space(genome: dict[str, Any]) -> MergekitGenome:
    settings = {
        key: value for key, value in genome.items() if key not in ("models", "merge_method", "base_model")
    }
    settings["filters"] = tuple(settings.get("filters") or ())
    return MergekitGenome(
        method=genome["merge_method"],
        sources={Path(model).name: model for model in genome["models"]},
        base=genome["base_model"],
        n_layers=LAYERS,
        layout=GenomeLayout(**settings),
    )


def test_the_same_genotype_is_the_same_recipe(tmp_path: Path) -> None:
    python = find_python()
    if python is None:
        pytest.skip(MERGEKIT.absent)
    for name in ("a", "b", "c", "d", "base"):
        llama(tmp_path / name, layers=LAYERS)
    jobs = cases(tmp_path)
    done = subprocess.run(
        [str(python), str(Path(__file__).with_name("genome_driver.py"))],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for job, answer in zip(jobs, json.loads(done.stdout), strict=True):
        ours = space(job["genome"])
        theirs = answer["recipe"]
        if job["genome"]["merge_method"] == "slerp":
            theirs["parameters"].pop("normalize")  # slerp has no such parameter
        if job["genome"]["base_model"] in job["genome"]["models"]:
            without_parameters(theirs, job["genome"]["base_model"])  # it has no task vector
        flat = flattened(ours.decode(tuple(job["genotype"])).to_dict())
        other = flattened(Recipe.from_dict(theirs, "mergekit's").to_dict())
        assert words(flat) == words(other), job
        assert numbers(flat) == pytest.approx(numbers(other), rel=1e-9), job
        assert [axis.first for axis in ours.axes] == pytest.approx(answer["first"], rel=1e-6)


def without_parameters(recipe: dict[str, Any], model: str) -> None:
    groups = [recipe["models"]] if "models" in recipe else [each["sources"] for each in recipe["slices"]]
    for entry in (entry for group in groups for entry in group if entry["model"] == model):
        entry.pop("parameters")


def words(flat: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in flat.items() if not isinstance(value, float)}


def numbers(flat: dict[str, object]) -> dict[str, float]:
    return {key: value for key, value in flat.items() if isinstance(value, float)}


def flattened(value: object, where: str = "") -> dict[str, object]:
    """Every leaf by its place."""
    if isinstance(value, dict):
        return {k: v for key, each in value.items() for k, v in flattened(each, f"{where}.{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for i, each in enumerate(value) for k, v in flattened(each, f"{where}[{i}]").items()}
    return {where: value}
