"""Comparing models: how far apart they are, whether their task vectors agree, what follows for a merge."""

from kingyo.compare.activations import compare
from kingyo.compare.comparison_sums import TOP, CheckpointComparison, ComparisonSums, TensorGroup
from kingyo.compare.method_advice import advise, letter
from kingyo.compare.record import to_record

__all__ = [
    "TOP",
    "CheckpointComparison",
    "ComparisonSums",
    "TensorGroup",
    "advise",
    "compare",
    "letter",
    "to_record",
]
