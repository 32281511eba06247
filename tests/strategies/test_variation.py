"""How quality-diversity searches make a child of two parents, and how wide their steps are."""

from __future__ import annotations

import statistics
from random import Random

import numpy as np
import pytest

from kingyo.strategies import variation
from kingyo.testing.strategies import MIXED_AXES
from tests.strategies.problems import floats


def test_a_mix_lies_on_the_line_through_its_parents() -> None:
    rng, one, two = Random(0), (0.2, 0.4, 0.1), (0.6, 0.5, 0.9)
    shares: list[float] = []
    for _ in range(500):
        child = variation.linear_mix(floats(3, -9, 9), one, two, 0.3, rng)
        share = (child[0] - two[0]) / (one[0] - two[0])
        shares.append(share)
        assert child == pytest.approx(
            [share * a + (1 - share) * b for a, b in zip(one, two, strict=True)], abs=2e-3
        )
    assert statistics.fmean(shares) == pytest.approx(0.5, abs=0.03)
    assert variation.linear_mix(floats(3), one, two, 0.0, rng) == pytest.approx((0.4, 0.45, 0.5))


def test_non_float_genes_come_from_either_parent() -> None:
    rng, one, two = Random(0), (0.0, 0.1, -2.0, 0.0, 0.0), (1.0, 0.9, 7.0, 1.0, 2.0)
    for cross in (variation.linear_mix, variation.line_step):
        children = [cross(MIXED_AXES, one, two, 0.1, rng)[2:] for _ in range(600)]
        for place, (a, b) in enumerate(zip(one[2:], two[2:], strict=True)):
            assert {child[place] for child in children} == {a, b}
            assert 240 < sum(child[place] == a for child in children) < 360


def test_singular_steps_follow_the_spread_of_the_archive() -> None:
    axes = floats(3, low=-2, high=2)
    genomes = [(0.0, 0.0, 0.5), (1.0, 1.0, 0.5), (-1.0, -1.0, 0.5), (0.1, -0.1, 0.5), (-0.1, 0.1, 0.5)]
    root = variation.singular_root(axes, genomes)
    assert root @ root == pytest.approx(np.cov(np.array(genomes).T, bias=True) / 16)
    rng = Random(0)
    steps = np.array([variation.singular_step(axes, (0.0, 0.0, 0.5), root, 0.5, rng) for _ in range(2000)])
    assert set(steps[:, 2]) == {0.5}
    along, across = (steps[:, 0] + steps[:, 1]).std(), (steps[:, 0] - steps[:, 1]).std()
    assert along == pytest.approx(0.5 * (8 / 5) ** 0.5, rel=0.06)
    assert across == pytest.approx(0.5 * (0.08 / 5) ** 0.5, rel=0.06)


def test_one_member_or_no_float_axis_has_no_singular_step() -> None:
    assert not variation.singular_root(floats(2), [(0.1, 0.2)]).any()
    root = variation.singular_root(MIXED_AXES[2:], [(1.0, 0.0, 2.0), (2.0, 1.0, 1.0)])
    assert variation.singular_step(MIXED_AXES[2:], (1.0, 0.0, 2.0), root, 1.0, Random(0)) == (1.0, 0.0, 2.0)
