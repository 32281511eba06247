"""The Karcher mean: the point on the sphere with the smallest sum of squared angles to all sources."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kingyo.kernels import WeightedSum
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter
from kingyo.methods.inputs import MergeInputs

Matrix = Sequence[Sequence[float]]
_CANCELLED = 1e-8


class Karcher:
    """m · mean |θᵢ|, where m is the Karcher mean of the directions θᵢ / |θᵢ|.

    m starts at the normalised mean and moves to exp_m(T), where T is the mean of the logarithms log_m, until
    |T| < tol or after max_iter steps. All points stay in the span of the sources, so their inner products
    suffice. A zero tensor has no direction, but counts in the mean length. If the directions cancel, the
    result is the plain mean.
    """

    name = "karcher"
    doc = "Riemannian centre of the sources on the sphere, times their mean length, with equal weights."
    params = (
        Parameter(
            name="max_iter", kind="int", default=10, low=0, doc="Maximum number of steps towards the mean."
        ),
        Parameter(name="tol", default=1e-5, low=0.0, doc="Length in radians below which a step is the last."),
    )
    needs_base = False
    min_sources = 1
    max_sources = None
    stochastic = False
    reproduces = "on one machine"
    guide = Guide(
        when="Equally important sources that are far apart, such as independent fine-tunes without a base.",
        source='Karcher 1977, "Riemannian center of mass and mollifier smoothing" (CPAM)',
        differs=(
            "Inner products are in float64, so directions that cancel are detected and give the plain mean; "
            "in mergekit rounding errors decide the result.",
        ),
    )

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        """Describe the merge; see ``DescribesMerge``."""
        n = inputs.n_sources
        products = inputs.inner_products("sources")
        norms = [math.sqrt(products[i, i]) for i in range(n)]
        known = [i for i in range(n) if norms[i] > 0]
        cosines = [[float(products[i, j]) / norms[i] / norms[j] for j in known] for i in known]
        centre = _centre(cosines, int(values.number("max_iter")), values.number("tol"))
        factors = [1 / n] * n
        if centre is not None:
            mean = math.fsum(norms) / n
            for i, share in zip(known, centre, strict=True):
                factors[i] = mean * share / norms[i]
        return inputs.weighted_sum(factors, "sources")


def _centre(cosines: Matrix, max_iter: int, tol: float) -> list[float] | None:
    """Return the centre's coefficients for directions with these inner products; None if they cancel."""
    n = len(cosines)
    length = _norm([1 / n] * n, cosines) if n else 0.0
    if length < _CANCELLED:
        return None
    m = [1 / n / length] * n
    for _ in range(max_iter):
        step = _mean_logarithm(m, cosines)
        size = _norm(step, cosines)
        if size < tol or size == 0:
            break
        moved = [math.cos(size) * a + math.sin(size) / size * b for a, b in zip(m, step, strict=True)]
        length = _norm(moved, cosines)
        m = [a / length for a in moved]
    return m


def _mean_logarithm(m: Sequence[float], cosines: Matrix) -> list[float]:
    """Return mean_i log_m(xᵢ) = mean_i (xᵢ - cos Ωᵢ m) Ωᵢ / sin Ωᵢ; Ωᵢ is the angle between xᵢ and m."""
    n = len(cosines)
    step = [0.0] * n
    along = 0.0
    for i, row in enumerate(cosines):
        cos = max(-1.0, min(1.0, math.fsum(a * b for a, b in zip(m, row, strict=True))))
        sin = math.sqrt(1 - cos * cos)
        stretch = math.acos(cos) / sin / n if sin > 0 else 1 / n
        step[i] = stretch
        along += stretch * cos
    return [own - along * a for own, a in zip(step, m, strict=True)]


def _norm(x: Sequence[float], cosines: Matrix) -> float:
    squares = (a * b * cos for a, row in zip(x, cosines, strict=True) for b, cos in zip(x, row, strict=True))
    return math.sqrt(max(0.0, math.fsum(squares)))


METHODS.register(Karcher.name)(Karcher())
