"""Model breadcrumbs: drop the smallest changes, and the very largest.

Davari & Belilovsky 2023, "Model breadcrumbs: Scaling multi-task model merging with sparse masks"
(arXiv 2312.06795); the sum is plain (breadcrumbs) or by elected signs as in TIES (breadcrumbs_ties).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kingyo.kernels import Band, Blend, Keep
from kingyo.late import Tensor
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter, TensorContext
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

_GAMMA = Parameter(
    name="gamma",
    doc="Which part of the entries, the largest ones, is dropped; never more than density leaves over.",
    default=0.01,
    low=0.0,
    high=1.0,
    per_source=True,
)


@dataclass(frozen=True, kw_only=True)
class Breadcrumbs:
    """θ₀ + λ Σ wᵢ mᵢδᵢ, where m drops the largest entries, and then keeps the largest of the rest.

    Of n entries max(1, int(density · n)) are kept; those above them, at most int(gamma · n), and those below
    are dropped. Of equal magnitudes the first are the larger.

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

    def hands_on(self, values: MethodValues) -> bool:
        """See ``contract.hands_on``. What is kept is summed by torch where a limit ends."""
        return not values.flag("rescale")

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, context: TensorContext, /
    ) -> Blend:
        """Merge; see ``MergeMethod``."""
        assert base is not None
        n = base.numel()

        def trim(i: int) -> tuple[Keep | None, float]:
            kept = kept_count(n, values.each("density")[i])
            top = min(int(values.each("gamma")[i] * n), n - kept)
            low = None if kept + top == n else largest_entries(sources, base, i, kept + top, context)
            high = None if top == 0 else largest_entries(sources, base, i, top, context)
            if low is None and high is None:
                return None, 1.0
            band = Band(low=low, high=high)
            return band, rescaling(sources, base, i, band, context) if values.flag("rescale") else 1.0

        return blend(sources, base, values, elect=self.elect, keep=trim)


_SOURCE = (
    'Davari & Belilovsky 2023, "Model breadcrumbs: Scaling multi-task model merging with sparse masks" '
    "(arXiv 2312.06795)"
)
_DIFFERS = (
    "At least one entry of every tensor is kept; mergekit keeps none where density · n is below 1, so small "
    "tensors of one entry stay those of the base.",
)

for _method in (
    Breadcrumbs(
        name="breadcrumbs",
        doc="Drop the smallest changes and the very largest, add up the rest (Davari 2023).",
        elect=False,
        guide=Guide(
            when="Many sources, of which some have outliers: a few huge changes that would rule the sum.",
            source=_SOURCE,
            differs=_DIFFERS,
        ),
    ),
    Breadcrumbs(
        name="breadcrumbs_ties",
        doc="Drop the smallest changes and the very largest, elect a sign per entry, add what agrees.",
        elect=True,
        guide=Guide(
            when="As breadcrumbs, where sources also pull entries in opposite directions.",
            source=f"{_SOURCE}, with the election of Yadav et al. 2023 (arXiv 2306.01708)",
            differs=_DIFFERS,
        ),
    ),
):
    METHODS.register(_method.name)(_method)
