"""DARE: drop entries of task vectors at random, rescale the rest.

Yu et al. 2024, "Language models are super Mario" (arXiv 2311.03099); the sum is plain (dare_linear) or
by elected signs as in TIES (dare_ties).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kingyo.kernels import Blend, Chance, Keep
from kingyo.late import Tensor
from kingyo.methods import METHODS
from kingyo.methods.contract import Guide, MethodValues, Parameter, TensorContext
from kingyo.methods.task_vectors import DENSITY, LAMBDA, WEIGHT, blend, normalize, rescale, rescaling

_LEAST = 1e-12
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
        doc="Scale by 1/density instead, as in the paper: right on average, not in each draw.",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Dare:
    """θ₀ + λ Σ wᵢ mᵢδᵢ, where each entry of the mask m is 1 with probability density, then rescaled.

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
        """What is dropped by chance, but for the sum of magnitudes. See ``contract.hides_nonfinite``."""
        return not values.flag("rescale") or values.flag("rescale_by_density")

    def hands_on(self, _values: MethodValues) -> bool:
        """See ``contract.hands_on``."""
        return True

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, context: TensorContext, /
    ) -> Blend:
        """Merge; see ``MergeMethod``."""
        assert base is not None

        def drop(i: int) -> tuple[Keep | None, float]:
            density = values.each("density")[i]
            if density >= 1.0:
                return None, 1.0
            kept = Chance(key=context.key(i), density=density)
            if not values.flag("rescale"):
                return kept, 1.0
            if values.flag("rescale_by_density"):
                return kept, 1 / max(density, _LEAST)
            return kept, rescaling(sources, base, i, kept, context)

        return blend(sources, base, values, elect=self.elect, keep=drop)


_SOURCE = (
    'Yu et al. 2024, "Language models are super Mario: Absorbing abilities from homologous models as a free '
    'lunch" (arXiv 2311.03099)'
)
_DIFFERS = (
    "Draws are a hash of seed, source, tensor and entry: the same on every machine, and a lower density "
    "keeps a part of what a higher one keeps. Kept fraction and norms are mergekit's, the draws are not.",
    "rescale_by_density is not in mergekit: the paper's 1/density in place of the ratio of magnitudes.",
)

for _method in (
    Dare(
        name="dare_linear",
        doc="Drop changes at random, rescale the rest, add them up (Yu 2024).",
        elect=False,
        guide=Guide(
            when="Fine-tunes with many small changes, of which most are redundant: low densities still work.",
            source=_SOURCE,
            differs=_DIFFERS,
        ),
    ),
    Dare(
        name="dare_ties",
        doc="Drop changes at random, rescale the rest, elect a sign per entry, add what agrees (Yu 2024).",
        elect=True,
        guide=Guide(
            when="As dare_linear, where sources also pull entries in opposite directions.",
            source=f"{_SOURCE}, with the election of Yadav et al. 2023 (arXiv 2306.01708)",
            differs=_DIFFERS,
        ),
    ),
):
    METHODS.register(_method.name)(_method)
