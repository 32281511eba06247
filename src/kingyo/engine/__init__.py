"""Merge models according to a recipe: check it, plan it, and write the result to a folder or a live model.

``plan`` checks everything that is known before a weight is read. ``into`` fills a live model and
``to_folder`` writes a checkpoint. Both run the same jobs, so their results are bit-identical.
"""

from kingyo.engine.book import plan_book
from kingyo.engine.compute import Read, compute
from kingyo.engine.execute import How
from kingyo.engine.folder import Writing, to_folder
from kingyo.engine.in_place import into
from kingyo.engine.jobs import TensorInput, TensorJob
from kingyo.engine.options import MergeOptions
from kingyo.engine.paths import rooted, rooted_book
from kingyo.engine.plan import Plan
from kingyo.engine.planned_checkpoint import planned_checkpoint
from kingyo.engine.planning import plan
from kingyo.engine.sources import Sources, open_sources

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
