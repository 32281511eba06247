"""Consensus: keep of the sum of task vectors what matters to several of them.

Wang et al. 2024, "Localizing task information for improved model merging and compression" (arXiv 2405.07813).
"""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.errors import KingyoError
from kingyo.kernels import Elementwise
from kingyo.kernels.blocks import Span, add_rows, column
from kingyo.kernels.differences import differences
from kingyo.late import Tensor, torch
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter, TensorContext
from kingyo.methods.task_vectors import EQUAL_WEIGHT, LAMBDA


class Consensus:
    """θ₀ + λ c τ with τ = Σ wᵢδᵢ, where c is 1 where at least ``agreement`` TALL masks are, else 0.

    The TALL mask of source i is 1 where |δᵢ| ≥ tall_lambda |τ - δᵢ| (equation 4): where the sum is, for this
    source, rather the source's own change than the others'. Entries that matter to one source only (selfish)
    or to none (catastrophic) keep the base's value.
    """

    name = "consensus"
    doc = "Add up task vectors, but only where the sum matters to several sources (Wang 2024, TALL masks)."
    params = (
        EQUAL_WEIGHT,
        Parameter(
            name="tall_lambda",
            doc="How large a source's change must be against the rest of the sum to count in its mask.",
            default=0.4,
            low=0.0,
            search_low=0.2,
            search_high=0.6,
            per_source=True,
        ),
        Parameter(
            name="agreement",
            kind="int",
            doc="How many sources' masks an entry needs.",
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
        when="Many sources (8 and more), whose plain sum harms all of them.",
        source='Wang et al. 2024, "Localizing task information for improved model merging and compression" '
        "(arXiv 2405.07813)",
        differs=("Not in mergekit.",),
    )

    def check(self, values: MethodValues, n_sources: int) -> None:
        """See ``check_together``.

        Raises:
            KingyoError: more masks are asked for than there are sources.
        """
        least = int(values.number("agreement"))
        if least > n_sources:
            raise KingyoError(
                "agreement",
                expected=f"at most {n_sources}, the number of sources",
                received=f"{least}",
                remedy="Lower it, or name more sources.",
            )

    def __call__(
        self,
        sources: Sequence[Tensor],
        base: Tensor | None,
        values: MethodValues,
        _context: TensorContext,
        /,
    ) -> Elementwise:
        """Merge; see ``MergeMethod``."""
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
