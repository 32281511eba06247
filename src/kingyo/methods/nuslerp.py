"""Spherical interpolation between two sources or their task vectors, of whole tensors or line by line."""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.kernels import Lazy
from kingyo.kernels.blend import weighted_sum
from kingyo.kernels.lines import Line, LineBlend, line_grams
from kingyo.kernels.measures import gram
from kingyo.late import Tensor, torch
from kingyo.methods import METHODS
from kingyo.methods.contract import Fact, Guide, MethodValues, Parameter, TensorContext
from kingyo.methods.linear import normalized
from kingyo.methods.sphere import cosine, shares
from kingyo.methods.task_vectors import WEIGHT

_PARALLEL = 1 - 1e-12


class NuSlerp:
    """Slerp of θ₁ and θ₂ at t = w₂ / (w₁ + w₂); with a base, θ₀ + slerp of δ₁ and δ₂.

    By lines, each row (or column) has its own angle; vectors are one line. Where two lines are parallel, or
    one is zero and has no angle, it is the straight line.
    """

    name = "nuslerp"
    doc = "Spherical interpolation between two sources by their weights; with a base, between task vectors."
    params = (
        WEIGHT,
        Parameter(
            name="nuslerp_flatten",
            kind="bool",
            default=True,
            doc="One angle for the whole tensor; false has one for each row or column.",
        ),
        Parameter(
            name="nuslerp_row_wise",
            kind="bool",
            default=False,
            doc="Without flatten: angles between lines along the first axis, not along the last.",
        ),
    )
    needs_base = False
    takes_base = True
    min_sources = 2
    max_sources = 2
    stochastic = False
    reproduces = "on one machine"
    guide = Guide(
        when="Like slerp, but with weights, between two sources beside the base, or between their changes.",
        source="Shoemake 1985, as in slerp; the parameters are mergekit's",
        differs=(
            "Where one tensor (or line) is zero it has no angle: the straight line, as in slerp. mergekit "
            "takes a right angle.",
            "Weights that sum to zero are an error; mergekit takes t = 0.5.",
        ),
    )

    def check(self, values: MethodValues, _n_sources: int) -> None:
        """See ``check_together``."""
        normalized(values.each("weight"))

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, context: TensorContext, /
    ) -> Lazy:
        """Merge; see ``MergeMethod``."""
        shape = tuple(sources[0].shape)
        t = normalized(values.each("weight"))[1]
        kind = "gram" if base is not None else "gram of the tensors"
        if values.flag("nuslerp_flatten") or len(shape) < 2:
            products = context.recall(kind, (0, 1), lambda: gram(sources, base))
            return weighted_sum(sources, _shares(t, products[:, :, None])[0], base)
        line: Line = "column" if values.flag("nuslerp_row_wise") else "row"
        products = context.recall(f"{kind}, by {line}", (0, 1), lambda: line_grams(sources, base, line))
        factors = torch.tensor(_shares(t, products), dtype=torch.float32).reshape(-1, 2).t().contiguous()
        return LineBlend(shape=shape, sources=tuple(sources), factors=factors, line=line, base=base)


def _shares(t: float, products: Fact) -> list[tuple[float, float]]:
    """How much of either source each line has, from the inner products, shape (2, 2, lines)."""
    found: list[tuple[float, float]] = []
    for i in range(products.shape[2]):
        cos = cosine(float(products[0, 0, i]), float(products[1, 1, i]), float(products[0, 1, i]))
        found.append(shares(t, cos, _PARALLEL))
    return found


METHODS.register(NuSlerp.name)(NuSlerp())
