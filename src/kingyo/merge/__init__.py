"""From a recipe to weights: an inert plan, and the two places where its result can go.

``plan`` checks all that can be known before a weight is touched. ``into`` fills a live model, ``to_folder``
writes a checkpoint; both run the same jobs, so both give the same bits.
"""

from kingyo.merge.compute import Read, compute
from kingyo.merge.folder import to_folder
from kingyo.merge.live import into
from kingyo.merge.plan import Plan, TensorJob, plan
from kingyo.merge.sources import Sources, open_sources, rooted

__all__ = [
    "Plan",
    "Read",
    "Sources",
    "TensorJob",
    "compute",
    "into",
    "open_sources",
    "plan",
    "rooted",
    "to_folder",
]
