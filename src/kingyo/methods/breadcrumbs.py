"""Model breadcrumbs: drop the smallest and the very largest changes.

Davari & Belilovsky 2023, "Model breadcrumbs: Scaling multi-task model merging with sparse masks"
(arXiv 2312.06795). The sum is plain (breadcrumbs) or uses elected signs as in TIES (breadcrumbs_ties).
"""

from __future__ import annotations

from dataclasses import dataclass

from kingyo.kernels import MagnitudeMask, Mask, WeightedSum
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter
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

_GAMMA = Parameter(
    name="gamma",
    doc="Fraction of entries, the largest, that is dropped; at most 1 - density.",
    default=0.01,
    low=0.0,
    high=1.0,
    per_source=True,
)


@dataclass(frozen=True, kw_only=True)
class Breadcrumbs:
    """θ₀ + λ Σ wᵢ mᵢδᵢ, where the mask mᵢ drops the largest entries and keeps the largest of the rest.

    Of n entries max(1, int(density · n)) are kept. At most int(gamma · n) larger ones, and all smaller ones,
    are dropped. Of equal magnitudes the first counts as larger.

    Attributes:
        elect: add only entries that agree with the elected sign.
    """

    name: str
    doc: str
    elect: bool
    guide: Guide
    params = (WEIGHT, DENSITY, _GAMMA, LAMBDA, normalize(False), rescale(False))
    needs_base = True
    min_sources = 1
    max_sources = None
    stochastic = False

    def hides_nonfinite(self, _values: MethodValues) -> bool:
        """See ``contract.hides_nonfinite``."""
        return True

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        """Describe the merge; see ``DescribesMerge``."""
        n = inputs.numel

        def trim(i: int) -> tuple[Mask | None, float]:
            kept = kept_count(n, values.each("density")[i])
            top = min(int(values.each("gamma")[i] * n), n - kept)
            low = None if kept + top == n else inputs.largest(i, kept + top)
            high = None if top == 0 else inputs.largest(i, top)
            if low is None and high is None:
                return None, 1.0
            mask = MagnitudeMask(low=low, high=high)
            return mask, inputs.rescaling(i, mask) if values.flag("rescale") else 1.0

        return task_vector_sum(inputs, values, elect=self.elect, mask=trim)


_SOURCE = (
    'Davari & Belilovsky 2023, "Model breadcrumbs: Scaling multi-task model merging with sparse masks" '
    "(arXiv 2312.06795)"
)
_DIFFERS = (
    "At least one entry of every tensor is kept; if density · n is below 1, mergekit keeps none, and the "
    "tensor stays that of the base.",
)

for _method in (
    Breadcrumbs(
        name="breadcrumbs",
        doc="Drop the smallest and the very largest changes, and sum the rest (Davari 2023).",
        elect=False,
        guide=Guide(
            when="Many sources, some with outliers: a few huge changes that would dominate the sum.",
            source=_SOURCE,
            differs=_DIFFERS,
        ),
    ),
    Breadcrumbs(
        name="breadcrumbs_ties",
        doc="Drop the smallest and the very largest changes, elect a sign per entry, and sum what agrees.",
        elect=True,
        guide=Guide(
            when="Like breadcrumbs, if sources also change entries in opposite directions.",
            source=f"{_SOURCE}, with sign election from Yadav et al. 2023 (arXiv 2306.01708)",
            differs=_DIFFERS,
        ),
    ),
):
    METHODS.register(_method.name)(_method)
