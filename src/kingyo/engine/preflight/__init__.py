"""Check a merge before it runs: what it will write, what it needs, and everything that is wrong with it."""

from kingyo.engine.preflight.estimate import MergeForecast, estimate
from kingyo.engine.preflight.groups import MergeGroup, group, ungrouped
from kingyo.engine.preflight.survey import PlannedOutput, Preflight, survey

__all__ = [
    "MergeForecast",
    "MergeGroup",
    "PlannedOutput",
    "Preflight",
    "estimate",
    "group",
    "survey",
    "ungrouped",
]
