"""Fused passes over tensors: a torch reference that defines each, and compiled twins of the same bits.

A merge method says what it wants as a ``Lazy`` result; ``write`` computes it, block by block, straight into
its place. It knows tensors and numbers, and nothing of recipes, files or models.
"""

from kingyo.kernels.blend import Term, WeightedSum
from kingyo.kernels.draft import RescaledSum
from kingyo.kernels.keep import BernoulliMask, MagnitudeMask, Mask, RankedBernoulliMask, Threshold
from kingyo.kernels.lazy import Elementwise, Lazy, whole

__all__ = [
    "BernoulliMask",
    "Elementwise",
    "Lazy",
    "MagnitudeMask",
    "Mask",
    "RankedBernoulliMask",
    "RescaledSum",
    "Term",
    "Threshold",
    "WeightedSum",
    "whole",
]
