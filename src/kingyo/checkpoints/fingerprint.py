"""What a checkpoint is, byte for byte: whether a folder still holds the model that it held before.

It reads files and hashes them; it knows nothing of what they mean.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.companions import SPEAKING
from kingyo.checkpoints.lora import AdaptedCheckpoint
from kingyo.errors import KingyoError

DECIDING = ("config.json", *SPEAKING)
"""The files beside the weights that decide what a model says."""


def fingerprint(checkpoint: Checkpoint) -> str:
    """Hash weights, config, tokenizer and adapter. Paths count for nothing, nor do cards and licences.

    Raises:
        KingyoError: a file cannot be read.
    """
    files = _files(checkpoint)
    whole = hashlib.sha256()
    try:
        for name in sorted(files):
            with files[name].open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            whole.update(f"{name} {digest}\n".encode())
    except OSError as error:
        raise KingyoError(
            checkpoint.reference,
            expected="files that can be read",
            received=str(error),
            remedy="Make the file readable, or fetch the model again.",
        ) from error
    return whole.hexdigest()


def deciding_files(checkpoint: Checkpoint) -> frozenset[tuple[str, Path]]:
    """Return the files that ``fingerprint`` hashes, by name and true place; nothing is read.

    Two checkpoints of the same files are one model, under whatever names and links.
    """
    return frozenset((name, file.resolve()) for name, file in _files(checkpoint).items())


def _files(checkpoint: Checkpoint) -> dict[str, Path]:
    """The files that decide what it is, by their names within it."""
    if isinstance(checkpoint, AdaptedCheckpoint):
        return _files(checkpoint.model) | {f"+{file.name}": file for file in checkpoint.adapter.files}
    files = {info.file for info in checkpoint.tensors.values()}
    files |= {file for pattern in DECIDING for file in checkpoint.path.glob(pattern) if file.is_file()}
    return {str(file.relative_to(checkpoint.path)): file for file in files}
