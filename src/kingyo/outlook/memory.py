"""The memory that a run takes, as far as headers, config and items tell: bytes, and what they are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kingyo.checkpoints.header import WIDTHS
from kingyo.engine import Plan
from kingyo.models.kinds import BatchMemory, Workload, called
from kingyo.run.kinds import task_options
from kingyo.run.run import Run
from kingyo.types import SPLITS


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes.

    Attributes:
        live: weights of what lives, on the run's device.
        n_live: how many models that are.
        batch: what a full batch takes there beside them; None where the kind of model does not tell.
        sources: of each model in its files, by reference. They are mapped: memory of the processor that the
            system may take back.
        missing: of these, what is still on the Hub, by reference.
    """

    live: int
    batch: BatchMemory | None
    sources: Mapping[str, int]
    missing: Mapping[str, int]
    n_live: int = 1


def foresee_memory(run: Run) -> Memory:
    """Estimate the memory of a run.

    Raises:
        KingyoError: an item that the models cannot answer, such as a prompt that is too long.
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
    return Memory(
        live=sum(_size(job.shape) * WIDTHS[job.dtype] for job in planned.jobs),
        batch=called(run.kind, "memory", lambda: run.kind.memory(path, like, load), BatchMemory | None),
        sources={m.reference: sum(info.n_bytes for info in m.tensors.values()) for m in opened},
        missing={m.reference: m.n_missing for m in opened if m.n_missing},
    )


def _size(shape: Sequence[int]) -> int:
    n = 1
    for each in shape:
        n *= each
    return n


def _dtype_size(plan: Plan) -> int:
    """Bytes of a number of the widest weights."""
    return max((WIDTHS[job.dtype] for job in plan.jobs), default=4)
