"""DELLA: drop entries of task vectors at random, small ones more often, and rescale the rest.

Deep et al. 2024, "DELLA-Merging: Reducing interference in model merging through magnitude-based sampling"
(arXiv 2406.11617). The sum uses elected signs as in TIES (della) or is plain (della_linear).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels import Mask, RankedBernoulliMask, RescaledSum, WeightedSum
from kingyo.kernels.facts import PASSING, Statistic
from kingyo.kernels.measures import row_length, row_ranks
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter, TensorContext
from kingyo.methods.task_vectors import DENSITY, LAMBDA, WEIGHT, blend, normalize, rescale, whole_magnitude

_RANKS = f"{PASSING}row ranks"
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

    def hides_nonfinite(self, values: MethodValues) -> bool:
        """See ``contract.hides_nonfinite``. A dropped NaN shows only in the sum of magnitudes."""
        return not values.flag("rescale") or values.flag("rescale_by_density")

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, context: TensorContext, /
    ) -> WeightedSum | RescaledSum:
        """Merge; see ``MergeMethod``."""
        assert base is not None
        inverse = values.flag("rescale") and values.flag("rescale_by_density")

        def drop(i: int) -> tuple[Mask | None, float]:
            density = values.each("density")[i]
            if density >= 1.0 or not base.numel():
                return None, 1.0
            ranks = _ranks(sources, base, i, context)
            last = max(1, row_length(base.shape)) - 1
            reach = min(values.each("epsilon")[i], density, 1 - density) if last else 0.0
            kept = RankedBernoulliMask(
                key=context.key(i),
                ranks=torch.as_tensor(ranks),
                least=density - reach,
                step=2 * reach / last if last else 0.0,
                inverse=inverse,
            )
            if inverse or not values.flag("rescale"):
                return kept, 1.0
            magnitudes[i] = whole_magnitude(sources, base, i, context)
            return kept, 1.0

        magnitudes: dict[int, float] = {}
        result = blend(sources, base, values, elect=self.elect, keep=drop)
        if not magnitudes:
            return result
        taking_part = [i for i, weight in enumerate(values.each("weight")) if weight]
        return RescaledSum(blend=result, wholes=tuple(map(magnitudes.get, taking_part)))


def _ranks(sources: Sequence[Tensor], base: Tensor, source: int, context: TensorContext) -> Statistic:
    """Return the ranks of one source, cached if there is room."""
    known = context.known(_RANKS, (source,))
    if known is not None:
        return known
    ranks = row_ranks(sources[source], base)
    if context.has_room(ranks.nbytes):
        context.recall(_RANKS, (source,), lambda: ranks)
    return ranks


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
