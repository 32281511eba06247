"""DARE: drop entries of task vectors at random, and rescale the rest.

Yu et al. 2024, "Language models are super Mario" (arXiv 2311.03099). The sum is plain (dare_linear) or uses
elected signs as in TIES (dare_ties).
"""

from __future__ import annotations

from dataclasses import dataclass

from kingyo.kernels import BernoulliMask, Mask, WeightedSum
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter
from kingyo.methods.inputs import MergeInputs
from kingyo.methods.task_vectors import DENSITY, LAMBDA, WEIGHT, normalize, rescale, task_vector_sum

_MIN_DENSITY = 1e-12
_PARAMS = (
    WEIGHT,
    DENSITY,
    LAMBDA,
    normalize(False),
    rescale(True),
    Parameter(
        name="rescale_by_density",
        kind="bool",
        default=False,
        doc="Rescale by 1/density instead, as in the paper: exact on average, not in each draw.",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Dare:
    """θ₀ + λ Σ wᵢ rᵢ mᵢδᵢ; each entry of the mask mᵢ is 1 with probability density, and rᵢ rescales the rest.

    Attributes:
        elect: add only entries that agree with the elected sign.
    """

    name: str
    doc: str
    elect: bool
    guide: Guide
    params = _PARAMS
    needs_base = True
    min_sources = 1
    max_sources = None
    stochastic = True

    def hides_nonfinite(self, values: MethodValues) -> bool:
        """See ``contract.hides_nonfinite``. A dropped NaN shows only in the sum of magnitudes."""
        return not values.flag("rescale") or values.flag("rescale_by_density")

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        """Describe the merge; see ``DescribesMerge``."""

        def drop(i: int) -> tuple[Mask | None, float]:
            density = values.each("density")[i]
            if density >= 1.0:
                return None, 1.0
            mask = BernoulliMask(key=inputs.key(i), density=density)
            if not values.flag("rescale"):
                return mask, 1.0
            if values.flag("rescale_by_density"):
                return mask, 1 / max(density, _MIN_DENSITY)
            return mask, inputs.rescaling(i, mask)

        return task_vector_sum(inputs, values, elect=self.elect, mask=drop)


_SOURCE = (
    'Yu et al. 2024, "Language models are super Mario: Absorbing abilities from homologous models as a free '
    'lunch" (arXiv 2311.03099)'
)
_DIFFERS = (
    "Draws are a hash of seed, source, tensor and entry: they are the same on every machine, and a lower "
    "density keeps a subset of what a higher one keeps. The kept fraction and the norms match mergekit; the "
    "individual draws do not.",
    "rescale_by_density, the paper's 1/density in place of the ratio of magnitudes, is not in mergekit.",
)

for _method in (
    Dare(
        name="dare_linear",
        doc="Drop changes at random, rescale the rest, and sum them (Yu 2024).",
        elect=False,
        guide=Guide(
            when="Fine-tunes with many small, mostly redundant changes; low densities still work.",
            source=_SOURCE,
            differs=_DIFFERS,
        ),
    ),
    Dare(
        name="dare_ties",
        doc="Drop changes at random, rescale the rest, elect a sign per entry, sum what agrees (Yu 2024).",
        elect=True,
        guide=Guide(
            when="Like dare_linear, if sources also change entries in opposite directions.",
            source=f"{_SOURCE}, with sign election from Yadav et al. 2023 (arXiv 2306.01708)",
            differs=_DIFFERS,
        ),
    ),
):
    METHODS.register(_method.name)(_method)
