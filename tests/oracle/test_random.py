"""DARE and DELLA against mergekit: other random numbers, the same distribution. Ours repeat to the bit."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from tests.oracle.cases import Case
from tests.oracle.definitions import Vector
from tests.oracle.peer import Ours, Peer, read_tensors
from tests.oracle.world import World

pytestmark = pytest.mark.oracle

METHODS = ("dare_linear", "dare_ties", "della", "della_linear")
SEEDS = range(12)
LIMIT = 5.0
"""How many standard errors two samples may be apart: one false alarm in a million."""
Merge = Callable[..., dict[str, Tensor]]


@pytest.fixture(params=["kingyo", "mergekit"])
def merge(request: pytest.FixtureRequest, peer: Peer, ours: Ours) -> Merge:
    """Either tool: what holds for both is what both promise."""
    return ours.merge if request.param == "kingyo" else peer.merge


def alone(method: str, **shared: object) -> Case:
    return Case(method=method, models=["s0"], shared={"weight": 1.0, **shared})


@pytest.mark.parametrize("density", [0.2, 0.6])
@pytest.mark.parametrize("method", METHODS)
def test_kept_entries(method: str, density: float, merge: Merge, world: World) -> None:
    """Each entry is kept with its probability, unchanged without rescaling."""
    chance, counts = probabilities(method, density, world), np.zeros(0)
    for seed in SEEDS:
        merged = merge(alone(method, density=density, rescale=False).recipe(world), seed=seed)
        before, after = deltas(world.tensors["s0"], world), deltas(merged, world)
        kept = np.abs(after) > 1e-7
        np.testing.assert_allclose(after[kept], before[kept], rtol=0, atol=2e-7)
        counts = kept + (counts if counts.size else 0)
    for low in np.unique(np.round(chance, 1)):
        those = np.round(chance, 1) == low
        off = (counts - len(SEEDS) * chance)[those].sum()
        spread = math.sqrt((len(SEEDS) * chance * (1 - chance))[those].sum())
        assert abs(off) <= LIMIT * spread, f"kept with chance about {low}"


@pytest.mark.parametrize("method", METHODS)
def test_rescaling_keeps_the_sum_of_magnitudes(method: str, merge: Merge, world: World) -> None:
    merged = merge(alone(method, density=0.4).recipe(world), seed=3)
    for name, base in world.tensors["base"].items():
        before = (world.tensors["s0"][name].double() - base.double()).abs().sum()
        after = (merged[name].double() - base.double()).abs().sum()
        assert float(after / before) == pytest.approx(1, rel=1e-4), name


@pytest.mark.parametrize("shared", [{}, {"normalize": True}, {"rescale": False}, {"lambda": 0.5}], ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_several_sources(
    method: str, shared: dict[str, object], peer: Peer, ours: Ours, world: World
) -> None:
    """Over many seeds, as many entries change and the change is as large."""
    case = Case(
        method=method,
        shared=shared,
        each=[
            {"weight": 0.5, "density": 0.4},
            {"weight": -0.3, "density": 0.5},
            {"weight": 0.9, "density": 0.8},
        ],
    )
    samples = [
        np.array([features(tool.merge(case.recipe(world), seed=seed), world) for seed in SEEDS])
        for tool in (ours, peer)
    ]
    ours_, theirs = samples
    spread = np.sqrt((ours_.var(axis=0, ddof=1) + theirs.var(axis=0, ddof=1)) / len(SEEDS))
    apart = np.abs(ours_.mean(axis=0) - theirs.mean(axis=0)) / spread
    assert np.all(apart < LIMIT), dict(zip(FEATURES, apart.tolist(), strict=True))


def test_epsilon_of_each_source(peer: Peer, ours: Ours, world: World) -> None:
    """A wider range of probabilities keeps more large entries, so the norm grows."""
    norms: list[list[float]] = []
    for tool in (ours, peer):
        for epsilon in (0.0, 0.4):
            case = Case(
                method="della_linear",
                models=["s0"],
                each=[{"epsilon": epsilon}],
                shared={"weight": 1.0, "density": 0.5, "rescale": False},
            )
            samples_ = [features(tool.merge(case.recipe(world), seed=seed), world)[2] for seed in SEEDS]
            norms.append([float(np.mean(samples_)), float(np.std(samples_)) / math.sqrt(len(SEEDS))])
    for kingyos, their in zip(norms[:2], norms[2:], strict=True):
        assert abs(kingyos[0] - their[0]) < LIMIT * math.hypot(kingyos[1], their[1])
    assert norms[1][0] > norms[0][0] + LIMIT * norms[0][1]


@pytest.mark.parametrize("method", METHODS)
def test_ours_repeats_to_the_bit(method: str, ours: Ours, world: World, tmp_path: Path) -> None:
    """In another process with more threads as well; another seed is another merge."""
    recipe = Case(method=method, shared={"weight": 0.5, "density": 0.4}).recipe(world)
    here, again = ours.merge(recipe, seed=7), ours.merge(recipe, seed=7)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    code = "from kingyo.cli import main; main()"
    command = [sys.executable, "-c", code, "merge", "recipe.yaml", "there", "--seed", "7"]
    subprocess.run(command, cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "2"}, check=True)
    there, other = read_tensors(tmp_path / "there"), ours.merge(recipe, seed=8)
    for name, tensor in here.items():
        assert torch.equal(tensor, again[name]) and torch.equal(tensor, there[name]), name
    assert any(not torch.equal(tensor, other[name]) for name, tensor in here.items())


def probabilities(method: str, density: float, world: World) -> Vector:
    """With what chance each entry is kept, in the order of ``deltas``."""
    if method.startswith("dare"):
        return np.full(deltas(world.tensors["s0"], world).shape, density)
    samples_: list[Vector] = []
    for name, base in sorted(world.tensors["base"].items()):
        sizes = (world.tensors["s0"][name].double() - base.double()).abs().numpy()
        ranks = sizes.argsort(axis=-1).argsort(axis=-1)
        samples_.append((density - 0.15 + 0.3 * ranks / (sizes.shape[-1] - 1)).ravel())
    return np.concatenate(samples_)


def deltas(tensors: dict[str, Tensor], world: World) -> Vector:
    """All entries of all tensors, less those of the base."""
    changes = [tensors[name].double() - base.double() for name, base in sorted(world.tensors["base"].items())]
    return torch.cat([each.reshape(-1) for each in changes]).numpy()


FEATURES = ("share changed", "L1", "L2", "share changed of norms", "largest")


def features(tensors: dict[str, Tensor], world: World) -> list[float]:
    """Numbers that two samples of merges are compared by."""
    all_ = deltas(tensors, world)
    norm = tensors["model.norm.weight"] != world.tensors["base"]["model.norm.weight"]
    return [
        float((np.abs(all_) > 1e-7).mean()),
        float(np.abs(all_).sum()),
        float(np.sqrt((all_**2).sum())),
        float(norm.double().mean()),
        float(np.abs(all_).max()),
    ]
