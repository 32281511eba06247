"""What a checkpoint is, byte for byte: whether a folder still holds the model that it held before.

It reads files and hashes them; it knows nothing of what they mean.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.errors import KingyoError


def fingerprint(checkpoint: Checkpoint) -> str:
    """Hash weights, config, tokenizer and adapter. Paths count for nothing, nor do cards and licences.

    Raises:
        KingyoError: a file cannot be read.
    """
    files = checkpoint.deciding_files()
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
    return frozenset((name, file.resolve()) for name, file in checkpoint.deciding_files().items())
