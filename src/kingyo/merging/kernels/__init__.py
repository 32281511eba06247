"""Arithmetic of merges: definitions in torch, and bit-identical compiled loops.

A merge method returns a tensor or a ``Lazy`` result, and ``writing.write`` computes it block by block into
its place. This package knows tensors and numbers, but no recipes, files or models.
"""

from kingyo.merging.kernels.masks import BernoulliMask as BernoulliMask
from kingyo.merging.kernels.masks import MagnitudeMask as MagnitudeMask
from kingyo.merging.kernels.masks import Mask as Mask
from kingyo.merging.kernels.masks import RankedBernoulliMask as RankedBernoulliMask
from kingyo.merging.kernels.masks import Threshold as Threshold
from kingyo.merging.kernels.weighted_sum import Elementwise as Elementwise
from kingyo.merging.kernels.weighted_sum import Lazy as Lazy
from kingyo.merging.kernels.weighted_sum import Term as Term
from kingyo.merging.kernels.weighted_sum import WeightedSum as WeightedSum
from kingyo.merging.kernels.weighted_sum import to_tensor as to_tensor
from kingyo.merging.kernels.weighted_sum import weighted_sum as weighted_sum
