"""List the files in a folder that scores depend on."""

from __future__ import annotations

from pathlib import Path

from kingyo.types import DATABASE


def deciding_files(path: Path) -> list[Path]:
    """Return a file, or the files in a folder and in those below it, sorted.

    README.md, hidden files and the folders of runs do not count.
    """
    if path.is_file():
        return [path]
    files = sorted(each for each in path.rglob("*") if each.is_file() and _decides(each.relative_to(path)))
    runs = {each.parent for each in files if each.name == DATABASE} - {path}
    return [each for each in files if runs.isdisjoint(each.parents)]


def _decides(path: Path) -> bool:
    return path.name != "README.md" and not any(part.startswith(".") for part in path.parts)
