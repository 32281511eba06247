"""Blends on another device than the processor: the reference, on copies of their tensors there.

What is measured of the sources is measured where they lie, on the processor; the pass over all weights, which
every candidate repeats, runs beside the live model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kingyo.kernels.blend import Blend, Term
from kingyo.kernels.keep import KNOWN, Drawn, Keep, RankedChance
from kingyo.late import Tensor

Copy = Callable[[Tensor], Tensor]
"""A tensor -> the same on the device."""


def moved(blend: Blend, copy: Copy) -> Blend | None:
    """The same blend of copies; None where a user's own ``Keep`` does not say how it can be moved."""
    terms: list[Term] = []
    for term in blend.terms:
        keep = term.keep
        if keep is not None and type(keep) not in KNOWN:
            return None
        terms.append(replace(term, source=copy(term.source), keep=_moved(keep, copy)))
    return replace(blend, terms=tuple(terms), base=None if blend.base is None else copy(blend.base))


def _moved(keep: Keep | None, copy: Copy) -> Keep | None:
    if isinstance(keep, Drawn):
        return Drawn(bits=copy(keep.bits))
    if isinstance(keep, RankedChance):
        return replace(keep, ranks=copy(keep.ranks.int()))  # other devices know little of uint16
    return keep
