"""A recipe space of numbers and choices."""

from __future__ import annotations

from kingyo.types import Axis, Genome

METHODS = Axis(name="methods", low=0, high=4, kind="categorical", choices=tuple("abcde"))


RECIPE = (
    Axis(name="weight", low=0, high=1),
    Axis(name="layers", low=0, high=30, kind="int"),
    Axis(name="used", low=0, high=1, kind="binary"),
    METHODS,
)


def recipe(genome: Genome) -> float:
    """4 for a weight of 0.3, 17 layers, used, by the method c."""
    weight, layers, used, method = genome
    return 4 - (weight - 0.3) ** 2 - abs(layers - 17) / 30 - (1 - used) - (method != 2)
