"""Comparing models: how far apart they are, whether their task vectors agree, what follows for a merge."""

from kingyo.compare.advice import advise, letter
from kingyo.compare.measures import TOP, CheckpointComparison, Measures, TensorGroup
from kingyo.compare.record import to_record
from kingyo.compare.stream import compare

__all__ = [
    "TOP",
    "CheckpointComparison",
    "Measures",
    "TensorGroup",
    "advise",
    "compare",
    "letter",
    "to_record",
]
