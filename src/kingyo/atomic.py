"""Files that are written whole or not at all: a temporary file beside the target, fsync, rename."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_bytes(target: Path, content: bytes) -> None:
    """Write a file; whoever reads it sees the old one or the whole new one.

    Raises:
        OSError: its folder cannot be written.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.chmod(0o644)
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(target: Path, content: str) -> None:
    """Write a text file in UTF-8; see ``write_bytes``."""
    write_bytes(target, content.encode("utf-8"))
