"""What a checkpoint is, byte for byte: whether a folder still holds the model that it held before.

It reads files and hashes them; it knows nothing of what they mean.
"""

from __future__ import annotations

import hashlib

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.checkpoints.writer import SPEAKING
from kingyo.errors import KingyoError

DECIDING = ("config.json", *SPEAKING)
"""The files beside the weights that decide what a model says."""


def fingerprint(checkpoint: Checkpoint) -> str:
    """Hash weights, config and tokenizer. The path counts for nothing, nor do cards and licences.

    Raises:
        KingyoError: a file cannot be read.
    """
    files = {info.file for info in checkpoint.tensors.values()}
    files |= {file for pattern in DECIDING for file in checkpoint.path.glob(pattern) if file.is_file()}
    whole = hashlib.sha256()
    try:
        for file in sorted(files):
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            whole.update(f"{file.relative_to(checkpoint.path)} {digest}\n".encode())
    except OSError as error:
        raise KingyoError(
            checkpoint.reference,
            expected="files that can be read",
            received=str(error),
            remedy="Make the file readable, or fetch the model again.",
        ) from error
    return whole.hexdigest()
