"""The errand of ``kingyo merge``: look at a recipe and all it needs, say what will happen, make it happen."""

from kingyo.merging.estimate import MergeForecast, estimate
from kingyo.merging.groups import MergeGroup, group, ungrouped
from kingyo.merging.request import MergeRequest
from kingyo.merging.survey import PlannedOutput, Preflight, survey
from kingyo.merging.write import finish, write

__all__ = [
    "MergeForecast",
    "MergeGroup",
    "MergeRequest",
    "PlannedOutput",
    "Preflight",
    "estimate",
    "finish",
    "group",
    "survey",
    "ungrouped",
    "write",
]
