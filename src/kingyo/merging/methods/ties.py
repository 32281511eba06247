"""Methods that keep the largest or most varied changes.

TIES: algorithm 1 of Yadav et al. 2023. SCE: section 3.3 of Wan et al. 2024.
"""

import math

from kingyo.merging.kernels import MagnitudeMask, Mask, Term, WeightedSum
from kingyo.merging.methods import METHODS
from kingyo.merging.methods.contract import MethodValues, OnBase, Parameter
from kingyo.merging.methods.inputs import MergeInputs
from kingyo.merging.methods.linear import (
    DENSITY,
    LAMBDA,
    WEIGHT,
    kept_count,
    normalize,
    rescale,
    task_vector_sum,
)


class Ties(OnBase):
    """Task vectors keep their largest entries; Σ wᵢδᵢ elects a sign per entry; agreeing entries are averaged.

    Of n entries max(1, int(density · n)) are kept; of equal magnitudes, the first. A sum of zero elects +.
    """

    name = "ties"
    doc = "Trim small changes, elect a sign per entry, and average the changes that agree (Yadav 2023)."
    params = (WEIGHT, DENSITY, LAMBDA, normalize(True, elect=True), rescale(False))
    when = "Fine-tunes of one base on different tasks, if a plain sum loses some because signs conflict."
    source = 'Yadav et al. 2023, "TIES-Merging" (arXiv 2306.01708)'
    differs = ("Of equal magnitudes the first entries are kept; mergekit's choice is undefined.",)

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        def trim(i: int) -> tuple[Mask | None, float | None]:
            count = kept_count(inputs.numel, values.each("density")[i])
            if count == inputs.numel:
                return None, 1.0
            mask = MagnitudeMask(low=inputs.largest(i, count))
            return mask, None if values.flag("rescale") else 1.0

        return task_vector_sum(inputs, values, elect=True, mask=trim)


_GAMMA = Parameter(
    name="gamma",
    doc="Fraction of entries, the largest, that is dropped; at most 1 - density.",
    default=0.01,
    low=0.0,
    high=1.0,
    per_source=True,
)


class Breadcrumbs(OnBase):
    """θ₀ + λ Σ wᵢ mᵢδᵢ, where the mask mᵢ drops the largest entries and keeps the largest of the rest.

    Of n entries max(1, int(density · n)) are kept. At most int(gamma · n) larger ones, and all smaller ones,
    are dropped. Of equal magnitudes the first counts as larger.
    """

    name = "breadcrumbs"
    doc = "Drop the smallest and the very largest changes, and sum the rest (Davari 2023)."
    elect = False  # add only entries that agree with the elected sign
    when = "Many sources, some with outliers: a few huge changes that would dominate the sum."
    source = 'Davari & Belilovsky 2023, "Model breadcrumbs" (arXiv 2312.06795)'
    params = (WEIGHT, DENSITY, _GAMMA, LAMBDA, normalize(False), rescale(False))
    differs = ("At least one entry of every tensor is kept; if density · n is below 1, mergekit keeps none.",)

    def hides_nonfinite(self, _values: MethodValues) -> bool:
        return True

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        def trim(i: int) -> tuple[Mask | None, float | None]:
            n = inputs.numel
            kept = kept_count(n, values.each("density")[i])
            top = min(int(values.each("gamma")[i] * n), n - kept)
            low = None if kept + top == n else inputs.largest(i, kept + top)
            high = None if top == 0 else inputs.largest(i, top)
            if low is None and high is None:
                return None, 1.0
            return MagnitudeMask(low=low, high=high), None if values.flag("rescale") else 1.0

        return task_vector_sum(inputs, values, elect=self.elect, mask=trim)


class _BreadcrumbsTies(Breadcrumbs):
    name = "breadcrumbs_ties"
    doc = "Drop the smallest and the very largest changes, elect a sign per entry, and sum what agrees."
    elect = True
    when = "Like breadcrumbs, if sources also change entries in opposite directions."
    source = "Davari & Belilovsky 2023; sign election: Yadav et al. 2023 (arXiv 2306.01708)"


class Sce(OnBase):
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
    when = "Many chat models of one base, without tuning a weight for each."
    source = 'Wan et al. 2024, "FuseChat" (arXiv 2408.07990)'
    differs = (
        "At least one entry is selected, and all if none differs (one source, or equal ones); mergekit "
        "returns the base then.",
    )

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        topk, selected = values.number("select_topk"), None
        n = inputs.count_varied() if topk < 1.0 else 0
        if n:
            selected = inputs.most_varied(kept_count(n, topk))
        squares = inputs.energies(selected)
        total = math.fsum(float(each) for each in squares) or 1.0
        weights = [float(each) / total for each in squares]
        terms = [
            Term(source=each, factor=w, share=w) for each, w in zip(inputs.sources, weights, strict=True)
        ]
        return WeightedSum(
            shape=inputs.shape,
            terms=tuple(terms),
            base=inputs.base,
            elect=True,
            equal_votes=True,
            normalize=True,
            most_varied=selected,
        )


for _method in (Ties(), Breadcrumbs(), _BreadcrumbsTies(), Sce()):
    METHODS.register(_method.name)(_method)
