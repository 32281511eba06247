"""What a checkpoint is, byte for byte: whether a folder still holds the model that it held before.

It reads files, hashes them, and on the way checks that weights are finite.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.header import WIDTHS, TensorInfo
from kingyo.checkpoints.stamps import FileStamp, file_stamps
from kingyo.errors import KingyoError
from kingyo.late import torch

_AT_ONCE = 1 << 24


def fingerprint(checkpoint: Checkpoint) -> str:
    """Hash weights, config, tokenizer and adapter. Paths count for nothing, nor do cards and licences.

    Raises:
        KingyoError: a file cannot be read.
    """
    return fingerprints_of([checkpoint])[checkpoint.reference]


def fingerprints_of(checkpoints: Iterable[Checkpoint], *, check_finite: bool = False) -> dict[str, str]:
    """Return the fingerprint of each checkpoint, by its reference; each file is read once.

    Args:
        checkpoints: some may have files in common.
        check_finite: whether weights are checked while they are read.

    Raises:
        KingyoError: a file cannot be read, or a weight is NaN or infinite; its tensor is named.
    """
    digests: dict[Path, str] = {}
    found: dict[str, str] = {}
    for checkpoint in checkpoints:
        files = checkpoint.deciding_files()
        weights: dict[Path, list[TensorInfo]] = defaultdict(list)
        for info in checkpoint.stored_tensors() if check_finite else ():
            weights[info.file].append(info)
        whole = hashlib.sha256()
        for name in sorted(files):
            place = files[name].resolve()
            if place not in digests:
                digests[place] = _digest(checkpoint.reference, files[name], weights[files[name]])
            whole.update(f"{name} {digests[place]}\n".encode())
        found[checkpoint.reference] = whole.hexdigest()
    return found


def _digest(reference: str, file: Path, tensors: Sequence[TensorInfo]) -> str:
    """Hash a file, and check the tensors of it that are given."""
    digest = hashlib.sha256()
    try:
        for block, info in read_blocks(file, tensors):
            digest.update(block)
            if info is not None and info.is_floating and not _is_finite(block, info.dtype):
                raise KingyoError(
                    f"{reference}: {info.name}",
                    expected="finite weights",
                    received="NaN or infinity",
                    remedy="This model is broken: leave it out, or fetch it again.",
                )
    except OSError as error:
        raise KingyoError(
            reference,
            expected="files that can be read",
            received=str(error),
            remedy="Make the file readable, or fetch the model again.",
        ) from error
    return digest.hexdigest()


def read_blocks(file: Path, tensors: Sequence[TensorInfo]) -> Iterator[tuple[bytearray, TensorInfo | None]]:
    """Read a file from its first byte to its last, and tell which tensor each block is of, if any."""
    end = 0
    with file.open("rb") as stream:
        for info in sorted(tensors, key=lambda info: info.start):
            yield from ((block, None) for block in _blocks(stream, info.start - end))
            start, end = max(end, info.start), max(end, info.start + info.n_bytes)  # of a pickle some overlap
            yield from ((block, info) for block in _blocks(stream, end - start))
        yield from ((block, None) for block in _blocks(stream, file.stat().st_size - end))


def _blocks(stream: BinaryIO, n_bytes: int) -> Iterator[bytearray]:
    """Yield the next ``n_bytes`` in blocks. Elements are not split between blocks."""
    while n_bytes > 0:
        block = bytearray(stream.read(min(n_bytes, _AT_ONCE)))
        if not block:
            return
        yield block
        n_bytes -= len(block)


def _is_finite(block: bytearray, dtype: str) -> bool:
    n = len(block) // WIDTHS[dtype]
    return n == 0 or bool(torch.isfinite(torch.frombuffer(block, dtype=getattr(torch, dtype), count=n)).all())


def stamps_of(checkpoint: Checkpoint) -> dict[str, FileStamp]:
    """Return the stamps of the files that ``fingerprint`` hashes, by their names within the checkpoint."""
    files = checkpoint.deciding_files()
    stamps = file_stamps(files.values())
    return {name: stamps[file] for name, file in sorted(files.items()) if file in stamps}


def is_as_stamped(checkpoint: Checkpoint, stamps: object) -> bool:
    """Return whether the files still have the stamps that ``stamps_of`` gave, stored as JSON or not."""
    if not isinstance(stamps, dict):
        return False
    before = cast("dict[str, Sequence[int]]", stamps)
    return {name: tuple(stamp) for name, stamp in before.items()} == stamps_of(checkpoint)


def deciding_files(checkpoint: Checkpoint) -> frozenset[tuple[str, Path]]:
    """Return the files that ``fingerprint`` hashes, by name and true place; nothing is read.

    Two checkpoints of the same files are one model, under whatever names and links.
    """
    return frozenset((name, file.resolve()) for name, file in checkpoint.deciding_files().items())
