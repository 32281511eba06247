"""RAM: average changes that sources share, and keep those of a single source.

Yuan et al. 2026, "Behavior knowledge merge in reinforced agentic models" (arXiv 2601.13572).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels import Elementwise
from kingyo.kernels.blocks import Span, add_rows, column, differences
from kingyo.kernels.statistics import activity
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter
from kingyo.methods.inputs import TensorContext

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


@dataclass(frozen=True, kw_only=True)
class Ram:
    """θ₀ + Σ gᵢ aᵢδᵢ / c, where aᵢ is 1 for entries that source i changes (|δᵢ| > epsilon) and c = Σ aᵢ.

    For ramplus_tl, gᵢ = 1 + r · min(alpha, sᵢ/uᵢ) where c = 1: source i changes sᵢ entries of the tensor
    together with others, and uᵢ alone. Otherwise gᵢ = 1.

    Attributes:
        rescale: scale up changes of a single source.
    """

    name: str
    doc: str
    rescale: bool
    params: tuple[Parameter, ...]
    guide: Guide
    needs_base = True
    min_sources = 1
    max_sources = None
    stochastic = False

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, context: TensorContext, /
    ) -> Elementwise:
        """Merge; see ``MergesTensors``."""
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


_SOURCE = 'Yuan et al. 2026, "Behavior knowledge merge in reinforced agentic models" (arXiv 2601.13572)'
for _method in (
    Ram(
        name="ram",
        doc="Average the changes of an entry by several sources, and keep those by a single one (Yuan 2026).",
        rescale=False,
        params=(_EPSILON,),
        guide=Guide(
            when="Agents trained by reinforcement learning, whose changes are sparse and overlap little.",
            source=_SOURCE,
        ),
    ),
    Ram(
        name="ramplus_tl",
        doc="Like ram, but scale up changes of a single source by its share of common changes (Yuan 2026).",
        rescale=True,
        params=(_R, _ALPHA, _EPSILON),
        guide=Guide(
            when="Like ram, if the merged model loses abilities of its sources.",
            source=f"{_SOURCE}; ratios per tensor",
        ),
    ),
):
    METHODS.register(_method.name)(_method)
