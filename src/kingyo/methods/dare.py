"""DARE: drop entries of task vectors at random, rescale the rest.

Yu et al. 2024, "Language models are super Mario" (arXiv 2311.03099); the sum is plain (dare_linear) or
by elected signs as in TIES (dare_ties).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from kingyo.methods import METHODS
from kingyo.methods.blocks import exact_sum, spans
from kingyo.methods.contract import MethodValues, Noise, Parameter
from kingyo.methods.task_vectors import DENSITY, LAMBDA, WEIGHT, Dense, TaskVector, add_task_vectors

_LEAST = 1e-12
_PARAMS = (
    WEIGHT,
    DENSITY,
    LAMBDA,
    Parameter(
        name="normalize", kind="bool", default=False, doc="Divide by the sum of the weights that take part."
    ),
    Parameter(
        name="rescale",
        kind="bool",
        default=True,
        doc="Scale what is kept so that the sum of magnitudes stays what it was.",
    ),
    Parameter(
        name="rescale_by_density",
        kind="bool",
        default=False,
        doc="Scale by 1/density instead, as in the paper: right on average, not in each draw.",
    ),
)


class DareLinear:
    """θ₀ + λ Σ wᵢ mᵢδᵢ, where each entry of the mask m is 1 with probability density, then rescaled."""

    name = "dare_linear"
    doc = "Drop changes at random, rescale the rest, add them up (Yu 2024)."
    params = _PARAMS
    needs_base = True
    min_sources = 1
    max_sources = None
    stochastic = True

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, noise: Noise, /
    ) -> Tensor:
        """Merge; see ``MergeMethod``."""
        assert base is not None
        return add_task_vectors(base, _dropped(sources, base, values, noise), values, elect=False)


class DareTies:
    """As dare_linear, but only entries that agree with the elected sign are added."""

    name = "dare_ties"
    doc = "Drop changes at random, rescale the rest, elect a sign per entry, add what agrees (Yu 2024)."
    params = _PARAMS
    needs_base = True
    min_sources = 1
    max_sources = None
    stochastic = True

    def __call__(
        self, sources: Sequence[Tensor], base: Tensor | None, values: MethodValues, noise: Noise, /
    ) -> Tensor:
        """Merge; see ``MergeMethod``."""
        assert base is not None
        return add_task_vectors(base, _dropped(sources, base, values, noise), values, elect=True)


class Dropped:
    """A task vector of which the entries are kept whose random number is below the density, then scaled."""

    def __init__(self, vector: TaskVector, noise: Noise, source: int, density: float) -> None:
        self._vector = vector
        self._noise = noise
        self._source = source
        self._density = density
        self.scale = 1.0

    def block(self, span: tuple[int, int]) -> Tensor:
        """The entries of a span, in new float32 memory."""
        entries = self._vector.block(span)
        kept = self._noise.uniform(self._source, *span) < self._density
        return entries.mul_(kept).mul_(self.scale)


def _dropped(sources: Sequence[Tensor], base: Tensor, values: MethodValues, noise: Noise) -> list[TaskVector]:
    densities, weights = values.each("density"), values.each("weight")
    found: list[TaskVector] = []
    for i, source in enumerate(sources):
        vector = Dense(source, base)
        if densities[i] >= 1.0 or weights[i] == 0.0:
            found.append(vector)
            continue
        thin = Dropped(vector, noise, i, densities[i])
        if values.flag("rescale"):
            by_density = values.flag("rescale_by_density")
            thin.scale = 1 / max(densities[i], _LEAST) if by_density else _ratio(vector, thin, source.numel())
        found.append(thin)
    return found


def _ratio(whole: TaskVector, thin: TaskVector, n: int) -> float:
    """Σ|δ| / Σ|mδ|; 1 where nothing is left to scale."""
    before = sum(exact_sum(whole.block(span).abs_()) for span in spans(n))
    after = sum(exact_sum(thin.block(span).abs_()) for span in spans(n))
    return before / after if after > 0 else 1.0


METHODS.register(DareLinear.name)(DareLinear())
METHODS.register(DareTies.name)(DareTies())
