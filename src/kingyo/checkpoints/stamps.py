"""What tells that a file was replaced or written since it was opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from kingyo.errors import ChangedSourceError

FileStamp = tuple[int, int, int, int]
"""Size, time of its content, time of its inode, and which inode: a copy may keep all but the last two."""


def file_stamps(files: Iterable[Path]) -> dict[Path, FileStamp]:
    """The stamps of files that are there."""
    return {file: stamp for file in sorted(files) if (stamp := _stamp(file)) is not None}


def check_stamps(reference: str, seen: Mapping[Path, FileStamp]) -> None:
    """Refuse files that are not what they were.

    Raises:
        ChangedSourceError: one has another stamp, or is gone.
    """
    for file, stamp in seen.items():
        found = _stamp(file)
        if found != stamp:
            raise ChangedSourceError(
                reference,
                expected="the files that it had when it was opened",
                received=f"{file.name}, which {'is gone' if found is None else 'changed'}",
                remedy="Leave the sources alone while they are merged, then run the command again.",
            )


def _stamp(file: Path) -> FileStamp | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
