"""Merge models according to a recipe: check it, plan it, and write the result to a folder or a live model.

``plan`` checks everything that is known before a weight is read. ``into`` fills a live model and
``to_folder`` writes a checkpoint. Both run the same jobs, so their results are bit-identical.
"""

from kingyo.engine.book import rooted
from kingyo.engine.folder import Writing, to_folder
from kingyo.engine.in_place import into
from kingyo.engine.jobs import TensorInput, TensorJob, compute
from kingyo.engine.options import ExecutionOptions, MergeOptions
from kingyo.engine.plan import Plan
from kingyo.engine.planning import plan
from kingyo.engine.sources import Sources, open_sources

__all__ = [
    "ExecutionOptions",
    "MergeOptions",
    "Plan",
    "Sources",
    "TensorInput",
    "TensorJob",
    "Writing",
    "compute",
    "into",
    "open_sources",
    "plan",
    "rooted",
    "to_folder",
]
