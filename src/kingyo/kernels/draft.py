"""Blends whose factors follow from what chance keeps, so that this is summed before they are computed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from kingyo.io.lazy_torch import Tensor
from kingyo.kernels.blend import Term, WeightedSum
from kingyo.kernels.blocks import Span
from kingyo.kernels.measures import kept_magnitude, scaled_back


@dataclass(frozen=True, kw_only=True, eq=False)
class RescaledSum:
    """A blend of which some terms are to be scaled so that their sum of magnitudes stays what it was.

    Attributes:
        blend: its factors are those before.
        wholes: of each term Σ|δ|, if it is to be scaled; None if not.
    """

    blend: WeightedSum
    wholes: tuple[float | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result."""
        return self.blend.shape

    @cached_property
    def decided(self) -> WeightedSum:
        """Return the blend with its terms scaled."""
        terms = map(self._decided, self.blend.terms, self.wholes)
        return replace(self.blend, terms=tuple(terms))

    def _decided(self, term: Term, whole: float | None) -> Term:
        if whole is None:
            return term
        assert self.blend.base is not None
        assert term.keep is not None
        kept = kept_magnitude(term.source, self.blend.base, term.keep, whole)
        return replace(term, factor=term.factor * scaled_back(whole, kept))

    def block(self, span: Span) -> Tensor:
        """The entries of a span in new float32 memory."""
        return self.decided.block(span)
