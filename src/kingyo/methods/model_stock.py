"""Model stock: interpolate between base and mean of the sources by the angles between task vectors.

Jang et al. 2024, "Model Stock: All we need is just a few fine-tuned models" (arXiv 2403.19522).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels import Lazy
from kingyo.kernels.blend import SMALLEST_DIVISOR, weighted_sum
from kingyo.kernels.lines import LineSum, line_grams
from kingyo.kernels.measures import gram
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter, Statistic, TensorContext
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

    def hands_on(self, values: MethodValues) -> bool:
        """See ``contract.hands_on``."""
        return not values.flag("filter_wise")

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, context: TensorContext, /
    ) -> Lazy:
        """Merge; see ``MergeMethod``."""
        assert base is not None
        n, shape = len(sources), tuple(base.shape)
        if not values.flag("filter_wise") or len(shape) < 2:
            products = context.recall("gram", range(n), lambda: gram(sources, base))
            return weighted_sum(sources, [_ratio(products) / n] * n, base)
        products = context.recall("gram, by row", range(n), lambda: line_grams(sources, base, "row"))
        ratios = [_ratio(products[:, :, i]) / n for i in range(products.shape[2])]
        factors = torch.tensor([ratios], dtype=torch.float32).expand(n, -1)
        return LineSum(shape=shape, sources=tuple(sources), factors=factors, line="row", base=base)


def _ratio(products: Statistic) -> float:
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
