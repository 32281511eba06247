"""Differences between the weights of models, and agreement of their task vectors."""

from kingyo.views.compare.weights import TOP as TOP
from kingyo.views.compare.weights import CheckpointComparison as CheckpointComparison
from kingyo.views.compare.weights import ComparisonSums as ComparisonSums
from kingyo.views.compare.weights import compare as compare
from kingyo.views.compare.weights import letter as letter
