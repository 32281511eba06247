"""Where a plan goes in the end: a checkpoint on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kingyo.checkpoints import write_checkpoint
from kingyo.merge.compute import compute
from kingyo.merge.plan import Plan


def to_folder(plan: Plan, out: Path, files: Mapping[str, str] | None = None) -> Path:
    """Write a merge as a checkpoint, one tensor in memory at a time; all or nothing.

    Args:
        plan: what to compute.
        out: a new or empty folder.
        files: further text files for it, name -> content.

    Raises:
        KingyoError: see ``compute`` and ``write_checkpoint``.
    """
    tensors = ((job.name, compute(job, plan.sources.read)) for job in plan.jobs)
    return write_checkpoint(out, tensors, like=plan.like, files=files)
