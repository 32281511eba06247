"""DELLA: drop entries of task vectors at random, small ones more often, and rescale the rest.

Deep et al. 2024, "DELLA-Merging: Reducing interference in model merging through magnitude-based sampling"
(arXiv 2406.11617). The sum uses elected signs as in TIES (della) or is plain (della_linear).
"""

from __future__ import annotations

from dataclasses import dataclass

from kingyo.kernels import Mask, RankedBernoulliMask, RescaledSum, WeightedSum
from kingyo.kernels.order_statistics import row_length
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter
from kingyo.methods.inputs import MergeInputs
from kingyo.methods.task_vectors import DENSITY, LAMBDA, WEIGHT, normalize, rescale, task_vector_sum

_EPSILON = Parameter(
    name="epsilon",
    doc="Spread of the keep probability in a row: density - epsilon for its smallest entry, density + "
    "epsilon for its largest.",
    default=0.15,
    low=0.0,
    high=0.5,
    per_source=True,
)
_BY_CHANCE = Parameter(
    name="rescale_by_density",
    kind="bool",
    default=False,
    doc="Rescale each entry by 1/probability instead, as in the paper: exact on average.",
)


def _params(*, normalized: bool) -> tuple[Parameter, ...]:
    return (
        WEIGHT,
        DENSITY,
        _EPSILON,
        LAMBDA,
        normalize(normalized, elect=normalized),
        rescale(True),
        _BY_CHANCE,
    )


@dataclass(frozen=True, kw_only=True)
class Della:
    """θ₀ + λ Σ wᵢ rᵢ mᵢδᵢ; the probability of keeping an entry grows with its magnitude's rank in its row.

    The smallest entry of a row is kept with probability density - ε, the largest with density + ε, and the
    others are spaced evenly (MagPrune). ε is epsilon, but at most density and 1 - density, so that
    probabilities are in [0, 1] and their mean is density. A vector is one row; the only entry of a row has
    the probability density.

    Attributes:
        elect: add only entries that agree with the elected sign.
    """

    name: str
    doc: str
    elect: bool
    params: tuple[Parameter, ...]
    guide: Guide
    needs_base = True
    min_sources = 1
    max_sources = None
    stochastic = True
    bytes_per_entry = 4  # ranks

    def hides_nonfinite(self, values: MethodValues) -> bool:
        """See ``contract.hides_nonfinite``. A dropped NaN shows only in the sum of magnitudes."""
        return not values.flag("rescale") or values.flag("rescale_by_density")

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum | RescaledSum:
        """Describe the merge; see ``DescribesMerge``."""
        inverse = values.flag("rescale") and values.flag("rescale_by_density")

        def drop(i: int) -> tuple[Mask | None, float]:
            density = values.each("density")[i]
            if density >= 1.0 or not inputs.numel:
                return None, 1.0
            last = max(1, row_length(inputs.shape)) - 1
            reach = min(values.each("epsilon")[i], density, 1 - density) if last else 0.0
            mask = RankedBernoulliMask(
                key=inputs.key(i),
                ranks=inputs.row_ranks(i),
                least=density - reach,
                step=2 * reach / last if last else 0.0,
                inverse=inverse,
            )
            if inverse or not values.flag("rescale"):
                return mask, 1.0
            magnitudes[i] = inputs.magnitude(i)
            return mask, 1.0

        magnitudes: dict[int, float] = {}
        result = task_vector_sum(inputs, values, elect=self.elect, mask=drop)
        if not magnitudes:
            return result
        used = [i for i, weight in enumerate(values.each("weight")) if weight]
        return RescaledSum(unscaled=result, magnitudes=tuple(map(magnitudes.get, used)))


_SOURCE = (
    'Deep et al. 2024, "DELLA-Merging: Reducing interference in model merging through magnitude-based '
    'sampling" (arXiv 2406.11617)'
)
_DIFFERS = (
    "Draws are a hash of seed, source, tensor and entry, as in dare_linear: the same on every machine.",
    "If density ± epsilon is outside [0, 1] (as with both defaults), epsilon is reduced to fit; mergekit "
    "stops with an error.",
    "Rows of one entry have the probability density; mergekit crashes on them.",
    "rescale_by_density, the paper's 1/probability in place of the ratio of magnitudes, is not in mergekit.",
)

for _method in (
    Della(
        name="della",
        doc="Drop changes at random, small ones more often, elect a sign per entry, and average what agrees.",
        elect=True,
        params=_params(normalized=True),
        guide=Guide(
            when="Like dare_ties, if large changes matter more than small ones.",
            source=_SOURCE,
            differs=_DIFFERS,
        ),
    ),
    Della(
        name="della_linear",
        doc="Drop changes at random, small ones more often, rescale the rest, and sum them (Deep 2024).",
        elect=False,
        params=_params(normalized=False),
        guide=Guide(
            when="Like dare_linear, if large changes matter more than small ones.",
            source=_SOURCE,
            differs=_DIFFERS,
        ),
    ),
):
    METHODS.register(_method.name)(_method)
