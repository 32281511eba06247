"""The errand of ``kingyo merge``: look at a recipe and all it needs, say what will happen, make it happen."""

from kingyo.merging.estimate import Estimate, estimate
from kingyo.merging.groups import Group, group, ungrouped
from kingyo.merging.request import Request
from kingyo.merging.survey import Survey, Target, survey
from kingyo.merging.write import finish, write

__all__ = [
    "Estimate",
    "Group",
    "Request",
    "Survey",
    "Target",
    "estimate",
    "finish",
    "group",
    "survey",
    "ungrouped",
    "write",
]
