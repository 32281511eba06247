"""Where candidates are evaluated: in this process, in several on this machine, or on a Ray cluster.

All runners do the same: take jobs, give evaluations in order of finishing. A worker that dies or takes too
long is replaced, and its job is a failure with a reason. They know no search, no store and no model: what
scores a recipe is given to them.
"""

from kingyo.runners.local import LocalRunner
from kingyo.runners.processes import ProcessRunner
from kingyo.runners.ray_actors import RayRunner
from kingyo.runners.runner import Evaluate, Factory, Job, Runner

__all__ = ["Evaluate", "Factory", "Job", "LocalRunner", "ProcessRunner", "RayRunner", "Runner"]
