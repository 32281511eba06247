"""Helpers that write checkpoints tensor by tensor, and writes that fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, CheckpointWriter
from kingyo.merging.checkpoints.writer import OutTensor

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
    force: bool = False,
    stem: str = "model",
    **more: Any,
) -> Path:
    """Write tensors one after the other; those that are ``FAILS`` fail."""
    weights = dict(tensors)
    with CheckpointWriter(
        out, forms(weights), max_shard_bytes=max_shard_bytes, force=force, stem=stem
    ) as writer:
        for i, shard in enumerate(writer.shards):
            writer.begin(i)
            for name in shard.starts:
                if weights[name] is FAILS:
                    raise KingyoError("weights", expected="finite", received="NaN", remedy="Leave it out.")
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
