"""Estimate the memory of a run, the size of its paths, and its learning of weights, before it starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from kingyo.core.types import SPLITS
from kingyo.merging.checkpoints import Checkpoint
from kingyo.merging.checkpoints.header import WIDTHS
from kingyo.models.kinds import BatchMemory, Workload, call_kind
from kingyo.models.kinds.kind import training_dtype
from kingyo.runs.learning import PASSES, SHORTEST, TOTAL_SHARE, Allowance, learned_space
from kingyo.runs.model_kind import task_options
from kingyo.runs.run import Run
from kingyo.runs.settings import why_not_learned
from kingyo.runs.spaces import dataflow_space, frame_of, path_sizes_of
from kingyo.search.space import path_sizes


@dataclass(frozen=True, kw_only=True)
class MemoryForecast:
    """Memory in bytes.

    Attributes:
        live: weights of the live models, on the run's device.
        n_live: number of live models.
        batch: memory of a full batch on the device; None if the kind of model gives no estimate.
        sources: files of each model, by reference; mapped, so the system can reclaim this CPU memory.
        missing: the part of them that is still on the Hub, by reference.
        training: weights of the model that a LoRA is trained on; 0 if none is trained.
    """

    live: int
    batch: BatchMemory | None
    sources: Mapping[str, int]
    missing: Mapping[str, int]
    n_live: int = 1
    training: int = 0


@dataclass(frozen=True, kw_only=True)
class PathCosts:
    """Lengths of paths in layers, and bytes of their exported weights.

    Attributes:
        own, own_bytes: length and size of the frame's own path, where a search begins.
        longest, longest_bytes: length and size of the longest path, if all its layers are the largest ones.
    """

    own: int
    own_bytes: int
    longest: int
    longest_bytes: int


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
        n_bytes=max((WIDTHS[job.dtype] for job in planned.jobs), default=4),
    )
    path, like = models.skeleton.path, planned.like.config
    trains = bool(config.controls.trained) or config.tune is not None
    return MemoryForecast(
        live=sum(math.prod(job.shape) * WIDTHS[job.dtype] for job in planned.jobs),
        batch=call_kind(run.kind, "memory", lambda: run.kind.memory(path, like, load), BatchMemory | None),
        sources={m.reference: sum(info.n_bytes for info in m.tensors.values()) for m in opened},
        missing={m.reference: m.n_missing for m in opened if m.n_missing},
        training=models.skeleton.n_parameters * WIDTHS[training_dtype(config.device)] if trains else 0,
    )


def estimate_paths(run: Run) -> PathCosts:
    """Measure the paths of a run.

    Raises:
        KingyoError: the limit leaves no room for a layer.
    """
    space, frame, sizes = dataflow_space(run), frame_of(run), path_sizes_of(run)
    own = min(frame.layout.n_blocks, space.most_hops)
    return PathCosts(
        own=own,
        own_bytes=path_sizes({space.frame: frame}, space.frame, run.config.merge.dtype).max_bytes(own),
        longest=space.most_hops,
        longest_bytes=sizes.max_bytes(space.most_hops),
    )


def with_path_memory(memory: MemoryForecast, run: Run, longest: int) -> MemoryForecast:
    """Return the memory estimate of a path search, where all sources are live and none is copied.

    Args:
        memory: estimate for the same run with the frame as each candidate.
        run: opened; baselines that are not paths need another live model.
        longest: layers of the longest path.
    """
    models, frame = run.models, frame_of(run)
    dtype = run.config.merge.dtype or _main_dtype(frame)
    live = list({model.reference: model for model in models.sources.values()}.values())
    if run.config.space == "hybrid" or {"base", "uniform"} & set(run.baselines):
        live.append(models.skeleton)
    n_numbers = sum(info.n_elements for model in live for info in model.tensors.values())
    batch = memory.batch
    if batch is not None and batch.bytes is not None:  # it grows with the layers
        batch = replace(batch, bytes=batch.bytes // frame.layout.n_blocks * longest)
    return replace(memory, live=n_numbers * WIDTHS[dtype], n_live=len(live), batch=batch)


def _main_dtype(model: Checkpoint) -> str:
    """Return the default dtype of a model: that of most of its numbers."""
    counts: dict[str, int] = {}
    for info in model.tensors.values():
        counts[info.stored_dtype] = counts.get(info.stored_dtype, 0) + info.n_elements
    return max(counts, key=lambda dtype: counts[dtype])


@dataclass(frozen=True, kw_only=True)
class LearningForecast:
    """How a run learns weights by gradient, or why it does not.

    Attributes:
        weights: number of weights that are learned; 0 if none are.
        share: share of the search's budget that learning costs at most.
        passes: cost of an example in a step, in item evaluations.
        step_bytes: memory of a step beside the live model: twice the size of its weights.
        reason: why no weights are learned, if run.yaml does not choose it.
    """

    weights: int = 0
    share: float = TOTAL_SHARE
    passes: int = PASSES
    step_bytes: int = 0
    reason: str | None = None


def forecast_learning(run: Run, live: int) -> LearningForecast:
    """Forecast the learning of weights.

    Args:
        run: opened.
        live: bytes of the weights of the live model.
    """
    search = run.searches[0]
    space = learned_space(search) if run.learns else None
    if space is None:
        return LearningForecast(reason=why_not_learned(run.config, run.settings, run.kind, run.folder))
    allowance = Allowance.of(search, len(run.items["fit"]))
    if not allowance.is_enough:
        return LearningForecast(
            reason=f"a budget of {allowance.budget:,} item evaluations: a lesson costs at least {SHORTEST}, "
            f"and may cost {max(0, allowance.most or 0)} here"
        )
    weights = {gene for genes in space.genes_by_tensor.values() for gene in genes.values()}
    return LearningForecast(weights=len(weights), step_bytes=2 * live)
