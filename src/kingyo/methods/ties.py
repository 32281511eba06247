"""TIES: trim, elect signs, and merge what agrees.

Yadav et al. 2023, "TIES-Merging: Resolving interference when merging models" (arXiv 2306.01708), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.io.lazy_torch import Tensor
from kingyo.kernels import MagnitudeMask, Mask, WeightedSum
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, TensorContext
from kingyo.methods.task_vectors import (
    DENSITY,
    LAMBDA,
    WEIGHT,
    blend,
    kept_count,
    largest_entries,
    normalize,
    rescale,
    rescaling,
)


class Ties:
    """Task vectors keep their largest entries; Σ wᵢδᵢ elects a sign per entry; agreeing entries are averaged.

    Of n entries max(1, int(density · n)) are kept; of equal magnitudes, the first. A sum of zero elects +.
    """

    name = "ties"
    doc = "Trim small changes, elect a sign per entry, and average the changes that agree (Yadav 2023)."
    params = (WEIGHT, DENSITY, LAMBDA, normalize(True, elect=True), rescale(False))
    needs_base = True
    min_sources = 1
    max_sources = None
    stochastic = False
    guide = Guide(
        when="Fine-tunes of one base on different tasks, if a plain sum loses some because signs conflict.",
        source='Yadav et al. 2023, "TIES-Merging: Resolving interference when merging models" '
        "(arXiv 2306.01708)",
        differs=("Of equal magnitudes the first entries are kept; mergekit's choice is undefined.",),
    )

    def hands_on(self, values: MethodValues) -> bool:
        """See ``contract.hands_on``. Rescaling sums the kept entries with torch."""
        return not values.flag("rescale")

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, context: TensorContext, /
    ) -> WeightedSum:
        """Merge; see ``MergeMethod``."""
        assert base is not None
        n = base.numel()

        def trim(i: int) -> tuple[Mask | None, float]:
            count = kept_count(n, values.each("density")[i])
            if count == n:
                return None, 1.0
            kept = MagnitudeMask(low=largest_entries(sources, base, i, count, context))
            return kept, rescaling(sources, base, i, kept, context) if values.flag("rescale") else 1.0

        return blend(sources, base, values, elect=True, keep=trim)


METHODS.register(Ties.name)(Ties())
