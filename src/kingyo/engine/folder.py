"""Where a plan goes in the end: a checkpoint on disk, shard by shard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import local
from typing import Protocol

from kingyo import __version__
from kingyo.checkpoints.atomic_folder import hidden
from kingyo.checkpoints.companions import CODE
from kingyo.checkpoints.file_stamps import file_stamps
from kingyo.checkpoints.shards import OutTensor
from kingyo.checkpoints.writer import CheckpointWriter
from kingyo.engine.derived import leaves, stamp
from kingyo.engine.execute import How, execute
from kingyo.engine.options import MergeOptions
from kingyo.engine.plan import Plan, TensorJob
from kingyo.errors import KingyoError
from kingyo.kernels.blocks import Span
from kingyo.kernels.raw_tensor import AnyTensor, empty_vector
from kingyo.registry import is_in_file, whole_reference
from kingyo.vocabulary import TOKENIZER_FILES


class Watch(Protocol):
    """Whoever shows how a checkpoint is written."""

    def start(self, shards: Sequence[int], finished: int) -> None:
        """It begins: bytes of weights in each shard; how many bytes an earlier try has finished."""
        ...

    def drop(self, files: int) -> None:
        """So many complete files of an earlier try are gone: they were of something else."""
        ...

    def wrote(self, n_bytes: int) -> None:
        """So many bytes of weights more are written; several threads call it."""
        ...

    def finish(self, shard: int) -> None:
        """A shard is complete, now or from an earlier try."""
        ...

    def broken(self, tensor: str) -> None:
        """A tensor that was written holds NaN or infinity; several threads call it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Writing:
    """How one folder is written, beside what the options of the merge say.

    Attributes:
        is_one_of_several: see ``CheckpointWriter.complete``.
        around: files of the pipeline that the output is a component of, by their names in it: the folder gets
            them as they are, and the checkpoint in a folder of its own. None: it is written by itself.
        watch: is told of progress.
        compiled: see ``How``.
    """

    is_one_of_several: bool = False
    around: Mapping[str, Path] | None = None
    watch: Watch | None = None
    compiled: bool | None = None


def to_folder(
    plan: Plan,
    out: Path,
    files: Mapping[str, str | bytes] | None = None,
    options: MergeOptions | None = None,
    writing: Writing | None = None,
) -> Path:
    """Write a merge as a checkpoint; all or nothing. After an interrupt the same call goes on where it was.

    Memory is needed for a part of a tensor and thread, whatever the size of the models; docs/architecture.md
    lists what some methods need beside (matrices for singular values, ranks of all entries of a tensor).

    Args:
        plan: what to compute.
        out: a new or empty folder.
        files: further files for it, name -> content.
        options: of the merge; those of the recipe alone (seed, component) are applied already.
        writing: what goes around the checkpoint, and who is told of progress.

    Raises:
        KingyoError: ``out`` is one of the sources; or see ``compute`` and ``CheckpointWriter``.
    """
    check_no_source(plan, out)
    chosen, asked = options or MergeOptions(), writing or Writing()
    writer = _writer(plan, out, chosen, asked.around)
    if writer.is_published:
        return out
    inside = _inside(plan, asked.around)
    own = {str(Path(inside, name)): text for name, text in (plan.tokenizer_files or {}).items()}
    before = _count_complete(out, inside)
    plan.sources.check_unchanged()
    with writer:
        dropped = before - writer.n_finished
        if dropped > 0 and asked.watch is not None:
            asked.watch.drop(dropped)
        _write_shards(plan, writer, replace(chosen.how, compiled=asked.compiled), asked.watch)
        return writer.complete(
            like=plan.like,
            files={**own, **(files or {})},
            without=() if plan.tokenizer_files is None else TOKENIZER_FILES,
            more=CODE if chosen.copy_code else (),
            around=asked.around or {},
            is_one_of_several=asked.is_one_of_several,
        )


def _inside(plan: Plan, around: Mapping[str, Path] | None) -> str:
    """The folder in the output that gets the checkpoint: of a component its own."""
    return "" if around is None else plan.like.path.absolute().name


def _count_complete(out: Path, inside: str) -> int:
    """How many files of weights an earlier try has left."""
    return sum(1 for _ in (hidden(out) / "content" / inside).glob("*.safetensors"))


def _writer(
    plan: Plan, out: Path, options: MergeOptions, around: Mapping[str, Path] | None = None
) -> CheckpointWriter:
    return CheckpointWriter(
        out,
        out_tensors(plan),
        identity=identity(plan, around),
        max_shard_bytes=options.max_shard_bytes,
        force=options.force,
        stem=str(Path(_inside(plan, around), plan.like.stem)),
    )


def count_kept(plan: Plan, out: Path, options: MergeOptions) -> int:
    """How many files of weights an earlier try of the same merge has finished, which another will keep.

    Raises:
        KingyoError: see ``CheckpointWriter``.
    """
    if not hidden(out).is_dir():
        return 0
    return _writer(plan, out, replace(options, force=True)).n_kept


def out_tensors(plan: Plan) -> list[OutTensor]:
    """What will be written."""
    return [OutTensor(name=job.name, shape=job.shape, dtype=job.dtype) for job in plan.jobs]


def _write_shards(plan: Plan, writer: CheckpointWriter, how: How, watch: Watch | None) -> None:
    if watch is not None:
        sizes = [shard.n_bytes - len(shard.header) for shard in writer.shards]
        watch.start(sizes, sum(size for i, size in enumerate(sizes) if writer.is_finished(i)))
    for shard, jobs in _by_shard(plan, writer):
        if not writer.is_finished(shard):
            writer.begin(shard)
            execute(jobs, plan.sources.read, _WeightFile(writer, watch), how, plan.sources.read_raw)
            plan.sources.check_unchanged()  # it may have been read from files of both
            writer.finish(shard)
        if watch is not None:
            watch.finish(shard)


def identity(plan: Plan, around: Mapping[str, Path] | None = None) -> str:
    """What a merge depends on: recipe, sizes and times of the files of sources and pipeline, this version."""
    stamps = [stamp(plan.sources[reference]) for reference in sorted(plan.weights_of)]
    pipeline = (
        [] if around is None else [{str(file): each for file, each in file_stamps(around.values()).items()}]
    )
    text = json.dumps([__version__, plan.recipe.hash, _own_code(plan), stamps, *pipeline])
    return hashlib.sha256(text.encode()).hexdigest()


def _own_code(plan: Plan) -> str | None:
    """The user's file that holds the method, if one does."""
    method = plan.recipe.merge_method
    if not is_in_file(method):
        return None
    file = Path(whole_reference(method, plan.sources.folder or Path.cwd()).rpartition(":")[0])
    return file.read_text(encoding="utf-8") if file.is_file() else None


class _WeightFile:
    """A writer as a sink: a thread fills the same memory again and again."""

    def __init__(self, writer: CheckpointWriter, watch: Watch | None) -> None:
        self._writer = writer
        self._watch = watch
        self._memory = local()

    def place(self, job: TensorJob, span: Span) -> AnyTensor:
        """See ``Sink``."""
        n = span[1] - span[0]
        dtype, vector = getattr(self._memory, "last", (None, None))
        if vector is None or dtype != job.dtype or vector.numel() < n:
            vector = empty_vector(n, job.dtype)
            self._memory.last = job.dtype, vector
        return vector[:n]

    def take(self, job: TensorJob, span: Span, numbers: AnyTensor) -> None:
        """See ``Sink``."""
        self._writer.write(job.name, span[0], numbers)
        if self._watch is not None:
            self._watch.wrote(numbers.numel() * numbers.element_size())

    def broken(self, job: TensorJob) -> None:
        """See ``Sink``."""
        if self._watch is not None:
            self._watch.broken(job.name)


def _by_shard(plan: Plan, writer: CheckpointWriter) -> Iterator[tuple[int, list[TensorJob]]]:
    jobs: dict[int, list[TensorJob]] = {}
    for job in plan.jobs:
        jobs.setdefault(writer.shard_of(job.name), []).append(job)
    yield from sorted(jobs.items())


def check_no_source(plan: Plan, out: Path) -> None:
    """Refuse to write over a source, around one, or into one.

    Raises:
        KingyoError: ``out`` does.
    """
    target = out.resolve()
    for model in leaves(plan.sources.values()):
        place = model.path.resolve()
        if target.is_relative_to(place) or place.is_relative_to(target):
            raise KingyoError(
                str(out),
                expected="a folder that is no source, and neither in one nor around one",
                received=f"one that shares files with {model.reference}",
                remedy="Choose another folder: a merge never writes to its sources.",
            )
