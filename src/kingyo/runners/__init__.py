"""Runners evaluate candidates: in this process, in processes of this machine, or on a Ray cluster.

A runner takes jobs and returns evaluations in order of finishing. If a worker dies or exceeds the timeout,
its job fails with the reason and another worker replaces it.
"""

from kingyo.runners.processes import ProcessRunner
from kingyo.runners.ray_actors import RayRunner
from kingyo.runners.runner import Evaluate, Factory, Job, LocalRunner, Runner

__all__ = ["Evaluate", "Factory", "Job", "LocalRunner", "ProcessRunner", "RayRunner", "Runner"]
