"""NearSwap: add the source's changes to the base, limited to a size of t."""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.core.io.lazy_torch import Tensor
from kingyo.merging.kernels import Elementwise
from kingyo.merging.kernels.blocks import Span, differences
from kingyo.merging.methods import METHODS
from kingyo.merging.methods.contract import MethodValues, OnBase, Parameter
from kingyo.merging.methods.inputs import TensorContext


class NearSwap(OnBase):
    """θ₀ + min(1, t/|δ|) δ, entry by entry: changes larger than t are clipped to t."""

    name = "nearswap"
    doc = "Add the source's changes to the base, each clipped to a size of t (alchemonaut 2024)."
    params = (
        Parameter(
            name="t",
            doc="Maximum change of an entry.",
            low=0.0,
            search_low=1e-5,
            search_high=1e-1,
            search_scale="log",
        ),
    )
    max_sources = 1
    when = "To add a slight influence of another model without a large change of any entry."
    source = "alchemonaut 2024, model card of QuartetAnemoi-70B-t0.0001 (Hugging Face)"
    differs = ("A negative t is an error; mergekit returns the base.",)

    def hides_nonfinite(self, _values: MethodValues) -> bool:
        return True

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, _context: TensorContext, /
    ) -> Elementwise:
        assert base is not None
        t = values.number("t")
        start, read = base.reshape(-1), differences(sources, base)

        def compute(span: Span) -> Tensor:
            return read(span)[0].clamp_(-t, t).add_(start[span[0] : span[1]])

        return Elementwise(shape=tuple(base.shape), compute=compute)


METHODS.register(NearSwap.name)(NearSwap())
