"""Notice files that were replaced or changed since they were opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from kingyo.errors import ChangedSourceError

FileStamp = tuple[int, int, int, int]
"""Size, mtime (ns), ctime (ns) and inode; a copy can preserve only the first two."""


def file_stamps(files: Iterable[Path]) -> dict[Path, FileStamp]:
    """Return the stamps of the files that exist."""
    return {file: stamp for file in sorted(files) if (stamp := _stamp(file)) is not None}


def check_stamps(reference: str, seen: Mapping[Path, FileStamp]) -> None:
    """Check that files have not changed.

    Raises:
        ChangedSourceError: a file has another stamp, or is gone.
    """
    for file, stamp in seen.items():
        now = _stamp(file)
        if now != stamp:
            raise ChangedSourceError(
                reference,
                expected="files that have not changed since it was opened",
                received=f"{file.name}, which {'is gone' if now is None else 'changed'}",
                remedy="Run the command again, and do not change sources during a merge.",
            )


def _stamp(file: Path) -> FileStamp | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
