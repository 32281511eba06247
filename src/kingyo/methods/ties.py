"""TIES: trim, elect signs, and merge what agrees.

Yadav et al. 2023, "TIES-Merging: Resolving interference when merging models" (arXiv 2306.01708), algorithm 1.
"""

from __future__ import annotations

from kingyo.kernels import MagnitudeMask, Mask, WeightedSum
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues
from kingyo.methods.inputs import MergeInputs
from kingyo.methods.task_vectors import (
    DENSITY,
    LAMBDA,
    WEIGHT,
    kept_count,
    normalize,
    rescale,
    task_vector_sum,
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

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        """Describe the merge; see ``DescribesMerge``."""

        def trim(i: int) -> tuple[Mask | None, float]:
            count = kept_count(inputs.numel, values.each("density")[i])
            if count == inputs.numel:
                return None, 1.0
            mask = MagnitudeMask(low=inputs.largest(i, count))
            return mask, inputs.rescaling(i, mask) if values.flag("rescale") else 1.0

        return task_vector_sum(inputs, values, elect=True, mask=trim)


METHODS.register(Ties.name)(Ties())
