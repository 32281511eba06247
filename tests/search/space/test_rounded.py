"""Genes on a grid: near-duplicates are one recipe, and no gene moves far."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.core.types import Axis, Genome
from kingyo.merging.recipe import Recipe, Source
from kingyo.search.space import RoundedSpace


class One:
    """A space of one weight."""

    def __init__(self, axis: Axis) -> None:
        self.axes = (axis,)

    def decode(self, genome: Genome) -> Recipe:
        return Recipe(
            merge_method="linear", sources=(Source(model="a", parameters={"weight": genome[0]}),), dtype=None
        )


def decoded(axis: Axis, gene: float) -> float:
    (source,) = RoundedSpace(space=One(axis)).decode((gene,)).sources
    value = source.parameters["weight"]
    assert isinstance(value, float)
    return value


@pytest.mark.parametrize(
    ("low", "high", "gene", "expected"),
    [
        (0, 1, 0.12349, 0.123),
        (0, 1.5, 0.98761, 0.988),
        (0.1, 1, 0.12344, 0.1234),  # 900 steps of 0.001 would be too few
        (-1, 2, -0.0004, 0.0),
        (0, 20, 7.1254, 7.13),
        (0, 1000, 12.4, 12.0),
        (1e-7, 2e-7, 1.2345678e-7, 1.235e-7),
        (0.00012345, 1, 0.00013, 0.00012345),  # not below the bound
        (0, 0.99991, 0.9999, 0.9999),
    ],
)
def test_what_a_gene_becomes(low: float, high: float, gene: float, expected: float) -> None:
    value = decoded(Axis(name="weight", low=low, high=high), gene)
    assert value == pytest.approx(expected, rel=1e-12, abs=0)
    assert math.copysign(1, value) == 1 or value < 0  # no -0.0, which has another hash than 0.0


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.floats(0, 1))
def test_no_gene_moves_far_or_out_and_twice_is_once(low: float, width: float, share: float) -> None:
    axis = Axis(name="weight", low=low, high=low + width)
    gene = min(axis.high, low + share * width)
    value = decoded(axis, gene)
    assert axis.low <= value <= axis.high
    assert abs(value - gene) <= (axis.high - axis.low) / 2000 * (1 + 1e-6)
    assert decoded(axis, value) == value
