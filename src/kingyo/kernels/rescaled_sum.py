"""Weighted sums whose factors depend on the entries that random masks keep."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

from kingyo.io.lazy_torch import Tensor
from kingyo.kernels.blocks import Span
from kingyo.kernels.statistics import kept_magnitude, rescaling_factor
from kingyo.kernels.weighted_sum import Term, WeightedSum


@dataclass(frozen=True, kw_only=True, eq=False)
class RescaledSum:
    """A weighted sum with terms that are rescaled so that masks do not change their sum of magnitudes.

    Attributes:
        unscaled: the sum, with the factors before rescaling.
        magnitudes: Σ|δ| of each term; None if it is not rescaled.
    """

    unscaled: WeightedSum
    magnitudes: tuple[float | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return self.unscaled.shape

    @property
    def is_finite(self) -> bool:
        """Whether the magnitudes are finite."""
        return all(each is None or math.isfinite(each) for each in self.magnitudes)

    @cached_property
    def rescaled(self) -> WeightedSum:
        """The sum with the rescaled factors; this reads all entries."""
        terms = map(self._rescale, self.unscaled.terms, self.magnitudes)
        return replace(self.unscaled, terms=tuple(terms))

    def _rescale(self, term: Term, magnitude: float | None) -> Term:
        if magnitude is None:
            return term
        assert self.unscaled.base is not None
        assert term.mask is not None
        kept = kept_magnitude(term.source, self.unscaled.base, term.mask, magnitude)
        return replace(term, factor=term.factor * rescaling_factor(magnitude, kept))

    def block(self, span: Span) -> Tensor:
        """Return the entries of a span in new float32 memory."""
        return self.rescaled.block(span)
