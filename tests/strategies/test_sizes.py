"""Settings that say how many: a slip of the pen is an error, and does not fill the machine's memory."""

from __future__ import annotations

import pytest

from kingyo.errors import KingyoError
from kingyo.strategies import build
from kingyo.types import Axis

AXES = (Axis(name="a", low=0, high=1), Axis(name="b", low=0, high=1))


@pytest.mark.parametrize(
    ("strategy", "setting"),
    [
        ("cma-es", "population"),
        ("sep-cma-es", "population"),
        ("mixed-cma-es", "population"),
        ("ga", "population"),
        ("nsga2", "population"),
        ("m2n2", "population"),
        ("m2n2", "initial"),
        ("m2n2", "batch"),
        ("map-elites", "population"),
        ("cycleqd", "initial"),
        ("item-gp", "batch"),
        ("item-gp", "initial"),
        ("islands", "islands"),
        ("random", "batch"),
        ("grid", "batch"),
    ],
)
@pytest.mark.parametrize("size", [10**30, -1])
def test_no_size_is_out_of_proportion(strategy: str, setting: str, size: int) -> None:
    with pytest.raises(KingyoError, match=rf"{setting}: expected \d to 100(,000)?; received {size}\b"):
        build(strategy, AXES, 0, {setting: size})
