"""Fused passes over tensors: a torch reference that defines each, and compiled twins of the same bits.

A merge method says what it wants as a ``Lazy`` result; ``write`` computes it, block by block, straight into
its place. It knows tensors and numbers, and nothing of recipes, files or models.
"""

from kingyo.kernels.blend import Blend, Term
from kingyo.kernels.draft import Draft
from kingyo.kernels.keep import Band, Chance, Keep, Limit, RankedChance
from kingyo.kernels.lazy import Elementwise, Lazy, whole

__all__ = [
    "Band",
    "Blend",
    "Chance",
    "Draft",
    "Elementwise",
    "Keep",
    "Lazy",
    "Limit",
    "RankedChance",
    "Term",
    "whole",
]
