"""Find the files that checkpoints are read from, also those of merges, LoRAs and fitted models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from kingyo.checkpoints import Checkpoint
from kingyo.checkpoints.adapter import Adapter


def on_disk(checkpoints: Iterable[Checkpoint]) -> Iterator[Checkpoint | Adapter]:
    """Yield the models and adapters on disk that checkpoints are made of, each once."""
    seen: set[int] = set()
    left = list(checkpoints)[::-1]
    while left:
        each = left.pop()
        if id(each) not in seen:
            seen.add(id(each))
            left += each.made_of[::-1]
            yield from each.on_disk()


def stamp(checkpoint: Checkpoint) -> object:
    """Return what the weights of a checkpoint depend on, as plain data: sizes and times of files."""
    return _stamp(checkpoint, {})


def _stamp(checkpoint: Checkpoint, known: dict[int, object]) -> object:
    """Return a stamp; a digest for a virtual checkpoint, since many others may be made of it."""
    if id(checkpoint) not in known:
        below = [_stamp(each, known) for each in checkpoint.made_of]
        files = {file for each in checkpoint.on_disk() for file in each.files}
        if not below:
            known[id(checkpoint)] = _file_stamps({*files, checkpoint.path / "tokenizer.json"})
        elif files:
            known[id(checkpoint)] = [*below, _file_stamps(files)]
        else:
            text = json.dumps([checkpoint.made_by, below])
            known[id(checkpoint)] = hashlib.sha256(text.encode()).hexdigest()
    return known[id(checkpoint)]


def _file_stamps(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Return path, size and time of the files that exist."""
    stats = [(file, file.stat()) for file in sorted(files) if file.exists()]
    return [(str(file), stat.st_size, stat.st_mtime_ns) for file, stat in stats]
