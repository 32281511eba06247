"""SCE: select the entries that vary most between sources, calculate weights, and erase minority signs.

Wan et al. 2024, "FuseChat: Knowledge fusion of chat models" (arXiv 2408.07990), section 3.3.
"""

from __future__ import annotations

import math

from kingyo.kernels import Threshold, WeightedSum
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter
from kingyo.methods.inputs import MergeInputs
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

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        """Describe the merge; see ``DescribesMerge``."""
        selected = _selected(inputs, values.number("select_topk"))
        squares = inputs.energies(selected)
        total = math.fsum(float(each) for each in squares) or 1.0
        weights = [float(each) / total for each in squares]
        return inputs.sum_on_base(
            [inputs.term(i, weight, share=weight) for i, weight in enumerate(weights)],
            elect=True,
            equal_votes=True,
            normalize=True,
            most_varied=selected,
        )


def _selected(inputs: MergeInputs, topk: float) -> Threshold | None:
    """Return the threshold that separates the selected entries from the rest; None selects all."""
    if topk >= 1.0:
        return None
    n = inputs.count_varied()
    return inputs.most_varied(kept_count(n, topk)) if n else None


METHODS.register(Sce.name)(Sce())
