"""Methods that treat an entry by how many sources change it: consensus and RAM."""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.errors import KingyoError
from kingyo.merging.kernels import Elementwise
from kingyo.merging.kernels.blocks import Span, add_rows, column, differences
from kingyo.merging.kernels.statistics import activity
from kingyo.merging.methods import METHODS
from kingyo.merging.methods.contract import MethodValues, OnBase, Parameter
from kingyo.merging.methods.inputs import TensorContext
from kingyo.merging.methods.linear import EQUAL_WEIGHT, LAMBDA


class Consensus(OnBase):
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
    min_sources = 2
    when = "Many sources (8 or more) whose plain sum hurts all of them."
    source = 'Wang et al. 2024, "Localizing task information" (arXiv 2405.07813)'
    differs = ("Not in mergekit.",)

    def check(self, values: MethodValues, n_sources: int) -> None:
        least = int(values.number("agreement"))
        if least > n_sources:
            expected, remedy = f"at most {n_sources}, the number of sources", "Decrease agreement."
            raise KingyoError("agreement", expected, f"{least}", remedy)

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, _context: TensorContext, /
    ) -> Elementwise:
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


_EPSILON = Parameter(
    name="epsilon", doc="Size above which a change counts; smaller ones are noise.", default=1e-5, low=0.0
)
_R = Parameter(
    name="r",
    doc="How strongly changes of a single source are scaled up.",
    default=0.1,
    low=0.0,
    search_low=0.0,
    search_high=1.0,
)
_ALPHA = Parameter(
    name="alpha",
    doc="Maximum of the ratio of shared to unique changes.",
    default=0.2,
    low=0.0,
    search_low=0.0,
    search_high=2.0,
)


class Ram(OnBase):
    """θ₀ + Σ gᵢ aᵢδᵢ / c, where aᵢ is 1 for entries that source i changes (|δᵢ| > epsilon) and c = Σ aᵢ.

    For ramplus_tl, gᵢ = 1 + r · min(alpha, sᵢ/uᵢ) where c = 1: source i changes sᵢ entries of the tensor
    together with others, and uᵢ alone. Otherwise gᵢ = 1.
    """

    name = "ram"
    doc = "Average the changes of an entry by several sources, and keep those by a single one (Yuan 2026)."
    params: tuple[Parameter, ...] = (_EPSILON,)
    rescale = False  # scale up changes of a single source
    when = "Agents trained by reinforcement learning, whose changes are sparse and overlap little."
    source = 'Yuan et al. 2026, "Behavior knowledge merge" (arXiv 2601.13572)'

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, context: TensorContext, /
    ) -> Elementwise:
        assert base is not None
        epsilon = values.number("epsilon")
        start, read = base.reshape(-1), differences(sources, base)
        alone = column(self._gains(sources, base, values, context)) if self.rescale else None

        def compute(span: Span) -> Tensor:
            deltas = read(span)
            active = deltas.abs().gt_(epsilon)  # 1 or 0
            count = add_rows(active)
            deltas.mul_(active)
            if alone is not None:
                deltas.mul_(torch.where(count == 1, alone, 1.0))
            return add_rows(deltas).div_(count.clamp_(min=1.0)).add_(start[span[0] : span[1]])

        return Elementwise(shape=tuple(base.shape), compute=compute)

    def _gains(
        self, sources: Sequence[Tensor], base: Tensor, values: MethodValues, context: TensorContext
    ) -> list[float]:
        epsilon, alpha = values.number("epsilon"), values.number("alpha")
        counts = context.get_or_compute(
            f"activity above {epsilon!r}", range(len(sources)), lambda: activity(sources, base, epsilon)
        )
        return [
            1 + values.number("r") * min(alpha, int(shared) / max(1, int(unique)))
            for shared, unique in zip(counts[0], counts[1], strict=True)
        ]


class _RamPlus(Ram):
    name = "ramplus_tl"
    doc = "Like ram, but scale up changes of a single source by its share of common changes (Yuan 2026)."
    params = (_R, _ALPHA, _EPSILON)
    rescale = True
    when = "Like ram, if the merged model loses abilities of its sources."
    source = "Yuan et al. 2026; ratios per tensor"


for _method in (Consensus(), Ram(), _RamPlus()):
    METHODS.register(_method.name)(_method)
