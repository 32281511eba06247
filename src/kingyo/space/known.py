"""Points of a space that are models known before the search: the sources as they are, and their average.

Their scores are measured as baselines anyway, so a strategy may learn of them for nothing. Only points whose
recipe gives exactly these weights count, up to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kingyo.space.dataflow import DataflowSpace
from kingyo.space.hybrid import HybridSpace
from kingyo.space.parameter import Bounds, ParameterSpace
from kingyo.space.rounded import RoundedSpace
from kingyo.space.vocabularies import JoinedSpace
from kingyo.space.whole import RecipeSpace
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


def paths_of(space: object) -> DataflowSpace | None:
    """Return the paths through layers that a space has, if it has any."""
    if isinstance(space, RoundedSpace | JoinedSpace):
        return paths_of(space.space)
    if isinstance(space, HybridSpace):
        return space.paths
    return space if isinstance(space, DataflowSpace) else None


def bounds_without_known(space: object) -> Bounds | None:
    """Return the bounds of ``weight`` if no known model lies within them; else None.

    A parent has weight 1, and the others 0 or no part in it; the uniform merge has 1 / n for each of n
    sources. Where weights are normalised equal ones are the uniform merge, so it is always within them.

    Args:
        space: any; None of those that merge no weights.
    """
    if isinstance(space, RoundedSpace | JoinedSpace):
        return bounds_without_known(space.space)
    if isinstance(space, HybridSpace):
        return bounds_without_known(space.merges)
    if isinstance(space, ParameterSpace):
        return _without_known(space, can_leave_out=False)
    if not isinstance(space, RecipeSpace):
        return None
    found = [_without_known(part, can_leave_out=space.choice is not None) for part in space.parts]
    return None if None in found else found[0]


def _without_known(space: ParameterSpace, *, can_leave_out: bool) -> Bounds | None:
    bounds, factor = space.searched.get("weight"), space.values.get("lambda", 1.0)
    if bounds is None or isinstance(factor, Bounds) or not _adds_up(space):
        return None
    low, high = sorted((factor * bounds.low, factor * bounds.high))
    n = len(space.sources)
    has_parent = low <= 1 <= high and (n == 1 or can_leave_out or low <= 0)
    return None if has_parent or low <= 1 / n <= high else bounds


def _adds_up(space: ParameterSpace) -> bool:
    """Whether the method adds weighted models or task vectors, and divides by no sum of weights."""
    normalize = {each.name: each.default for each in space.method.params}.get("normalize")
    return space.method_name == "singular_bands" or space.values.get("normalize", normalize) is False
