"""Model stock: interpolate between base and mean of the sources by the angles between task vectors.

Jang et al. 2024, "Model Stock: All we need is just a few fine-tuned models" (arXiv 2403.19522).
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from kingyo.kernels import Lazy
from kingyo.kernels.statistics import Floats
from kingyo.kernels.weighted_sum import SMALLEST_DIVISOR
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter
from kingyo.methods.inputs import MergeInputs
from kingyo.methods.sphere import cosine


class ModelStock:
    """t · mean θᵢ + (1 - t) θ₀ with t = N cos / (1 + (N-1) cos); cos is the mean over pairs of δᵢ, δⱼ.

    t is not clamped. A pair with a zero task vector has cos = 0. If the divisor is zero, as for two opposite
    task vectors, t is 0. With filter_wise each row (along the last index) has its own t; a vector is one row.
    """

    name = "model_stock"
    doc = (
        "Move from the base towards the mean of the sources, further if task vectors agree more (Jang 2024)."
    )
    params = (
        Parameter(
            name="filter_wise", kind="bool", default=False, doc="Compute t per row instead of per tensor."
        ),
    )
    needs_base = True
    min_sources = 2
    max_sources = None
    stochastic = False
    guide = Guide(
        when="Two or more fine-tunes of one base on the same task, without tuning weights.",
        source='Jang et al. 2024, "Model stock: All we need is just a few fine-tuned models" '
        "(arXiv 2403.19522)",
    )

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> Lazy:
        """Describe the merge; see ``DescribesMerge``."""
        n = inputs.n_sources
        if not values.flag("filter_wise") or len(inputs.shape) < 2:
            share = _ratio(inputs.inner_products("task vectors")) / n
            return inputs.weighted_sum([share] * n, "task vectors")
        products = inputs.line_products("task vectors", "row")
        shares = [_ratio(products[:, :, i]) / n for i in range(products.shape[2])]
        return inputs.line_sum(np.array([shares] * n, dtype=np.float32), "row")


def _ratio(products: Floats) -> float:
    """Return t from the inner products of the task vectors, shape (N, N)."""
    n = products.shape[0]
    angles = [
        cosine(float(products[i, i]), float(products[j, j]), float(products[i, j])) or 0.0
        for i, j in combinations(range(n), 2)
    ]
    cos = math.fsum(angles) / len(angles)
    divisor = 1 + (n - 1) * cos
    return n * cos / divisor if abs(divisor) >= SMALLEST_DIVISOR else 0.0


METHODS.register(ModelStock.name)(ModelStock())
