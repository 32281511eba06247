"""SCE: select the entries that vary most between sources, calculate weights, and erase minority signs.

Wan et al. 2024, "FuseChat: Knowledge fusion of chat models" (arXiv 2408.07990), section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kingyo.io.lazy_torch import Tensor
from kingyo.kernels import Term, Threshold, WeightedSum
from kingyo.kernels.differences import varied
from kingyo.kernels.facts import PASSING
from kingyo.kernels.measures import energies, most_varied
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter, TensorContext
from kingyo.methods.task_vectors import kept_count


class Sce:
    """θ₀ + Σ wᵢ aᵢδᵢ / Σ wᵢ aᵢ, with wᵢ = |δᵢ|² / Σ |δⱼ|² over the selected entries of the tensor.

    Select: of the v entries that differ between sources, the max(1, int(select_topk · v)) with the largest
    variance over the task vectors; all entries if select_topk is 1 or none differs. Erase: aᵢ is 1 where δᵢ
    has the sign of Σ δⱼ (zero counts as +), else 0. A divisor below 1e-8 counts as 1.
    """

    name = "sce"
    doc = "Select what varies most, weight sources by squared changes, erase minority signs (Wan 2024)."
    params = (
        Parameter(
            name="select_topk",
            doc="Fraction of the entries that differ between sources that is merged.",
            default=1.0,
            low=0.0,
            high=1.0,
            search_low=0.05,
            search_high=1.0,
        ),
    )
    needs_base = True
    min_sources = 1
    max_sources = None
    stochastic = False
    guide = Guide(
        when="Many chat models of one base, without tuning a weight for each.",
        source='Wan et al. 2024, "FuseChat: Knowledge fusion of chat models" (arXiv 2408.07990)',
        differs=(
            "At least one entry is selected, and all if none differs (one source, or equal ones); mergekit "
            "returns the base then.",
        ),
    )

    def hands_on(self, values: MethodValues) -> bool:
        """See ``contract.hands_on``. Selecting entries needs torch."""
        return values.number("select_topk") >= 1.0

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, context: TensorContext, /
    ) -> WeightedSum:
        """Merge; see ``MergeMethod``."""
        assert base is not None
        spread = _selected(sources, base, values.number("select_topk"), context)
        which = "all" if spread is None else f"{spread.least!r} {spread.before}"
        squares = context.recall(
            f"{PASSING}energies of {which}", range(len(sources)), lambda: energies(sources, base, spread)
        )
        total = math.fsum(float(each) for each in squares) or 1.0
        shares = [float(each) / total for each in squares]
        terms = (
            Term(source=each, factor=share, share=share) for each, share in zip(sources, shares, strict=True)
        )
        return WeightedSum(
            shape=tuple(base.shape),
            terms=tuple(terms),
            base=base,
            elect=True,
            equal_votes=True,
            normalize=True,
            spread=spread,
        )


def _selected(
    sources: Sequence[Tensor], base: Tensor, topk: float, context: TensorContext
) -> Threshold | None:
    """Return the limit that separates the selected entries from the rest; None selects all."""
    if topk >= 1.0:
        return None
    every = range(len(sources))
    n = int(context.recall("varied", every, lambda: np.array([varied(sources)]))[0])
    if n == 0:
        return None
    count = kept_count(n, topk)

    def measure() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        limit = most_varied(sources, base, count)
        return np.array([limit.least, limit.before], dtype=np.float64)

    measured = context.recall(f"{PASSING}most varied {count}", every, measure)
    return Threshold(least=float(measured[0]), before=int(measured[1]))


METHODS.register(Sce.name)(Sce())
