"""Merge models according to a recipe: check it, plan it, and write the result to a folder or a live model.

``plan`` checks everything that is known before a weight is read. ``into`` fills a live model and
``to_folder`` writes a checkpoint. Both run the same jobs, so their results are bit-identical.
"""

from kingyo.engine.book import rooted as rooted
from kingyo.engine.execute import MergeOptions as MergeOptions
from kingyo.engine.folder import to_folder as to_folder
from kingyo.engine.in_place import into as into
from kingyo.engine.jobs import TensorInput as TensorInput
from kingyo.engine.jobs import TensorJob as TensorJob
from kingyo.engine.jobs import compute as compute
from kingyo.engine.plan import Plan as Plan
from kingyo.engine.plan import plan as plan
from kingyo.engine.sources import Sources as Sources
from kingyo.engine.sources import open_sources as open_sources
