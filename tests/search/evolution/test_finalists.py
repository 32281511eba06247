"""Finalists are of different places where fit knows several, and as many as were asked for where not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kingyo.core.types import Axis, Genome
from kingyo.search.evolution.picking import spread_out

WEIGHT = Axis(name="weight", low=0, high=2)
METHOD = Axis(name="method", low=0, high=2, kind="categorical", choices=("linear", "ties", "slerp"))
genes = st.floats(0, 2, allow_nan=False)


def test_the_first_of_each_neighbourhood_is_picked() -> None:
    genomes = [(1.0, 1.0), (1.1, 0.95), (1.25, 1.0), (0.9, 1.15), (0.0, 0.0)]
    assert spread_out(genomes, [WEIGHT, WEIGHT], 3) == [0, 2, 4]


def test_different_categories_are_different_places() -> None:
    genomes = [(1.0, 0.0), (1.0, 1.0), (1.01, 1.0)]
    assert spread_out(genomes, [WEIGHT, METHOD], 2) == [0, 1]


@given(st.lists(st.tuples(genes, genes), max_size=20), st.integers(1, 8))
def test_the_best_is_always_one_and_none_is_missing(genomes: list[Genome], n: int) -> None:
    picked = spread_out(genomes, [WEIGHT, WEIGHT], n)
    assert len(picked) == min(n, len(genomes))
    assert picked == sorted(set(picked))
    assert not genomes or picked[0] == 0
