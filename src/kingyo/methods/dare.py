"""DARE: drop entries of task vectors at random, rescale the rest.

Yu et al. 2024, "Language models are super Mario" (arXiv 2311.03099); the sum is plain (dare_linear) or
by elected signs as in TIES (dare_ties).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kingyo.methods import METHODS
from kingyo.methods.blocks import BLOCK, Span, row_sums, spans
from kingyo.methods.contract import MethodValues, Noise, Parameter
from kingyo.methods.task_vectors import (
    DENSITY,
    LAMBDA,
    WEIGHT,
    Dense,
    TaskVectors,
    add_task_vectors,
    taking_part,
)

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


@dataclass(frozen=True, kw_only=True)
class Dare:
    """θ₀ + λ Σ wᵢ mᵢδᵢ, where each entry of the mask m is 1 with probability density, then rescaled.

    Attributes:
        elect: add only entries that agree with the elected sign.
    """

    name: str
    doc: str
    elect: bool
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
        return add_task_vectors(base, _dropped(sources, base, values, noise), values, elect=self.elect)


def _dropped(sources: Sequence[Tensor], base: Tensor, values: MethodValues, noise: Noise) -> TaskVectors:
    active = taking_part(values)
    whole = Dense([sources[i] for i in active], base)
    densities = {i: values.each("density")[i] for i in active}
    if min(densities.values(), default=1.0) >= 1.0:
        return whole
    thin = Dropped(whole, densities, noise)
    if values.flag("rescale"):
        by_density = [1 / max(density, _LEAST) for density in densities.values()]
        thin.scales = by_density if values.flag("rescale_by_density") else thin.ratios()
    return thin


class Dropped:
    """Task vectors of which the entries are kept whose random number is below the density, then scaled.

    Args:
        whole: the task vectors.
        densities: position of the source -> density, in the order of the task vectors.
        noise: random numbers by position of the source.
    """

    def __init__(self, whole: Dense, densities: Mapping[int, float], noise: Noise) -> None:
        self._whole = whole
        self._densities = densities
        self._noise = noise
        self._small: Tensor | None = None
        self.scales: Sequence[float] = [1.0] * len(densities)

    def block(self, span: Span) -> Tensor:
        """The entries of a span in float32, one row per source; never write to it."""
        if self._small is not None:
            return self._small[:, span[0] : span[1]]
        return self._whole.block(span).mul_(self._mask(span))

    def ratios(self) -> list[float]:
        """Σ|δ| / Σ|mδ| of each; 1 where nothing is left to scale."""
        before, after = [0.0] * len(self.scales), [0.0] * len(self.scales)
        for span in spans(self._whole.n_elements):
            entries = self._whole.block(span)
            before = [a + b for a, b in zip(before, row_sums(entries.abs()), strict=True)]
            entries.mul_(self._mask(span))
            after = [a + b for a, b in zip(after, row_sums(entries.abs()), strict=True)]
            if self._whole.n_elements <= BLOCK:  # all in one block: it is read once and kept
                self._small = entries
        return [a / b if b > 0 else 1.0 for a, b in zip(before, after, strict=True)]

    def _mask(self, span: Span) -> Tensor:
        mask = torch.empty((len(self._densities), span[1] - span[0]), dtype=torch.float32)
        for row, (source, density) in zip(mask.unbind(0), self._densities.items(), strict=True):
            if density < 1.0:
                torch.lt(self._noise.uniform(source, *span), density, out=row)
            else:
                row.fill_(1.0)
        return mask


for _method in (
    Dare(
        name="dare_linear",
        doc="Drop changes at random, rescale the rest, add them up (Yu 2024).",
        elect=False,
    ),
    Dare(
        name="dare_ties",
        doc="Drop changes at random, rescale the rest, elect a sign per entry, add what agrees (Yu 2024).",
        elect=True,
    ),
):
    METHODS.register(_method.name)(_method)
