"""DELLA: drop entries of task vectors at random, small ones more often; rescale the rest.

Deep et al. 2024, "DELLA-Merging: Reducing interference in model merging through magnitude-based sampling"
(arXiv 2406.11617); the sum is by elected signs as in TIES (della) or plain (della_linear).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kingyo.kernels import Blend, Draft, Keep, RankedChance
from kingyo.kernels.facts import PASSING, Fact
from kingyo.kernels.measures import row_length, row_ranks
from kingyo.late import Tensor, torch
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter, TensorContext
from kingyo.methods.task_vectors import DENSITY, LAMBDA, WEIGHT, blend, normalize, rescale, whole_magnitude

_RANKS = f"{PASSING}row ranks"
_EPSILON = Parameter(
    name="epsilon",
    doc="How far the chance of a row's largest entry lies above density, and that of its smallest below.",
    default=0.15,
    low=0.0,
    high=0.5,
    per_source=True,
)
_BY_CHANCE = Parameter(
    name="rescale_by_density",
    kind="bool",
    default=False,
    doc="Scale each entry by 1 over its chance instead, as in the paper: right on average.",
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
    """θ₀ + λ Σ wᵢ rᵢ mᵢδᵢ, where an entry's chance to be kept grows with its magnitude's rank in its row.

    The smallest entry of a row of n has the chance density - ε, the largest density + ε, those between are
    spread evenly (MagPrune); ε is epsilon, but at most density and 1 - density, so that chances lie in
    [0, 1] and density is their mean. A vector is one row; the only entry of a row has the chance density.

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
        """What is dropped by chance, but for the sum of magnitudes. See ``contract.hides_nonfinite``."""
        return not values.flag("rescale") or values.flag("rescale_by_density")

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, context: TensorContext, /
    ) -> Blend | Draft:
        """Merge; see ``MergeMethod``."""
        assert base is not None
        inverse = values.flag("rescale") and values.flag("rescale_by_density")

        def drop(i: int) -> tuple[Keep | None, float]:
            density = values.each("density")[i]
            if density >= 1.0 or not base.numel():
                return None, 1.0
            ranks = _ranks(sources, base, i, context)
            last = max(1, row_length(base.shape)) - 1
            reach = min(values.each("epsilon")[i], density, 1 - density) if last else 0.0
            kept = RankedChance(
                key=context.key(i),
                ranks=torch.as_tensor(ranks),
                least=density - reach,
                step=2 * reach / last if last else 0.0,
                inverse=inverse,
            )
            if inverse or not values.flag("rescale"):
                return kept, 1.0
            wholes[i] = whole_magnitude(sources, base, i, context)
            return kept, 1.0

        wholes: dict[int, float] = {}
        made = blend(sources, base, values, elect=self.elect, keep=drop)
        if not wholes:
            return made
        taking_part = [i for i, weight in enumerate(values.each("weight")) if weight]
        return Draft(blend=made, wholes=tuple(map(wholes.get, taking_part)))


def _ranks(sources: Sequence[Tensor], base: Tensor, source: int, context: TensorContext) -> Fact:
    """Return the ranks of one source, which are remembered as long as there is room."""
    known = context.known(_RANKS, (source,))
    if known is not None:
        return known
    found = row_ranks(sources[source], base)
    if context.has_room(found.nbytes):
        context.recall(_RANKS, (source,), lambda: found)
    return found


_SOURCE = (
    'Deep et al. 2024, "DELLA-Merging: Reducing interference in model merging through magnitude-based '
    'sampling" (arXiv 2406.11617)'
)
_DIFFERS = (
    "Draws are a hash of seed, source, tensor and entry, as in dare_linear: the same on every machine.",
    "Where density ± epsilon leaves [0, 1] (as with the defaults of both), epsilon is what fits; mergekit "
    "stops with an error.",
    "Rows of one entry have the chance density; mergekit crashes on them.",
    "rescale_by_density is not in mergekit: the paper's 1/chance in place of the ratio of magnitudes.",
)

for _method in (
    Della(
        name="della",
        doc="Drop changes at random, small ones more often, elect a sign per entry, average what agrees.",
        elect=True,
        params=_params(normalized=True),
        guide=Guide(
            when="As dare_ties, where large changes matter more than small ones.",
            source=_SOURCE,
            differs=_DIFFERS,
        ),
    ),
    Della(
        name="della_linear",
        doc="Drop changes at random, small ones more often, rescale the rest, add them up (Deep 2024).",
        elect=False,
        params=_params(normalized=False),
        guide=Guide(
            when="As dare_linear, where large changes matter more than small ones.",
            source=_SOURCE,
            differs=_DIFFERS,
        ),
    ),
):
    METHODS.register(_method.name)(_method)
