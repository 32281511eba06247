"""Write a merge as a checkpoint on disk, shard by shard."""

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
from kingyo.checkpoints.header import OutTensor
from kingyo.checkpoints.mapped_tensors import file_stamps
from kingyo.checkpoints.writer import CODE, CheckpointWriter
from kingyo.engine.execute import How, execute
from kingyo.engine.jobs import TensorJob
from kingyo.engine.options import MergeOptions
from kingyo.engine.plan import Plan
from kingyo.engine.source_files import on_disk, stamp
from kingyo.errors import KingyoError
from kingyo.kernels.blocks import Span
from kingyo.kernels.raw_tensor import AnyTensor, empty_vector
from kingyo.registry import is_in_file, whole_reference
from kingyo.vocabulary import TOKENIZER_FILES


class Watch(Protocol):
    """Receives the progress of a merge."""

    def start(self, shards: Sequence[int], finished: int) -> None:
        """Writing begins.

        Args:
            shards: bytes of weights in each shard.
            finished: bytes that an interrupted merge has completed.
        """
        ...

    def drop(self, files: int) -> None:
        """This number of complete files of an interrupted merge was deleted, since they do not match."""
        ...

    def wrote(self, n_bytes: int) -> None:
        """This number of further bytes was written; several threads call this method."""
        ...

    def finish(self, shard: int) -> None:
        """A shard is complete, now or since an interrupted merge."""
        ...

    def broken(self, tensor: str) -> None:
        """A written tensor holds NaN or infinity; several threads call this method."""
        ...


@dataclass(frozen=True, kw_only=True)
class Writing:
    """How one folder is written, in addition to the options of the merge.

    Attributes:
        is_one_of_several: see ``CheckpointWriter.complete``.
        around: files of the diffusers pipeline that the output is a component of, by their names in it; they
            are copied, and the checkpoint goes into a subfolder. None: the component is written alone.
        watch: receives progress.
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
    """Write a merge as a checkpoint, completely or not at all. After an interrupt the same call continues.

    Each thread needs memory for a part of a tensor, whatever the size of the models. Some methods need more:
    see docs/architecture.md.

    Args:
        plan: the plan.
        out: a new or empty folder.
        files: further files for it, by name.
        options: options of the merge; ``seed`` and ``component`` are part of the plan already.
        writing: what goes around the checkpoint, and who receives progress.

    Returns:
        ``out``.

    Raises:
        KingyoError: ``out`` is one of the sources; or see ``compute`` and ``CheckpointWriter``.

    Example:
        >>> to_folder(plan(recipe, open_sources(recipe)), Path("merged"))  # doctest: +SKIP
    """
    check_no_source(plan, out)
    chosen, asked = options or MergeOptions(), writing or Writing()
    writer = _writer(plan, out, chosen, asked.around)
    if writer.is_published:
        return out
    inside = _subfolder(plan, asked.around)
    tokenizer = {str(Path(inside, name)): text for name, text in (plan.tokenizer_files or {}).items()}
    n_before = sum(1 for _ in (hidden(out) / "content" / inside).glob("*.safetensors"))
    plan.sources.check_unchanged()
    with writer:
        n_dropped = n_before - writer.n_finished
        if n_dropped > 0 and asked.watch is not None:
            asked.watch.drop(n_dropped)
        _write_shards(plan, writer, replace(chosen.how, compiled=asked.compiled), asked.watch)
        return writer.complete(
            like=plan.like,
            files={**tokenizer, **(files or {})},
            without=() if plan.tokenizer_files is None else TOKENIZER_FILES,
            more=CODE if chosen.copy_code else (),
            around=asked.around or {},
            is_one_of_several=asked.is_one_of_several,
        )


def _subfolder(plan: Plan, around: Mapping[str, Path] | None) -> str:
    """Return the folder of the checkpoint within the output: the component's name in a pipeline."""
    return "" if around is None else plan.like.path.absolute().name


def _writer(
    plan: Plan, out: Path, options: MergeOptions, around: Mapping[str, Path] | None = None
) -> CheckpointWriter:
    return CheckpointWriter(
        out,
        out_tensors(plan),
        identity=identity(plan, around),
        max_shard_bytes=options.max_shard_bytes,
        force=options.force,
        stem=str(Path(_subfolder(plan, around), plan.like.stem)),
    )


def count_kept(plan: Plan, out: Path, options: MergeOptions) -> int:
    """Return how many weight files of an interrupted merge the same merge would keep.

    Raises:
        KingyoError: see ``CheckpointWriter``.
    """
    if not hidden(out).is_dir():
        return 0
    return _writer(plan, out, replace(options, force=True)).n_kept


def out_tensors(plan: Plan) -> list[OutTensor]:
    """Return the tensors that will be written."""
    return [OutTensor(name=job.name, shape=job.shape, dtype=job.dtype) for job in plan.jobs]


def _write_shards(plan: Plan, writer: CheckpointWriter, how: How, watch: Watch | None) -> None:
    if watch is not None:
        sizes = [shard.n_bytes - len(shard.header) for shard in writer.shards]
        watch.start(sizes, sum(size for i, size in enumerate(sizes) if writer.is_finished(i)))
    for shard, jobs in _by_shard(plan, writer):
        if not writer.is_finished(shard):
            writer.begin(shard)
            execute(jobs, plan.sources.read, _ShardSink(writer, watch), how, plan.sources.read_raw)
            plan.sources.check_unchanged()  # a file may have changed meanwhile
            writer.finish(shard)
        if watch is not None:
            watch.finish(shard)


def _by_shard(plan: Plan, writer: CheckpointWriter) -> Iterator[tuple[int, list[TensorJob]]]:
    jobs: dict[int, list[TensorJob]] = {}
    for job in plan.jobs:
        jobs.setdefault(writer.shard_of(job.name), []).append(job)
    yield from sorted(jobs.items())


def identity(plan: Plan, around: Mapping[str, Path] | None = None) -> str:
    """Return a hash of everything that a merge depends on: recipe, files of its models, kingyo's version."""
    stamps = [stamp(plan.sources[reference]) for reference in sorted(plan.weights_of)]
    pipeline = (
        [] if around is None else [{str(file): each for file, each in file_stamps(around.values()).items()}]
    )
    text = json.dumps([__version__, plan.recipe.hash, _code_of_method(plan), stamps, *pipeline])
    return hashlib.sha256(text.encode()).hexdigest()


def _code_of_method(plan: Plan) -> str | None:
    """Return the content of the user's file that defines the method; None for a registered method."""
    method = plan.recipe.merge_method
    if not is_in_file(method):
        return None
    file = Path(whole_reference(method, plan.sources.folder or Path.cwd()).rpartition(":")[0])
    return file.read_text(encoding="utf-8") if file.is_file() else None


class _ShardSink:
    """Write results into a shard; each thread reuses one buffer. See ``Sink``."""

    def __init__(self, writer: CheckpointWriter, watch: Watch | None) -> None:
        self._writer = writer
        self._watch = watch
        self._memory = local()

    def place(self, job: TensorJob, span: Span) -> AnyTensor:
        """Return the thread's buffer."""
        n = span[1] - span[0]
        dtype, vector = getattr(self._memory, "last", (None, None))
        if vector is None or dtype != job.dtype or vector.numel() < n:
            vector = empty_vector(n, job.dtype)
            self._memory.last = job.dtype, vector
        return vector[:n]

    def take(self, job: TensorJob, span: Span, numbers: AnyTensor) -> None:
        """Write the numbers of a span."""
        self._writer.write(job.name, span[0], numbers)
        if self._watch is not None:
            self._watch.wrote(numbers.numel() * numbers.element_size())

    def broken(self, job: TensorJob) -> None:
        """Report a tensor with NaN or infinity."""
        if self._watch is not None:
            self._watch.broken(job.name)


def check_no_source(plan: Plan, out: Path) -> None:
    """Check that a folder is not a source, nor inside of one, nor around one.

    Raises:
        KingyoError: it is.
    """
    target = out.resolve()
    for model in on_disk(plan.sources.values()):
        place = model.path.resolve()
        if target.is_relative_to(place) or place.is_relative_to(target):
            raise KingyoError(
                str(out),
                expected="a folder that is no source, and neither in one nor around one",
                received=f"one that shares files with {model.reference}",
                remedy="Choose another folder: a merge never writes to its sources.",
            )
