"""Copy one source, for models assembled from layers of others."""

from __future__ import annotations

from kingyo.kernels import WeightedSum
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter
from kingyo.methods.inputs import MergeInputs


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

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        """Describe the merge; see ``DescribesMerge``."""
        return inputs.weighted_sum(values.each("scale"), "sources")


METHODS.register(Passthrough.name)(Passthrough())
