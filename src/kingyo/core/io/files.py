"""Write files atomically: to a temporary file beside the target, then fsync and rename."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from kingyo.errors import KingyoError

MAX_NAME_BYTES = 230
"""Longest file name in bytes. Temporary names add a few, and file systems allow 255."""


def require_short_name(path: Path) -> None:
    n = len(os.fsencode(path.name))
    if n > MAX_NAME_BYTES:
        expected = f"a name of at most {MAX_NAME_BYTES} bytes"
        raise KingyoError(f"{path.name[:40]}…", expected, f"one of {n}", "Choose a shorter name.")


def write_bytes(target: Path, content: bytes) -> None:
    """Write a file atomically: readers see either the old content or the new."""
    write_together({target: content})


def put_in_place(partial: Path, target: Path) -> None:
    """Rename a finished file to its final name. Its content is on disk before, the new name after."""
    sync(partial)
    partial.replace(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Flush a file, or the listing of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write several files and create their folders. All are on disk before the first is renamed.

    After an OSError no new file remains, unless a rename failed.
    """
    partials: dict[Path, Path] = {}
    try:
        for target, content in contents.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
            partials[target] = Path(name)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            partials[target].chmod(0o644)
        for target, partial in partials.items():
            partial.replace(target)
    except BaseException:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
        raise


def write_text(target: Path, content: str) -> None:
    write_bytes(target, content.encode("utf-8"))
