"""Points of a space that are models known before the search: the sources as they are, and their average.

Their scores are measured as baselines anyway, so a strategy may learn of them for nothing. Only points whose
recipe gives exactly these weights count, up to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kingyo.space.parameter import ParameterSpace
from kingyo.types import Axis, Genome

AVERAGES = ("linear", "task_arithmetic", "singular_bands")
GAINS = ("top", "middle", "rest")
"""Of singular_bands: with all at 1 it is task_arithmetic."""
TRIMMING = ("ties", "dare_ties", "dare_linear")
"""With density 1 and one source of weight 1 these give that source back."""


def known_points(space: object, names: Sequence[str]) -> dict[str, Genome]:
    """Return name of a baseline -> genome, for ``uniform`` and each source that is a point of the space.

    Args:
        space: any; only of a ``ParameterSpace`` anything is known.
        names: of the sources, in their order.
    """
    if not isinstance(space, ParameterSpace) or not _gives_sources_back(space):
        return {}
    wanted = {name: {other: float(other == name) for other in names} for name in names}
    if space.method_name in AVERAGES:
        wanted["uniform"] = dict.fromkeys(names, 1 / len(names))
    points = {name: _genome(space.axes, weights) for name, weights in wanted.items()}
    return {name: genome for name, genome in points.items() if genome is not None}


def _gives_sources_back(space: ParameterSpace) -> bool:
    fixed = {name: value for name, value in space.values.items() if name not in space.searched}
    plain = dict.fromkeys(("density", "lambda", *GAINS), 1.0)
    searched = set(space.searched)
    if any(name in fixed and fixed[name] != value for name, value in plain.items()):
        return False
    if space.method_name in AVERAGES:
        return "weight" in searched and searched <= {"weight", *GAINS}
    return space.method_name in TRIMMING and "weight" in searched and searched <= {"weight", "density"}


def _genome(axes: Sequence[Axis], weights: Mapping[str, float]) -> Genome | None:
    genome: list[float] = []
    for axis in axes:
        parameter, owner = axis.family.split("/", 1)
        value = weights[owner] if parameter == "weight" else 1.0
        if not axis.low <= value <= axis.high:
            return None
        genome.append(value)
    return tuple(genome)
