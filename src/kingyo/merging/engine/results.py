"""Write the result of a plan: as a checkpoint on disk, or into a live model, again and again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint
from kingyo.merging.checkpoints.single_file_layout import single_file_name, single_file_parts
from kingyo.merging.checkpoints.writer import CODE, CheckpointWriter, OutTensor
from kingyo.merging.engine.execute import MergeOptions, Prepared, execute, fill
from kingyo.merging.engine.jobs import TensorJob, not_finite, result
from kingyo.merging.engine.plan import Plan
from kingyo.merging.engine.sources import on_disk
from kingyo.merging.kernels import Lazy, RankedBernoulliMask, WeightedSum
from kingyo.merging.kernels.raw_tensor import AnyTensor, as_torch
from kingyo.merging.kernels.writing import PendingWrite, prepare
from kingyo.merging.vocabulary import TOKENIZER_FILES

_LOAD_LIVE = "Load the live model from one of the models of the recipe, in the recipe's dtype."


class Watch(Protocol):
    """Receives the progress of a merge; several threads call ``wrote`` and ``broken``."""

    def start(self, n_bytes: int) -> None:
        """Writing begins; all tensors together have this size."""

    def wrote(self, n_bytes: int) -> None:
        """This number of further bytes was written."""

    def broken(self, tensor: str) -> None:
        """A written tensor holds NaN or infinity."""


def to_folder(
    plan: Plan,
    out: Path,
    files: Mapping[str, str | bytes] | None = None,
    options: MergeOptions | None = None,
    *,
    around: Mapping[str, Path] | None = None,
    watch: Watch | None = None,
) -> Path:
    """Write a merge as a checkpoint, completely or not at all; return ``out``.

    Each thread needs memory for a part of a tensor, whatever the size of the models. Some methods need more:
    see docs/architecture.md.

    Args:
        out: a new or empty folder.
        files: further files for it, by name.
        options: options of the merge; ``seed``, ``component`` and ``pipeline`` are in the other arguments.
        around: files of the diffusers pipeline that the output is a component of, by their names in it; they
            are copied, and the checkpoint goes into a subfolder. None: the component is written alone.

    Raises:
        KingyoError: ``out`` is one of the sources; or see ``compute`` and ``CheckpointWriter``.

    Example:
        >>> to_folder(plan(recipe, open_sources(recipe)), Path("merged"))  # doctest: +SKIP
    """
    check_no_source(plan, out)
    chosen, like = options or MergeOptions(), plan.like
    # the folder of the checkpoint within the output: the component's name in a pipeline
    inside = "" if around is None else like.path.absolute().name
    writer = CheckpointWriter(
        out,
        out_tensors(plan),
        max_shard_bytes=chosen.max_shard_bytes,
        force=chosen.force,
        stem=str(Path(inside, like.stem)),
    )
    tokenizer = {str(Path(inside, name)): text for name, text in (plan.tokenizer_files or {}).items()}
    plan.sources.check_unchanged()
    with writer:
        _write_shards(plan, writer, chosen, watch)
        if chosen.single_file:
            written = Checkpoint(
                reference=like.reference, path=like.path, config=like.config, tensors=writer.weights()
            )
            writer.add_file(single_file_name(out), single_file_parts(written, around or {}))
        return writer.complete(
            like=like,
            files={**tokenizer, **(files or {})},
            without=() if plan.tokenizer_files is None else TOKENIZER_FILES,
            more=CODE if chosen.copy_code else (),
            around=around or {},
        )


def out_tensors(plan: Plan) -> list[OutTensor]:
    return [OutTensor(name=job.name, shape=job.shape, dtype=job.dtype) for job in plan.jobs]


def _write_shards(plan: Plan, writer: CheckpointWriter, options: MergeOptions, watch: Watch | None) -> None:
    def take(job: TensorJob, start: int, numbers: AnyTensor) -> None:
        writer.write(job.name, start, numbers)
        if watch is not None:
            watch.wrote(numbers.numel() * numbers.element_size())

    def broken(job: TensorJob) -> None:
        if watch is not None:
            watch.broken(job.name)

    if watch is not None:
        watch.start(sum(shard.n_bytes - len(shard.header) for shard in writer.shards))
    for i, shard in enumerate(writer.shards):
        writer.begin(i)
        execute([plan.jobs_by_name[name] for name in shard.starts], plan.sources, take, broken, options)
        plan.sources.check_unchanged()  # a file may have changed meanwhile
        writer.finish(i)


def check_no_source(plan: Plan, out: Path) -> None:
    """Check that a folder is not a source, nor inside of one, nor around one."""
    target = out.resolve()
    for model in on_disk(plan.sources.values()):
        places = {each.resolve() for each in (model.path, *model.files)}
        if any(target.is_relative_to(each) or each.is_relative_to(target) for each in places):
            expected = "a folder that is no source, and neither in one nor around one"
            received = f"one that shares files with {model.reference}"
            remedy = "Choose another folder: a merge never writes to its sources."
            raise KingyoError(str(out), expected, received, remedy)


def into(plan: Plan, weights: Mapping[str, Tensor], options: MergeOptions | None = None) -> None:
    """Write a merge into a live model, in place. After an error, fill the model again before using it.

    Args:
        weights: the live tensors by their names in the checkpoint, in the dtype of the plan or a wider one.
            Several names may share memory (a tied head).

    Raises:
        KingyoError: names, shapes or dtypes differ from the plan's, or see ``compute``.
        ChangedSourceError: a file of a source has changed since it was opened.
    """
    _check_live(plan, weights)
    chosen = options or MergeOptions()
    if chosen.compiled is None:  # further candidates are likely
        chosen = replace(chosen, compiled=True)
    plan.sources.check_unchanged()
    live = _LiveSink(plan, weights, nonfinite=chosen.allow_nonfinite)
    fill(plan.jobs, live.prepared, live.end, chosen)
    plan.sources.check_unchanged()  # a file may have changed meanwhile


class _LiveSink:
    def __init__(self, plan: Plan, weights: Mapping[str, Tensor], *, nonfinite: bool) -> None:
        self._tensors = plan.sources.mapped
        self._facts = plan.sources.facts
        self._is_mapped = all(map(self._tensors.is_mapped, plan.sources))
        self._weights = weights
        self._nonfinite = nonfinite

    def prepared(self, job: TensorJob) -> Prepared:
        place, dtype = self._weights[job.name], getattr(torch, job.dtype)
        if place.dtype != dtype:
            place = torch.empty(place.numel(), dtype=dtype, device=place.device)
        merged = result(job, self._tensors.read, self._facts, nonfinite=self._nonfinite)
        n_bytes = self._memory(job, merged)
        if not place.is_cpu and isinstance(merged, WeightedSum):
            copied = merged.on_device(lambda tensor: self._tensors.copy_on(place.device, tensor))
            merged = copied or merged
        return prepare(merged, (0, place.numel()), place), n_bytes

    def _memory(self, job: TensorJob, merged: Tensor | Lazy) -> int:
        """Return the bytes that a result needs before it is computed, without mapped files."""
        n_bytes = 0
        if not self._is_mapped:
            n_computed = sum(not self._tensors.is_mapped(each.reference) for each in job.reads)
            n_bytes = 4 * math.prod(job.shape) * n_computed
        if isinstance(merged, WeightedSum):
            for term in merged.terms:
                if not self._tensors.holds(term.source):  # computed by the method; may be in no cache
                    n_bytes += term.source.nbytes
                if term.mask is not None and isinstance(term.mask, RankedBernoulliMask):  # a protocol: slow
                    n_bytes += term.mask.ranks.nbytes
        elif isinstance(merged, torch.Tensor):
            n_bytes += merged.nbytes
        return n_bytes

    def end(self, job: TensorJob, pending: PendingWrite, is_finite: bool) -> None:
        if not is_finite and not self._nonfinite:
            raise not_finite(job, self._tensors.read)
        live = self._weights[job.name]
        if live.dtype != pending.out.dtype:
            live.detach().view(-1).copy_(as_torch(pending.out))


def _check_live(plan: Plan, weights: Mapping[str, Tensor]) -> None:
    planned = {job.name for job in plan.jobs}
    odd, more = planned - weights.keys(), weights.keys() - planned
    if more:
        memory = {weights[name].data_ptr() for name in planned & weights.keys()}
        odd |= {name for name in more if weights[name].data_ptr() not in memory}
    if odd:
        first = min(odd)
        received = f"'{first}', which is not in the {'live model' if first in planned else 'plan'}"
        raise KingyoError("weights", "the tensors of the plan", received, _LOAD_LIVE)
    owners: dict[int, str] = {}
    for job in plan.jobs:
        live = weights[job.name]
        dtype = getattr(torch, job.dtype)
        is_whole = live.is_contiguous() and not live.is_meta
        if live.shape != job.shape or not is_whole or not (live.dtype == dtype or _holds(live.dtype, dtype)):
            expected = f"a live tensor {list(job.shape)} in one piece of memory that holds {job.dtype}"
            received = f"{list(live.shape)} of {live.dtype}{'' if is_whole else ', a view or on meta'}"
            raise KingyoError(job.name, expected, received, _LOAD_LIVE)
        owner = owners.setdefault(live.data_ptr(), job.name) if live.nbytes else job.name
        if owner != job.name:
            expected = f"separate memory for {job.name}, which the merge does not tie"
            remedy = "Load the live model untied (tie_word_embeddings: false)."
            raise KingyoError("weights", expected, f"the memory of {owner}", remedy)


def _holds(wide: torch.dtype, narrow: torch.dtype) -> bool:
    """Return whether a dtype holds every number of another; float8 types hold only their own numbers."""
    if wide.is_complex or 1 in {wide.itemsize, narrow.itemsize}:
        return False
    return torch.promote_types(narrow, wide) == wide
