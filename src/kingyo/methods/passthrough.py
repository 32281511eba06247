"""Copy one source, for models assembled from layers of others."""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.io.lazy_torch import Tensor
from kingyo.kernels import WeightedSum
from kingyo.kernels.blend import weighted_sum
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter, TensorContext


class Passthrough:
    """scale · θ₁."""

    name = "passthrough"
    doc = "Copy one source, optionally scaled; with slices, stack layers of several models."
    params = (
        Parameter(
            name="scale",
            default=1.0,
            doc="Factor of the tensor; 0 on an output projection turns that part of the layer off.",
            search_low=0.0,
            search_high=1.0,
            per_source=True,
        ),
    )
    needs_base = False
    min_sources = 1
    max_sources = 1
    stochastic = False
    guide = Guide(
        when="To stack layers of one or several models with slices, or to scale tensors of one model.",
        source="Community practice (frankenmerging); the name is mergekit's",
    )

    def hands_on(self, _values: MethodValues) -> bool:
        """See ``contract.hands_on``."""
        return True

    def __call__(
        self,
        sources: Sequence[Tensor],
        _base: Tensor | None,
        values: MethodValues,
        _context: TensorContext,
        /,
    ) -> WeightedSum:
        """Merge; see ``MergeMethod``."""
        return weighted_sum(sources, values.each("scale"))


METHODS.register(Passthrough.name)(Passthrough())
