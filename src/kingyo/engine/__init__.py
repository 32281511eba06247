"""From a recipe to weights: an inert plan, and the two places where its result can go.

``plan`` checks all that can be known before a weight is touched. ``into`` fills a live model, ``to_folder``
writes a checkpoint; both run the same jobs, so both give the same bits.
"""

from kingyo.engine.chain import plan_book
from kingyo.engine.compute import Read, compute
from kingyo.engine.execute import How
from kingyo.engine.folder import Writing, to_folder
from kingyo.engine.inner import planned_checkpoint
from kingyo.engine.live import into
from kingyo.engine.options import MergeOptions
from kingyo.engine.plan import Plan, TensorInput, TensorJob, plan
from kingyo.engine.sources import Sources, open_sources, rooted, rooted_book

__all__ = [
    "How",
    "MergeOptions",
    "Plan",
    "Read",
    "Sources",
    "TensorInput",
    "TensorJob",
    "Writing",
    "compute",
    "into",
    "open_sources",
    "plan",
    "plan_book",
    "planned_checkpoint",
    "rooted",
    "rooted_book",
    "to_folder",
]
