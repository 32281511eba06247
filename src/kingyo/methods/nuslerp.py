"""Spherical interpolation between two sources or their task vectors, per tensor, row or column."""

from __future__ import annotations

import numpy as np

from kingyo.kernels import Lazy
from kingyo.kernels.lazy import Line
from kingyo.kernels.statistics import Floats
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter
from kingyo.methods.inputs import MergeInputs
from kingyo.methods.linear import normalized
from kingyo.methods.sphere import cosine, shares
from kingyo.methods.task_vectors import WEIGHT

_PARALLEL = 1 - 1e-12


class NuSlerp:
    """slerp(θ₁, θ₂) at t = w₂ / (w₁ + w₂); with a base, θ₀ + slerp(δ₁, δ₂).

    Without nuslerp_flatten each row (or column) has its own angle; a vector is one row. If two rows are
    parallel, or one is zero and has no angle, interpolation is linear.
    """

    name = "nuslerp"
    doc = "Spherical interpolation between two sources by weight; with a base, between their task vectors."
    params = (
        WEIGHT,
        Parameter(
            name="nuslerp_flatten",
            kind="bool",
            default=True,
            doc="Use one angle per tensor; false uses one per row or column.",
        ),
        Parameter(
            name="nuslerp_row_wise",
            kind="bool",
            default=False,
            doc="Without nuslerp_flatten: compare columns (along the first axis), not rows (along the last).",
        ),
    )
    needs_base = False
    takes_base = True
    min_sources = 2
    max_sources = 2
    stochastic = False
    reproduces = "on one machine"
    guide = Guide(
        when="Like slerp, but with weights and two sources besides the base, or between their task vectors.",
        source="Shoemake 1985, as in slerp; the parameters are mergekit's",
        differs=(
            "A tensor (or row) of zeros has no angle, so interpolation is linear, as in slerp; mergekit "
            "assumes a right angle.",
            "Weights that sum to zero are an error; mergekit uses t = 0.5.",
        ),
    )

    def check(self, values: MethodValues, _n_sources: int) -> None:
        """See ``check_together``."""
        normalized(values.each("weight"))

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> Lazy:
        """Describe the merge; see ``DescribesMerge``."""
        t = normalized(values.each("weight"))[1]
        vectors = "task vectors" if inputs.has_base else "sources"
        if values.flag("nuslerp_flatten") or len(inputs.shape) < 2:
            products = inputs.inner_products(vectors)
            return inputs.weighted_sum(_shares(t, products[:, :, None])[0], vectors)
        line: Line = "column" if values.flag("nuslerp_row_wise") else "row"
        factors = np.array(_shares(t, inputs.line_products(vectors, line)), dtype=np.float32)
        return inputs.line_sum(np.ascontiguousarray(factors.reshape(-1, 2).T), line)


def _shares(t: float, products: Floats) -> list[tuple[float, float]]:
    """Return the factors of both sources per line, from the inner products, shape (2, 2, lines)."""
    factors: list[tuple[float, float]] = []
    for i in range(products.shape[2]):
        cos = cosine(float(products[0, 0, i]), float(products[1, 1, i]), float(products[0, 1, i]))
        factors.append(shares(t, cos, _PARALLEL))
    return factors


METHODS.register(NuSlerp.name)(NuSlerp())
