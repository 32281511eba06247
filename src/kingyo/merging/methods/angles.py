"""Methods that depend on angles between tensors, rows or columns: spherical means, and model stock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.merging.kernels import Elementwise, Lazy, WeightedSum
from kingyo.merging.kernels.blocks import Line, Span, add_rows, differences, lines_of
from kingyo.merging.kernels.raw_tensor import as_torch
from kingyo.merging.kernels.statistics import Floats
from kingyo.merging.kernels.weighted_sum import SMALLEST_DIVISOR
from kingyo.merging.methods import METHODS
from kingyo.merging.methods.contract import MethodDefaults, MethodValues, OnBase, Parameter, switch
from kingyo.merging.methods.inputs import MergeInputs
from kingyo.merging.methods.linear import WEIGHT, normalized

_COLINEAR, _PARALLEL = 0.9995, 1 - 1e-12
"""|cos Ω| from which slerp and nuslerp interpolate linearly."""
_CANCELLED = 1e-8
Matrix = Sequence[Sequence[float]]


def _cosine(products: Floats, i: int, j: int) -> float | None:
    """Return cos Ω of two vectors from inner products, or None if one is zero."""
    norms = math.sqrt(float(products[i, i])) * math.sqrt(float(products[j, j]))
    return max(-1.0, min(1.0, float(products[i, j]) / norms)) if norms > 0 else None


def _shares(t: float, products: Floats, linear_above: float) -> tuple[float, float]:
    """Return the factors of two vectors at position t: sin((1-t)Ω) / sin Ω and sin(tΩ) / sin Ω.

    If |cos Ω| is above ``linear_above``, or there is no angle, they are 1 - t and t.
    """
    cos = _cosine(products, 0, 1)
    if cos is None or abs(cos) > linear_above:
        return 1 - t, t
    angle = math.acos(cos)
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def _line_sum(inputs: MergeInputs, factors: NDArray[np.float32], line: Line) -> Elementwise:
    """Return θ₀ + Σ fᵢ(line) (θᵢ - θ₀), or Σ fᵢ(line) θᵢ without a base; factors: [sources, lines]."""
    read, by_line = differences(inputs.sources, inputs.base), torch.as_tensor(factors)
    start = None if inputs.base is None else as_torch(inputs.base).reshape(-1)

    def compute(span: Span) -> Tensor:
        total = add_rows(read(span).mul_(by_line[:, lines_of(span, inputs.shape, line)]))
        return total if start is None else total.add_(start[span[0] : span[1]])

    return Elementwise(shape=inputs.shape, compute=compute)


class Slerp(OnBase):
    """(sin((1-t)Ω) θ₀ + sin(tΩ) θ₁) / sin Ω, where Ω is the angle between the two tensors.

    If |cos Ω| > 0.9995, or a tensor is zero and has no angle, interpolation is linear: (1-t) θ₀ + t θ₁.
    """

    name = "slerp"
    doc = "Spherical interpolation per tensor from the base (t = 0) to the source (t = 1)."
    params = (
        Parameter(
            name="t",
            doc="Position between base (0) and source (1); values outside extrapolate along the circle.",
            search_low=0.0,
            search_high=1.0,
        ),
    )
    max_sources = 1
    reproduces = "on one machine"
    when = "Two models, if you want one between them, with t per layer or kind of tensor."
    source = 'Shoemake 1985, "Animating rotation with quaternion curves" (SIGGRAPH)'
    differs = (
        "A tensor of zeros has no angle, so interpolation is linear; mergekit assumes a right angle, "
        "which gives sin(π(1-t)/2) θ₀ for a zero source.",
    )

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        both = _shares(values.number("t"), inputs.inner_products("base and sources"), _COLINEAR)
        return inputs.weighted_sum(both, "base and sources")


class NuSlerp(MethodDefaults):
    """slerp(θ₁, θ₂) at t = w₂ / (w₁ + w₂); with a base, θ₀ + slerp(δ₁, δ₂).

    Without nuslerp_flatten each row (or column) has its own angle; a vector is one row. If two rows are
    parallel, or one is zero and has no angle, interpolation is linear.
    """

    name = "nuslerp"
    doc = "Spherical interpolation between two sources by weight; with a base, between their task vectors."
    params = (
        WEIGHT,
        switch("nuslerp_flatten", True, "Use one angle per tensor; false uses one per row or column."),
        switch(
            "nuslerp_row_wise",
            False,
            "Without nuslerp_flatten: compare columns (along the first axis), not rows (along the last).",
        ),
    )
    takes_base = True
    min_sources = 2
    max_sources = 2
    reproduces = "on one machine"
    when = "Like slerp, but with weights and two sources besides the base, or between their task vectors."
    source = "Shoemake 1985, as in slerp; the parameters are mergekit's"
    differs = (
        "A tensor (or row) of zeros has no angle, so interpolation is linear, as in slerp; mergekit "
        "assumes a right angle.",
        "Weights that sum to zero are an error; mergekit uses t = 0.5.",
    )

    def check(self, values: MethodValues, _n_sources: int) -> None:
        normalized(values.each("weight"))

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> Lazy:
        t = normalized(values.each("weight"))[1]
        vectors = "sources" if inputs.base is None else "task vectors"
        if values.flag("nuslerp_flatten") or len(inputs.shape) < 2:
            return inputs.weighted_sum(_shares(t, inputs.inner_products(vectors), _PARALLEL), vectors)
        line: Line = "column" if values.flag("nuslerp_row_wise") else "row"
        products = inputs.line_products(vectors, line)
        factors = np.empty((2, products.shape[2]), dtype=np.float32)
        for i in range(products.shape[2]):
            factors[:, i] = _shares(t, products[:, :, i], _PARALLEL)
        return _line_sum(inputs, factors, line)


class MultiSlerp(MethodDefaults):
    """Σ wᵢ|xᵢ| · u / |u| with u = Σ wᵢ xᵢ / |xᵢ|, where xᵢ is θᵢ, or δᵢ if there is a base.

    With a base the result is added to θ₀. u / |u| is the first iterate of the spherical weighted mean of Buss
    & Fillmore. A zero tensor has no direction, but counts in the mean length. If directions cancel
    (|u| ≤ eps), the result is the weighted sum Σ wᵢxᵢ.
    """

    name = "multislerp"
    doc = "Mean direction of the sources (with a base: of the task vectors) times their mean length."
    params = (
        WEIGHT,
        switch("normalize_weights", True, "Divide the weights by their sum."),
        Parameter(
            name="eps",
            default=1e-8,
            low=0.0,
            doc="Length of the summed directions at which they cancel; the weighted sum is used then.",
        ),
    )
    takes_base = True
    when = "Sources that are far apart, so that the mean of linear would be too short."
    source = 'Buss & Fillmore 2001, "Spherical averages and applications to spherical splines" (ACM TOG)'
    differs = (
        "If all task vectors are zero the result is the base, and if directions cancel it is the "
        "weighted sum; mergekit stops with an error.",
        "Weights that sum to zero are an error unless normalize_weights is false; mergekit returns NaN.",
    )

    def check(self, values: MethodValues, _n_sources: int) -> None:
        if values.flag("normalize_weights"):
            normalized(values.each("weight"))

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        weights = values.each("weight")
        if values.flag("normalize_weights"):
            weights = normalized(weights)
        vectors = "sources" if inputs.base is None else "task vectors"
        products = inputs.inner_products(vectors)
        norms = [math.sqrt(products[i, i]) for i in range(len(weights))]
        units = [weight / norm if norm > 0 else 0.0 for weight, norm in zip(weights, norms, strict=True)]
        length = _norm(units, products.tolist())
        if length <= values.number("eps"):
            return inputs.weighted_sum(weights, vectors)
        mean = math.fsum(weight * norm for weight, norm in zip(weights, norms, strict=True))
        return inputs.weighted_sum([mean * unit / length for unit in units], vectors)


class Karcher(MethodDefaults):
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
    reproduces = "on one machine"
    when = "Equally important sources that are far apart, such as independent fine-tunes without a base."
    source = 'Karcher 1977, "Riemannian center of mass and mollifier smoothing" (CPAM)'
    differs = (
        "Inner products are in float64, so directions that cancel are detected and give the plain mean; "
        "in mergekit rounding errors decide the result.",
    )

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        n = len(inputs.sources)
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


def _norm(x: Sequence[float], products: Matrix) -> float:
    squares = (a * b * xy for a, row in zip(x, products, strict=True) for b, xy in zip(x, row, strict=True))
    return math.sqrt(max(0.0, math.fsum(squares)))


class ModelStock(OnBase):
    """t · mean θᵢ + (1 - t) θ₀ with t = N cos / (1 + (N-1) cos); cos is the mean over pairs of δᵢ, δⱼ.

    t is not clamped. A pair with a zero task vector has cos = 0. If the divisor is zero, as for two opposite
    task vectors, t is 0. With filter_wise each row (along the last index) has its own t; a vector is one row.
    """

    name = "model_stock"
    doc = (
        "Move from the base towards the mean of the sources, further if task vectors agree more (Jang 2024)."
    )
    params = (switch("filter_wise", False, "Compute t per row instead of per tensor."),)
    min_sources = 2
    when = "Two or more fine-tunes of one base on the same task, without tuning weights."
    source = 'Jang et al. 2024, "Model stock" (arXiv 2403.19522)'

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> Lazy:
        n = len(inputs.sources)
        if not values.flag("filter_wise") or len(inputs.shape) < 2:
            share = _ratio(inputs.inner_products("task vectors")) / n
            return inputs.weighted_sum([share] * n, "task vectors")
        products = inputs.line_products("task vectors", "row")
        shares = [_ratio(products[:, :, i]) / n for i in range(products.shape[2])]
        return _line_sum(inputs, np.array([shares] * n, dtype=np.float32), "row")


def _ratio(products: Floats) -> float:
    n = products.shape[0]
    angles = [_cosine(products, i, j) or 0.0 for i, j in combinations(range(n), 2)]
    cos = math.fsum(angles) / len(angles)
    divisor = 1 + (n - 1) * cos
    return n * cos / divisor if abs(divisor) >= SMALLEST_DIVISOR else 0.0


for _method in (Slerp(), NuSlerp(), MultiSlerp(), Karcher(), ModelStock()):
    METHODS.register(_method.name)(_method)
