"""Lay out the tensors of a checkpoint in files before they are computed.

Sizes follow from shapes and dtypes, so headers are complete from the start, and any thread may write any span
of any tensor.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kingyo.checkpoints.header import DTYPES

_FORMAT_NAME = {torch_name: (name, width) for name, (torch_name, width) in DTYPES.items()}
_ALIGNMENT = 64  # bytes; safetensors requires 8, vector instructions prefer more


@dataclass(frozen=True, kw_only=True)
class OutTensor:
    """A tensor to write: name, shape and torch's name of its dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def n_bytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * _FORMAT_NAME[self.dtype][1]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file: its final name, its header, the offset of each tensor, and its size in bytes."""

    file: str
    header: bytes
    starts: Mapping[str, int]
    n_bytes: int

    @property
    def digest(self) -> str:
        """Hash of its header, which identifies its tensors."""
        return hashlib.sha256(self.header).hexdigest()


def lay_out(tensors: Sequence[OutTensor], max_shard_bytes: int, stem: str = "model") -> tuple[Shard, ...]:
    """Split tensors, in order, into shards. A tensor larger than a shard has one of its own.

    Args:
        tensors: tensors of the output.
        max_shard_bytes: largest size of a shard without its header.
        stem: prefix of the file names.
    """
    groups: list[list[OutTensor]] = []
    filled = 0
    for tensor in tensors:
        if not groups or (filled and filled + tensor.n_bytes > max_shard_bytes):
            groups.append([])
            filled = 0
        groups[-1].append(tensor)
        filled += tensor.n_bytes
    count = len(groups)
    names = (
        [f"{stem}.safetensors"]
        if count == 1
        else [f"{stem}-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    )
    return tuple(_shard(name, group) for name, group in zip(names, groups, strict=True))


def index_of(shards: Iterable[Shard]) -> dict[str, object]:
    """Return the content of an index of shards, such as ``model.safetensors.index.json``."""
    files = tuple(shards)
    total = sum(shard.n_bytes - len(shard.header) for shard in files)
    weight_map = {name: shard.file for shard in files for name in shard.starts}
    return {"metadata": {"total_size": total}, "weight_map": weight_map}


def _shard(file: str, tensors: Sequence[OutTensor]) -> Shard:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offsets: dict[str, int] = {}
    end = 0
    for tensor in tensors:
        offsets[tensor.name] = end
        entries[tensor.name] = {
            "dtype": _FORMAT_NAME[tensor.dtype][0],
            "shape": list(tensor.shape),
            "data_offsets": [end, end + tensor.n_bytes],
        }
        end += tensor.n_bytes
    text = json.dumps(entries, separators=(",", ":")).encode()
    text = text.ljust(len(text) + -(len(text) + 8) % _ALIGNMENT)
    header = len(text).to_bytes(8, "little") + text
    starts = {name: len(header) + offset for name, offset in offsets.items()}
    return Shard(file=file, header=header, starts=starts, n_bytes=len(header) + end)
