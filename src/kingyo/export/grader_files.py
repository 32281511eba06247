"""Models and pictures that graders use, for an exported task."""

from __future__ import annotations

from pathlib import Path

from kingyo.checkpoints.model_reference import path_from
from kingyo.io.model_names import absolute_name
from kingyo.user_code.versions import deciding_files

FOLDER = "graders"
MOST_COPIED = 10_000_000  # bytes of a file or folder


class GraderFiles:
    """Places of what graders use: small files and folders are copied, larger ones stay where they are.

    Args:
        folder: base of relative paths in the run.yaml.
        out: folder of the export.
    """

    def __init__(self, folder: Path, out: Path) -> None:
        self.files: dict[str, bytes] = {}
        self._folder = folder
        self._out = out
        self._places: dict[Path, str] = {}

    def place(self, path: str) -> str:
        """Return a path as the exported task writes it: relative to ``out`` if possible."""
        source = Path(absolute_name(path, self._folder))
        if source not in self._places:
            is_small = sum(each.stat().st_size for each in deciding_files(source)) <= MOST_COPIED
            self._places[source] = self._copied(source) if is_small else self._elsewhere(path, source)
        return self._places[source]

    def _copied(self, source: Path) -> str:
        """Copy a file or folder under a free name."""
        used, number = set(self._places.values()), 1
        while (name := f"{FOLDER}/{'' if number == 1 else f'{number}-'}{source.name}") in used:
            number += 1
        for file in deciding_files(source):
            inner = "" if file == source else f"/{file.relative_to(source).as_posix()}"
            self.files[f"{name}{inner}"] = file.read_bytes()
        return name

    def _elsewhere(self, path: str, source: Path) -> str:
        place = path_from(self._out, path, self._folder)
        return str(source) if place == path else place
