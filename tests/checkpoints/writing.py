"""Helpers that write checkpoints tensor by tensor, and writes that fail or are interrupted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kingyo.checkpoints import Checkpoint, CheckpointWriter
from kingyo.checkpoints.header import OutTensor
from kingyo.errors import KingyoError

FAILS = torch.full((1,), float("nan"))


def forms(weights: Mapping[str, Tensor]) -> list[OutTensor]:
    return [
        OutTensor(name=name, shape=tuple(each.shape), dtype=str(each.dtype).removeprefix("torch."))
        for name, each in weights.items()
    ]


def write_checkpoint(
    out: Path,
    tensors: Iterable[tuple[str, Tensor]],
    *,
    like: Checkpoint,
    max_shard_bytes: int = 10**9,
    identity: str = "",
    force: bool = False,
    **more: Any,
) -> Path:
    """Write tensors one after the other; those that are ``FAILS`` fail."""
    weights = dict(tensors)
    with CheckpointWriter(
        out, forms(weights), max_shard_bytes=max_shard_bytes, identity=identity, force=force
    ) as writer:
        for i, shard in enumerate(writer.shards):
            if not writer.is_finished(i):
                writer.begin(i)
                for name in shard.starts:
                    if weights[name] is FAILS:
                        raise KingyoError(
                            "weights", expected="finite", received="NaN", remedy="Leave it out."
                        )
                    writer.write(name, 0, weights[name].contiguous().view(-1))
                writer.finish(i)
        return writer.complete(like=like, **more)


def stored(checkpoint: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    return ((name, checkpoint.read(name)) for name in checkpoint.tensors)


def failing(checkpoint: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    """Return tensors; computing the last one fails."""
    *names, last = checkpoint.tensors
    for name in names:
        yield name, checkpoint.read(name)
    yield last, FAILS


def stop(out: Path, checkpoint: Checkpoint, *, after: int) -> None:
    """Write some shards, then interrupt."""
    weights = dict(stored(checkpoint))
    with (
        pytest.raises(KeyboardInterrupt),
        CheckpointWriter(out, forms(weights), max_shard_bytes=5_000) as writer,
    ):
        for i, shard in enumerate(writer.shards):
            writer.begin(i)
            if i == after:
                raise KeyboardInterrupt
            for name in shard.starts:
                writer.write(name, 0, weights[name].view(-1))
            writer.finish(i)


def finished(out: Path) -> dict[str, tuple[int, int]]:
    """Return the complete shards of an interrupted write, and their inodes."""
    return inodes(out.parent / f".{out.name}.partial" / "content")


def inodes(folder: Path) -> dict[str, tuple[int, int]]:
    stats = {file.name: file.stat() for file in folder.glob("*.safetensors")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}
