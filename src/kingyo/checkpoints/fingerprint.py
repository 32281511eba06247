"""Hash the files of checkpoints, to notice changes, and check on the way that weights are finite."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.header import WIDTHS, TensorInfo
from kingyo.checkpoints.mapped_tensors import FileStamp, file_stamps
from kingyo.errors import KingyoError
from kingyo.io.lazy_torch import torch

_BLOCK = 1 << 24  # bytes


def fingerprints_of(checkpoints: Iterable[Checkpoint], *, check_finite: bool = False) -> dict[str, str]:
    """Hash weights, config, tokenizer and adapter of checkpoints, but no paths, model cards or licences.

    A file that several checkpoints share is read once.

    Returns:
        Fingerprints by reference.

    Raises:
        KingyoError: a file cannot be read, or, with ``check_finite``, a tensor holds NaN or infinity.
    """
    digests: dict[Path, str] = {}
    fingerprints: dict[str, str] = {}
    for checkpoint in checkpoints:
        files = checkpoint.deciding_files()
        weights: dict[Path, list[TensorInfo]] = defaultdict(list)
        for info in checkpoint.stored_tensors() if check_finite else ():
            weights[info.file].append(info)
        total = hashlib.sha256()
        for name in sorted(files):
            place = files[name].resolve()
            if place not in digests:
                digests[place] = _digest(checkpoint.reference, files[name], weights[files[name]])
            total.update(f"{name} {digests[place]}\n".encode())
        fingerprints[checkpoint.reference] = total.hexdigest()
    return fingerprints


def _digest(reference: str, file: Path, tensors: Sequence[TensorInfo]) -> str:
    digest = hashlib.sha256()
    try:
        for block, info in read_blocks(file, tensors):
            digest.update(block)
            if info is not None and info.is_floating and not _is_finite(block, info.dtype):
                remedy = "Remove this model, or fetch it again: it is broken."
                raise KingyoError(f"{reference}: {info.name}", "finite weights", "NaN or infinity", remedy)
    except OSError as error:
        raise KingyoError(
            reference, "readable files", str(error), "Make the file readable, or fetch the model again."
        ) from error
    return digest.hexdigest()


def read_blocks(file: Path, tensors: Sequence[TensorInfo]) -> Iterator[tuple[bytearray, TensorInfo | None]]:
    """Yield a file in blocks, each with the tensor that it belongs to, if any."""
    end = 0
    with file.open("rb") as stream:
        for info in sorted(tensors, key=lambda info: info.start):
            yield from ((block, None) for block in _blocks(stream, info.start - end))
            start, end = max(end, info.start), max(end, info.start + info.n_bytes)  # in pickles some overlap
            yield from ((block, info) for block in _blocks(stream, end - start))
        yield from ((block, None) for block in _blocks(stream, file.stat().st_size - end))


def _blocks(stream: BinaryIO, n_bytes: int) -> Iterator[bytearray]:
    while n_bytes > 0:
        block = bytearray(stream.read(min(n_bytes, _BLOCK)))
        if not block:
            return
        yield block
        n_bytes -= len(block)


def _is_finite(block: bytearray, dtype: str) -> bool:
    n = len(block) // WIDTHS[dtype]
    if n == 0:
        return True
    numbers = torch.frombuffer(block, dtype=getattr(torch, dtype), count=n)
    numbers = numbers.float() if numbers.element_size() == 1 else numbers  # torch has no isfinite for 8 bits
    return bool(torch.isfinite(numbers).all())


def stamps_of(checkpoint: Checkpoint) -> dict[str, FileStamp]:
    """Return the stamps of the files that ``fingerprints_of`` hashes, by name."""
    files = checkpoint.deciding_files()
    stamps = file_stamps(files.values())
    return {name: stamps[file] for name, file in sorted(files.items()) if file in stamps}


def is_as_stamped(checkpoint: Checkpoint, stamps: object) -> bool:
    """Return whether the files still have the stamps from ``stamps_of``, directly or read from JSON."""
    if not isinstance(stamps, dict):
        return False
    before = cast("dict[str, Sequence[int]]", stamps)
    return {name: tuple(stamp) for name, stamp in before.items()} == stamps_of(checkpoint)


def deciding_files(checkpoint: Checkpoint) -> frozenset[tuple[str, Path]]:
    """Return names and resolved paths of the files that ``fingerprints_of`` hashes, without reading them.

    Two checkpoints with the same files are one model, even under different names or links.
    """
    return frozenset((name, file.resolve()) for name, file in checkpoint.deciding_files().items())
