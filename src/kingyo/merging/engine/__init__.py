"""Merge models according to a recipe: check it, plan it, and write the result to a folder or a live model.

``plan`` checks everything that is known before a weight is read. ``into`` fills a live model and
``to_folder`` writes a checkpoint. Both run the same jobs, so their results are bit-identical.
"""

from kingyo.merging.engine.book import rooted as rooted
from kingyo.merging.engine.execute import MergeOptions as MergeOptions
from kingyo.merging.engine.jobs import TensorInput as TensorInput
from kingyo.merging.engine.jobs import TensorJob as TensorJob
from kingyo.merging.engine.jobs import compute as compute
from kingyo.merging.engine.plan import Plan as Plan
from kingyo.merging.engine.plan import plan as plan
from kingyo.merging.engine.results import into as into
from kingyo.merging.engine.results import to_folder as to_folder
from kingyo.merging.engine.sources import Sources as Sources
from kingyo.merging.engine.sources import open_sources as open_sources
