"""DARE and DELLA against mergekit: other random numbers, the same distribution."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.merging.methods.definitions import Vector
from tests.oracle.cases import MIXED, Case
from tests.oracle.peer import Ours, Peer
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


@pytest.mark.parametrize("shared", [{}, {"normalize": True}, {"rescale": False}, {"lambda": 0.5}], ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_several_sources(
    method: str, shared: dict[str, object], peer: Peer, ours: Ours, world: World
) -> None:
    """Over many seeds, as many entries change and the change is as large."""
    case = Case(method=method, shared=shared, each=MIXED)
    samples = [
        np.array([features(tool.merge(case.recipe(world), seed=seed), world) for seed in SEEDS])
        for tool in (ours, peer)
    ]
    ours_, theirs = samples
    spread = np.sqrt((ours_.var(axis=0, ddof=1) + theirs.var(axis=0, ddof=1)) / len(SEEDS))
    apart = np.abs(ours_.mean(axis=0) - theirs.mean(axis=0)) / spread
    assert np.all(apart < LIMIT), dict(zip(FEATURES, apart.tolist(), strict=True))


def probabilities(method: str, density: float, world: World) -> Vector:
    """The chance that each entry is kept, in the order of ``deltas``."""
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
