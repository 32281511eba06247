"""Mixed CMA-ES: the contract on every combination of kinds, known optima, and the library's weak points."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from kingyo.core.types import Axis, Genome, InformedStrategy, Trial
from kingyo.search.strategies import build
from kingyo.testing.strategies import MIXED_AXES, scored
from tests.search.strategies.problems import (
    EVERY_KIND,
    best,
    score_of_every_kind,
    work,
)

KINDS = [
    tuple(axis for axis in MIXED_AXES if axis.kind in kinds)
    for size in range(1, 5)
    for kinds in itertools.combinations(("float", "int", "binary", "categorical"), size)
]


@pytest.mark.parametrize("axes", KINDS, ids=lambda axes: "+".join(dict.fromkeys(axis.kind for axis in axes)))
def test_every_combination_of_kinds(axes: tuple[Axis, ...]) -> None:
    """The optimum is high on every axis; noise and failures do not stop the search."""
    chance = random.Random(0)

    def score(genome: Genome) -> float:
        places = [(gene - axis.low) / (axis.high - axis.low) for axis, gene in zip(axes, genome, strict=True)]
        return sum(places) / len(places)

    assert best("mixed-cma-es", axes, score, 400, 0) > 0.999
    assert len(work(build("mixed-cma-es", axes, 0, {}), lambda _: None, 200)) == 200
    assert len(work(build("mixed-cma-es", axes, 0, {}), lambda _: chance.random(), 200)) == 200


@pytest.mark.parametrize(("name", "least"), [("mixed-cma-es", 3.99999), ("ga", 3.99)])
def test_a_recipe_with_a_known_optimum(name: str, least: float) -> None:
    assert min(best(name, EVERY_KIND, score_of_every_kind, 400, seed) for seed in range(2)) > least


def test_an_int_that_starts_on_its_bound_can_leave_it() -> None:
    axes = tuple(Axis(name=f"i{i}", low=0, high=2, kind="int", start=0) for i in range(4))
    trials = build("mixed-cma-es", axes, 0, {"sigma": 0.01}).ask(200)
    assert {gene for trial in trials for gene in trial.genome} >= {0.0, 1.0}
    assert best("mixed-cma-es", axes, sum, 200, 0) == 8


def test_categories_start_equally_likely() -> None:
    strategy = build("mixed-cma-es", EVERY_KIND, 0, {})
    assert isinstance(strategy, InformedStrategy)
    trials = [Trial(number=-1, genome=(0.2, 10.0, 1.0, 1.0)), Trial(number=-2, genome=(0.9, 30.0, 0.0, 1.0))]
    strategy.warm_start([scored(trial, score_of_every_kind(trial.genome)) for trial in trials])
    genomes = np.array([trial.genome for trial in strategy.ask(4000)])
    assert genomes[:, :2].mean(axis=0) == pytest.approx([0.25, 10], abs=0.5)
    assert genomes[:, 2].mean() == pytest.approx(0.5, abs=0.05)
    assert np.bincount(genomes[:, 3].astype(int)) / 4000 == pytest.approx([0.2] * 5, abs=0.03)


def test_categories_that_find_no_better_start_again() -> None:
    """A trap: the optimum is isolated, so the search needs restarts to find it."""
    axes = tuple(Axis(name=f"b{i}", low=0, high=1, kind="binary") for i in range(6))
    log = [trial.genome for trial, _ in work(build("mixed-cma-es", axes, 0, {}), sum, 3000)]
    shares = [np.mean(log[start : start + 90]) for start in range(0, 3000, 90)]
    settled = next(i for i, share in enumerate(shares) if share > 0.9)
    assert min(shares[settled:]) < 0.85
