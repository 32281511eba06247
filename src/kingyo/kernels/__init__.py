"""Arithmetic of merges: definitions in torch, and bit-identical compiled loops.

A merge method returns a tensor or a ``Lazy`` result, and ``writing.write`` computes it block by block into
its place. This package knows tensors and numbers, but no recipes, files or models.
"""

from kingyo.kernels.lazy import Elementwise, Lazy, LineSum, to_tensor
from kingyo.kernels.masks import BernoulliMask, MagnitudeMask, Mask, RankedBernoulliMask, Threshold
from kingyo.kernels.weighted_sum import Term, WeightedSum, weighted_sum

__all__ = [
    "BernoulliMask",
    "Elementwise",
    "Lazy",
    "LineSum",
    "MagnitudeMask",
    "Mask",
    "RankedBernoulliMask",
    "Term",
    "Threshold",
    "WeightedSum",
    "to_tensor",
    "weighted_sum",
]
