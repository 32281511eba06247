"""Runners evaluate candidates: in this process, in processes of this machine, or on a Ray cluster.

A runner takes jobs and returns evaluations in order of finishing. If a worker dies or exceeds the timeout,
its job fails with the reason and another worker replaces it."""

from kingyo.search.runners.processes import ProcessRunner as ProcessRunner
from kingyo.search.runners.ray_actors import RayRunner as RayRunner
from kingyo.search.runners.runner import Evaluate as Evaluate
from kingyo.search.runners.runner import Factory as Factory
from kingyo.search.runners.runner import Job as Job
from kingyo.search.runners.runner import LocalRunner as LocalRunner
from kingyo.search.runners.runner import Runner as Runner
