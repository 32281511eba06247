"""Check a merge before it runs: what it will write, what it needs, and everything that is wrong with it."""

from kingyo.engine.preflight.groups import JobGroup, common_text, group, ungrouped
from kingyo.engine.preflight.merge import Preflight, check_merge
from kingyo.engine.preflight.planned import PlannedOutput
from kingyo.engine.preflight.sizes import MergeForecast, estimate

__all__ = [
    "JobGroup",
    "MergeForecast",
    "PlannedOutput",
    "Preflight",
    "check_merge",
    "common_text",
    "estimate",
    "group",
    "ungrouped",
]
