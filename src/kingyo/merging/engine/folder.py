"""Write a merge as a checkpoint on disk, shard by shard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint
from kingyo.merging.checkpoints.single_file_layout import single_file_name, single_file_parts
from kingyo.merging.checkpoints.writer import CODE, CheckpointWriter, OutTensor
from kingyo.merging.engine.execute import MergeOptions, execute
from kingyo.merging.engine.jobs import TensorJob
from kingyo.merging.engine.plan import Plan
from kingyo.merging.engine.sources import on_disk
from kingyo.merging.kernels.raw_tensor import AnyTensor
from kingyo.merging.vocabulary import TOKENIZER_FILES


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
    """Write a merge as a checkpoint, completely or not at all.

    Each thread needs memory for a part of a tensor, whatever the size of the models. Some methods need more:
    see docs/architecture.md.

    Args:
        plan: the plan.
        out: a new or empty folder.
        files: further files for it, by name.
        options: options of the merge; ``seed``, ``component`` and ``pipeline`` are in the other arguments.
        around: files of the diffusers pipeline that the output is a component of, by their names in it; they
            are copied, and the checkpoint goes into a subfolder. None: the component is written alone.
        watch: receives progress.

    Returns:
        ``out``.

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
