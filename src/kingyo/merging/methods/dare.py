"""Methods that drop entries of task vectors at random and rescale the rest: DARE and DELLA.

The sum is plain (dare_linear, della_linear) or uses elected signs as in TIES (dare_ties, della).
"""

from kingyo.merging.kernels import BernoulliMask, Mask, RankedBernoulliMask, WeightedSum
from kingyo.merging.kernels.order_statistics import row_length
from kingyo.merging.methods import METHODS
from kingyo.merging.methods.contract import MethodValues, OnBase, Parameter, switch
from kingyo.merging.methods.inputs import MergeInputs
from kingyo.merging.methods.linear import DENSITY, LAMBDA, WEIGHT, normalize, rescale, task_vector_sum

_MIN_DENSITY = 1e-12


class _DropsAtRandom(OnBase):
    stochastic = True

    def hides_nonfinite(self, values: MethodValues) -> bool:
        # a dropped NaN shows only in the sum of magnitudes
        return not values.flag("rescale") or values.flag("rescale_by_density")


class Dare(_DropsAtRandom):
    """θ₀ + λ Σ wᵢ rᵢ mᵢδᵢ; the mask mᵢ is 1 with probability density in each entry; rᵢ rescales the rest."""

    name = "dare_linear"
    doc = "Drop changes at random, rescale the rest, and sum them (Yu 2024)."
    params = (
        WEIGHT,
        DENSITY,
        LAMBDA,
        normalize(False),
        rescale(True),
        switch(
            "rescale_by_density",
            False,
            "Rescale by 1/density instead, as in the paper: exact on average, not in each draw.",
        ),
    )
    elect = False  # add only entries that agree with the elected sign
    when = "Fine-tunes with many small, mostly redundant changes; low densities still work."
    source = 'Yu et al. 2024, "Language models are super Mario" (arXiv 2311.03099)'
    differs = (
        "Draws are a hash of seed, source, tensor and entry: they are the same on every machine, and a lower "
        "density keeps a subset of what a higher one keeps. The kept fraction and the norms match mergekit; "
        "the individual draws do not.",
        "rescale_by_density is not in mergekit.",
    )

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        def drop(i: int) -> tuple[Mask | None, float | None]:
            density = values.each("density")[i]
            if density >= 1.0:
                return None, 1.0
            mask = BernoulliMask(key=inputs.key(i), density=density)
            if not values.flag("rescale"):
                return mask, 1.0
            if values.flag("rescale_by_density"):
                return mask, 1 / max(density, _MIN_DENSITY)
            return mask, None

        return task_vector_sum(inputs, values, elect=self.elect, mask=drop)


class _DareTies(Dare):
    name = "dare_ties"
    doc = "Drop changes at random, rescale the rest, elect a sign per entry, sum what agrees (Yu 2024)."
    elect = True
    when = "Like dare_linear, if sources also change entries in opposite directions."
    source = "Yu et al. 2024; sign election: Yadav et al. 2023 (arXiv 2306.01708)"


_EPSILON = Parameter(
    name="epsilon",
    doc="Spread of the keep probability in a row: density - epsilon for its smallest entry, density + "
    "epsilon for its largest.",
    default=0.15,
    low=0.0,
    high=0.5,
    per_source=True,
)
_BY_CHANCE = switch(
    "rescale_by_density",
    False,
    "Rescale each entry by 1/probability instead, as in the paper: exact on average.",
)


class Della(_DropsAtRandom):
    """θ₀ + λ Σ wᵢ rᵢ mᵢδᵢ; the probability of keeping an entry grows with its magnitude's rank in its row.

    The smallest entry of a row is kept with probability density - ε, the largest with density + ε, and the
    others are spaced evenly (MagPrune). ε is epsilon, but at most density and 1 - density, so that
    probabilities are in [0, 1] and their mean is density. A vector is one row; the only entry of a row has
    the probability density.
    """

    name = "della_linear"
    doc = "Drop changes at random, small ones more often, rescale the rest, and sum them (Deep 2024)."
    params = (WEIGHT, DENSITY, _EPSILON, LAMBDA, normalize(False), rescale(True), _BY_CHANCE)
    elect = False  # add only entries that agree with the elected sign
    when = "Like dare_linear, if large changes matter more than small ones."
    source = 'Deep et al. 2024, "DELLA-Merging" (arXiv 2406.11617)'
    differs = (
        "Draws are a hash of seed, source, tensor and entry, as in dare_linear: the same on every machine.",
        "If density ± epsilon is outside [0, 1] (as with both defaults), epsilon is reduced to fit; mergekit "
        "stops with an error.",
        "Rows of one entry have the probability density; mergekit crashes on them.",
        "rescale_by_density is not in mergekit.",
    )

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        inverse = values.flag("rescale") and values.flag("rescale_by_density")

        def drop(i: int) -> tuple[Mask | None, float | None]:
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
            return mask, None if values.flag("rescale") and not inverse else 1.0

        return task_vector_sum(inputs, values, elect=self.elect, mask=drop)


class _DellaTies(Della):
    name = "della"
    doc = "Drop changes at random, small ones more often, elect a sign per entry, and average what agrees."
    params = (WEIGHT, DENSITY, _EPSILON, LAMBDA, normalize(True, elect=True), rescale(True), _BY_CHANCE)
    elect = True
    when = "Like dare_ties, if large changes matter more than small ones."


for _method in (Dare(), _DareTies(), Della(), _DellaTies()):
    METHODS.register(_method.name)(_method)
