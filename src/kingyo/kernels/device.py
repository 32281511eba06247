"""Blends of other tensors: on another device than the processor, or torch's where they were raw memory.

What is measured of the sources is measured where they lie, on the processor; the pass over all weights, which
every candidate repeats, runs beside the live model, by the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kingyo.kernels.blend import Blend, Term
from kingyo.kernels.keep import KNOWN, Drawn, Keep, RankedChance
from kingyo.kernels.raw import RawTensor, as_torch
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


def in_torch(blend: Blend) -> Blend:
    """The same blend for the reference, which computes with torch: none of its tensors is raw."""
    tensors = (*(term.source for term in blend.terms), blend.base)
    if not any(isinstance(each, RawTensor) for each in tensors):
        return blend
    terms = tuple(replace(term, source=as_torch(term.source)) for term in blend.terms)
    return replace(blend, terms=terms, base=None if blend.base is None else as_torch(blend.base))


def _moved(keep: Keep | None, copy: Copy) -> Keep | None:
    if isinstance(keep, Drawn):
        return Drawn(bits=copy(keep.bits))
    if isinstance(keep, RankedChance):
        return replace(keep, ranks=copy(keep.ranks.int()))  # other devices know little of uint16
    return keep
