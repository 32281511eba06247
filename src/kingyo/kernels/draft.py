"""Blends that nobody can compute before it is drawn what they keep, since their factors follow from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from kingyo.kernels.blend import Blend, Term
from kingyo.kernels.blocks import Span
from kingyo.kernels.keep import RankedChance
from kingyo.kernels.measures import draw, scaled_back
from kingyo.late import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Draft:
    """A blend of which some terms are to be scaled so that their sum of magnitudes stays what it was.

    Attributes:
        blend: its factors are those before.
        wholes: of each term Σ|δ|, if it is to be scaled: its keep is a ``RankedChance`` that does not.
    """

    blend: Blend
    wholes: tuple[float | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result."""
        return self.blend.shape

    @cached_property
    def decided(self) -> Blend:
        """The blend, once its terms are drawn and scaled."""
        terms = map(self._decided, self.blend.terms, self.wholes)
        return replace(self.blend, terms=tuple(terms))

    def _decided(self, term: Term, whole: float | None) -> Term:
        if whole is None:
            return term
        assert self.blend.base is not None
        assert isinstance(term.keep, RankedChance)
        drawn, after = draw(term.source, self.blend.base, term.keep, whole)
        return replace(term, keep=drawn, factor=term.factor * scaled_back(whole, after))

    def block(self, span: Span) -> Tensor:
        """The entries of a span in new float32 memory."""
        return self.decided.block(span)
