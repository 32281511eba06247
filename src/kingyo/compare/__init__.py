"""Differences between models, agreement of task vectors, and advice for merging."""

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
