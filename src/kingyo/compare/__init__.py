"""Differences between models, agreement of task vectors, and advice for merging."""

from kingyo.compare.method_advice import advise
from kingyo.compare.weights import TOP, CheckpointComparison, ComparisonSums, compare, letter

__all__ = ["TOP", "CheckpointComparison", "ComparisonSums", "advise", "compare", "letter"]
