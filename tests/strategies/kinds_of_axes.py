"""A space with an axis of every kind, and its score."""

from __future__ import annotations

from kingyo.types import Axis, Genome

EVERY_KIND = (
    Axis(name="weight", low=0, high=1),
    Axis(name="layers", low=0, high=30, kind="int"),
    Axis(name="used", low=0, high=1, kind="binary"),
    Axis(name="method", low=0, high=4, kind="categorical", choices=tuple("abcde")),
)


def score_of_every_kind(genome: Genome) -> float:
    """4 at weight 0.3, layer 17, used, method c."""
    weight, layers, used, method = genome
    return 4 - (weight - 0.3) ** 2 - abs(layers - 17) / 30 - (1 - used) - (method != 2)
