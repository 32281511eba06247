"""Blends on another device than the processor: the reference, on copies of their tensors there.

What is measured of the sources is measured where they lie, on the processor; the pass over all weights, which
every candidate repeats, runs beside the live model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kingyo.io.lazy_torch import Tensor
from kingyo.kernels.blend import Term, WeightedSum
from kingyo.kernels.keep import CompiledMask

Copy = Callable[[Tensor], Tensor]
"""A tensor -> the same on the device."""


def moved(blend: WeightedSum, copy: Copy) -> WeightedSum | None:
    """Return the same blend of copies; None where a user's own ``Keep`` does not say how it can be moved."""
    terms: list[Term] = []
    for term in blend.terms:
        keep = term.keep
        if keep is not None and not isinstance(keep, CompiledMask):
            return None
        kept = None if keep is None else keep.moved(copy)
        terms.append(replace(term, source=copy(term.source), keep=kept))
    return replace(blend, terms=tuple(terms), base=None if blend.base is None else copy(blend.base))
