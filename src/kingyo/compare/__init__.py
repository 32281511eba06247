"""Differences between the weights of models, and agreement of their task vectors."""

from kingyo.compare.weights import TOP as TOP
from kingyo.compare.weights import CheckpointComparison as CheckpointComparison
from kingyo.compare.weights import ComparisonSums as ComparisonSums
from kingyo.compare.weights import compare as compare
from kingyo.compare.weights import letter as letter
