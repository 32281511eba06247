"""Estimate the length, size and memory of paths."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kingyo.checkpoints import Checkpoint
from kingyo.checkpoints.header import WIDTHS
from kingyo.dry_run.memory import MemoryForecast
from kingyo.run.layer_paths import dataflow_space, frame_of, path_sizes_of
from kingyo.run.run import Run
from kingyo.space import path_sizes


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
    dtype = run.config.merge.dtype or _dtype(frame)
    live = list({model.reference: model for model in models.sources.values()}.values())
    if run.config.space == "hybrid" or {"base", "uniform"} & set(run.baselines):
        live.append(models.skeleton)
    n_numbers = sum(info.n_elements for model in live for info in model.tensors.values())
    batch = memory.batch
    if batch is not None and batch.bytes is not None:  # it grows with the layers
        batch = replace(batch, bytes=batch.bytes // frame.layout.n_blocks * longest)
    return replace(
        memory,
        live=n_numbers * WIDTHS[dtype],
        n_live=len(live),
        batch=batch,
    )


def _dtype(model: Checkpoint) -> str:
    """Return the default dtype of a model: that of most of its numbers."""
    counts: dict[str, int] = {}
    for info in model.tensors.values():
        counts[info.stored_dtype] = counts.get(info.stored_dtype, 0) + info.n_elements
    return max(counts, key=lambda dtype: counts[dtype])
