"""Consensus: keep the entries of the summed task vectors that matter to several sources.

Wang et al. 2024, "Localizing task information for improved model merging and compression" (arXiv 2405.07813).
"""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.errors import KingyoError
from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels import Elementwise
from kingyo.kernels.blocks import Span, add_rows, column, differences
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter
from kingyo.methods.inputs import TensorContext
from kingyo.methods.task_vectors import EQUAL_WEIGHT, LAMBDA


class Consensus:
    """θ₀ + λ c τ with τ = Σ wᵢδᵢ; c is 1 for entries in at least ``agreement`` TALL masks, else 0.

    The TALL mask of source i is 1 where |δᵢ| ≥ tall_lambda |τ - δᵢ| (equation 4), that is, where the source's
    own change is large compared with the rest of the sum. Entries that matter to only one source (selfish) or
    to none (catastrophic) keep the base's value.
    """

    name = "consensus"
    doc = "Sum task vectors, but only entries that matter to several sources (Wang 2024, TALL masks)."
    params = (
        EQUAL_WEIGHT,
        Parameter(
            name="tall_lambda",
            doc="Minimum ratio of a source's change to the rest of the sum for an entry of its mask.",
            default=0.4,
            low=0.0,
            search_low=0.2,
            search_high=0.6,
            per_source=True,
        ),
        Parameter(
            name="agreement",
            kind="int",
            doc="Minimum number of masks that must contain an entry.",
            default=2,
            low=0,
        ),
        LAMBDA,
    )
    needs_base = True
    min_sources = 2
    max_sources = None
    stochastic = False
    guide = Guide(
        when="Many sources (8 or more) whose plain sum hurts all of them.",
        source='Wang et al. 2024, "Localizing task information for improved model merging and compression" '
        "(arXiv 2405.07813)",
        differs=("Not in mergekit.",),
    )

    def check(self, values: MethodValues, n_sources: int) -> None:
        """Check that ``agreement`` is at most the number of sources; see ``check_together``."""
        least = int(values.number("agreement"))
        if least > n_sources:
            raise KingyoError(
                "agreement",
                expected=f"at most {n_sources}, the number of sources",
                received=f"{least}",
                remedy="Decrease agreement, or add sources.",
            )

    def __call__(
        self,
        sources: Sequence[Tensor],
        base: Tensor | None,
        values: MethodValues,
        _context: TensorContext,
        /,
    ) -> Elementwise:
        """Merge; see ``MergesTensors``."""
        assert base is not None
        least = int(values.number("agreement"))
        weights, limits = column(values.each("weight")), column(values.each("tall_lambda"))
        scale, start, read = values.number("lambda"), base.reshape(-1), differences(sources, base)

        def compute(span: Span) -> Tensor:
            deltas = read(span)
            total = add_rows(deltas * weights)
            rest = (total - deltas).abs_().mul_(limits)
            masks = torch.ge(deltas.abs_(), rest, out=torch.empty_like(deltas))
            total.mul_(add_rows(masks).ge_(float(least)))
            return total.mul_(scale).add_(start[span[0] : span[1]])

        return Elementwise(shape=tuple(base.shape), compute=compute)


METHODS.register(Consensus.name)(Consensus())
