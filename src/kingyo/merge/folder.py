"""Where a plan goes in the end: a checkpoint on disk, shard by shard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import local

import torch
from torch import Tensor

from kingyo import __version__
from kingyo.checkpoints.shards import OutTensor
from kingyo.checkpoints.writer import MAX_SHARD_BYTES, CheckpointWriter
from kingyo.errors import KingyoError
from kingyo.kernels.blocks import Span
from kingyo.merge.execute import How, execute
from kingyo.merge.plan import Plan, TensorJob

Progress = Callable[[int], None]
"""Called with the bytes of weights that were written since the last call, from several threads."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """How a checkpoint is written.

    Attributes:
        max_shard_bytes: where a new file of weights begins.
        force: replace what the folder holds.
        progress: is told of bytes written, those of an earlier try included.
    """

    max_shard_bytes: int = MAX_SHARD_BYTES
    force: bool = False
    progress: Progress | None = None


def to_folder(
    plan: Plan,
    out: Path,
    files: Mapping[str, str | bytes] | None = None,
    how: How | None = None,
    output: Output | None = None,
) -> Path:
    """Write a merge as a checkpoint; all or nothing. After an interrupt the same call goes on where it was.

    Memory is needed for a part of a tensor and thread, whatever the size of the models.

    Args:
        plan: what to compute.
        out: a new or empty folder.
        files: further files for it, name -> content.
        how: threads and the like.
        output: sizes of files, and who is told of progress.

    Raises:
        KingyoError: ``out`` is one of the sources; or see ``compute`` and ``CheckpointWriter``.
    """
    _check_no_source(plan, out)
    tensors = [OutTensor(name=job.name, shape=job.shape, dtype=job.dtype) for job in plan.jobs]
    asked = output or Output()
    progress = asked.progress
    writer = CheckpointWriter(
        out,
        tensors,
        identity=identity(plan),
        max_shard_bytes=asked.max_shard_bytes,
        force=asked.force,
    )
    with writer:
        sizes = {tensor.name: tensor.n_bytes for tensor in tensors}
        for shard, jobs in _by_shard(plan, writer):
            if writer.is_finished(shard):
                if progress is not None:
                    progress(sum(sizes[job.name] for job in jobs))
                continue
            writer.begin(shard)
            execute(jobs, plan.sources.read, _File(writer, progress), plan.sources.facts, how)
            writer.finish(shard)
        return writer.complete(like=plan.like, files=files)


def identity(plan: Plan) -> str:
    """What a merge's weights depend on: recipe, sizes and times of the sources' files, and this version."""
    used = {each for job in plan.jobs for each in job.sources}
    used |= {job.base.reference for job in plan.jobs if job.base is not None}
    files = {info.file for reference in used for info in plan.sources[reference].tensors.values()}
    stamps = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files)]
    text = json.dumps([__version__, plan.recipe.hash, stamps])
    return hashlib.sha256(text.encode()).hexdigest()


class _File:
    """A writer as a sink: a thread fills the same memory again and again."""

    def __init__(self, writer: CheckpointWriter, progress: Progress | None) -> None:
        self._writer = writer
        self._progress = progress
        self._memory = local()

    def place(self, job: TensorJob, span: Span) -> Tensor:
        """See ``Sink``."""
        dtype, n = getattr(torch, job.dtype), span[1] - span[0]
        found: Tensor | None = getattr(self._memory, "buffer", None)
        if found is None or found.dtype != dtype or found.numel() < n:
            found = self._memory.buffer = torch.empty(n, dtype=dtype)
        return found[:n]

    def take(self, job: TensorJob, span: Span, numbers: Tensor) -> None:
        """See ``Sink``."""
        self._writer.write(job.name, span[0], numbers)
        if self._progress is not None:
            self._progress(numbers.numel() * numbers.element_size())

    def end(self, job: TensorJob) -> None:
        """See ``Sink``."""


def _by_shard(plan: Plan, writer: CheckpointWriter) -> Iterator[tuple[int, list[TensorJob]]]:
    jobs: dict[int, list[TensorJob]] = {}
    for job in plan.jobs:
        jobs.setdefault(writer.shard_of(job.name), []).append(job)
    yield from sorted(jobs.items())


def _check_no_source(plan: Plan, out: Path) -> None:
    target = out.resolve()
    for reference, source in plan.sources.items():
        if target == source.path.resolve() or source.path.resolve().is_relative_to(target):
            raise KingyoError(
                str(out),
                expected="a folder that is no source",
                received=f"the folder of {reference}",
                remedy="Choose another folder: a merge never writes to its sources.",
            )
