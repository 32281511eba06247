"""Estimate the memory of a run from headers, config and items."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from kingyo.checkpoints.header import WIDTHS
from kingyo.engine import Plan
from kingyo.models.kinds import BatchMemory, Workload, called
from kingyo.run.model_kind import task_options
from kingyo.run.run import Run
from kingyo.types import SPLITS


@dataclass(frozen=True, kw_only=True)
class MemoryForecast:
    """Memory in bytes.

    Attributes:
        live: weights of the live models, on the run's device.
        n_live: number of live models.
        batch: memory of a full batch on the device; None if the kind of model gives no estimate.
        sources: files of each model, by reference; mapped, so the system can reclaim this CPU memory.
        missing: the part of them that is still on the Hub, by reference.
    """

    live: int
    batch: BatchMemory | None
    sources: Mapping[str, int]
    missing: Mapping[str, int]
    n_live: int = 1


def estimate_memory(run: Run) -> MemoryForecast:
    """Estimate the memory of a run.

    Raises:
        KingyoError: the models cannot answer an item, for example because its prompt is too long.
    """
    config, models, planned = run.config, run.models, run.plan
    opened = models.by_reference.values()
    load = Workload(
        items=[item for split in SPLITS for item in run.items[split]],
        options=task_options(config, run.folder),
        batch_size=config.batch_size,
        n_bytes=_dtype_size(planned),
    )
    path, like = models.skeleton.path, planned.like.config
    return MemoryForecast(
        live=sum(math.prod(job.shape) * WIDTHS[job.dtype] for job in planned.jobs),
        batch=called(run.kind, "memory", lambda: run.kind.memory(path, like, load), BatchMemory | None),
        sources={m.reference: sum(info.n_bytes for info in m.tensors.values()) for m in opened},
        missing={m.reference: m.n_missing for m in opened if m.n_missing},
    )


def _dtype_size(plan: Plan) -> int:
    """Return the bytes per number of the widest weights."""
    return max((WIDTHS[job.dtype] for job in plan.jobs), default=4)
