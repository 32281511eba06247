"""Random and mutated genes stay inside their axis, and spread as they should."""

import statistics
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.core.types import Axis
from kingyo.search.strategies.genes import (
    gene_at,
    mutate_gene,
    position_of,
    random_gene,
    reflect,
)
from kingyo.testing.strategies import MIXED_AXES

INT = Axis(name="layers", low=-2, high=7, kind="int")
CATEGORY = Axis(name="method", low=0, high=3, kind="categorical", choices=("a", "b", "c", "d"))
BINARY = Axis(name="used", low=0, high=1, kind="binary")
FLOAT = Axis(name="weight", low=-1.0, high=3.0)


@given(value=st.floats(-1e6, 1e6), low=st.floats(-10, 10), width=st.floats(0.01, 20, exclude_min=True))
def test_reflect_stays_inside(value: float, low: float, width: float) -> None:
    assert low <= reflect(value, Axis(name="x", low=low, high=low + width)) <= low + width


@pytest.mark.parametrize(
    ("value", "expected"), [(0.3, 0.3), (-0.3, 0.3), (1.2, 0.8), (2.3, 0.3), (-1.2, 0.8), (0, 0), (1, 1)]
)
def test_reflect_bounces(value: float, expected: float) -> None:
    assert reflect(value, Axis(name="x", low=0, high=1)) == pytest.approx(expected)


@given(place=st.floats(-0.5, 1.5), low=st.floats(-10, 10), width=st.floats(0.01, 20))
def test_a_rounded_gene_stays_inside_and_is_rounded_once(place: float, low: float, width: float) -> None:
    axis = Axis(name="x", low=low, high=low + width)
    gene = gene_at(axis, round(place, 6))
    assert axis.low <= gene <= axis.high
    assert gene_at(axis, position_of(axis, gene)) == gene


@given(seed=st.integers(0, 10_000), index=st.integers(0, len(MIXED_AXES) - 1), step=st.floats(0.001, 5))
def test_genes_stay_on_their_axis(seed: int, index: int, step: float) -> None:
    axis, rng = MIXED_AXES[index], Random(seed)
    gene = random_gene(axis, rng)
    for _ in range(5):
        assert axis.low <= gene <= axis.high
        assert type(gene) is float
        assert axis.kind == "float" or gene.is_integer()
        gene = mutate_gene(axis, gene, step, rng)


def test_random_genes_are_uniform() -> None:
    rng = Random(0)
    counts = Counter(random_gene(INT, rng) for _ in range(10_000))
    assert sorted(counts) == list(range(-2, 8))
    assert max(counts.values()) < 1150 and min(counts.values()) > 850
    floats = [random_gene(FLOAT, rng) for _ in range(10_000)]
    assert statistics.mean(floats) == pytest.approx(1, abs=0.05)
    assert statistics.pstdev(floats) == pytest.approx(4 / 12**0.5, abs=0.03)


def test_float_mutation_is_a_step_of_a_fraction_of_the_range() -> None:
    rng = Random(0)
    steps = [mutate_gene(FLOAT, 1.0, 0.1, rng) - 1.0 for _ in range(10_000)]
    assert statistics.pstdev(steps) == pytest.approx(0.1 * 4, rel=0.05)
    assert statistics.mean(steps) == pytest.approx(0, abs=0.02)


def test_mutation_changes_a_gene() -> None:
    rng = Random(0)
    for axis, value in ((INT, 3.0), (INT, -2.0), (CATEGORY, 0.0), (CATEGORY, 2.0), (BINARY, 1.0)):
        assert all(mutate_gene(axis, value, 0.001, rng) != value for _ in range(100))


def test_a_category_mutates_uniformly() -> None:
    rng = Random(0)
    counts = Counter(mutate_gene(CATEGORY, 1.0, 0.1, rng) for _ in range(6000))
    assert sorted(counts) == [0, 2, 3]
    assert min(counts.values()) > 1800
