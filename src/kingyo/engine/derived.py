"""Checkpoints that lie on no disk, and what they, and others, are made of in the end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kingyo.checkpoints import Checkpoint
from kingyo.checkpoints.adapter import Adapter
from kingyo.errors import KingyoError, suggest
from kingyo.late import Tensor

if TYPE_CHECKING:
    from kingyo.engine.plan import Plan


@dataclass(frozen=True, kw_only=True)
class DerivedCheckpoint(Checkpoint):
    """A checkpoint that lies on no disk: its tensors are computed from others as they are read.

    Attributes:
        made_of: the others.
        made_by: what tells it from all else that could be made of them.
    """

    made_of: tuple[Checkpoint, ...] = field(repr=False)
    made_by: str = ""

    def parts(self) -> tuple[Checkpoint, ...]:
        """The others."""
        return self.made_of


@dataclass(frozen=True, kw_only=True)
class PlannedCheckpoint(DerivedCheckpoint):
    """A checkpoint that is not there yet: the result of another merge, computed tensor by tensor when read.

    Each tensor is rounded to the dtype that it would be stored in, so that what is made of it has the bits of
    two merges, one after the other.

    Attributes:
        plan: of that merge.
        make: computes one of its tensors.
    """

    plan: Plan = field(repr=False)
    make: Callable[[str], Tensor] = field(repr=False)

    def read(self, name: str) -> Tensor:
        """Compute a tensor.

        Raises:
            KingyoError: it has no such tensor, or see ``compute``.
        """
        if name not in self.tensors:
            remedy = suggest(name, self.tensors)
            raise KingyoError(self.reference, expected="one of its tensors", received=name, remedy=remedy)
        return self.make(name)


def stamp(checkpoint: Checkpoint) -> object:
    """What its weights depend on, as plain data: sizes and times of files, and how they are put together."""
    return _stamp(checkpoint, {})


def _stamp(checkpoint: Checkpoint, known: dict[int, object]) -> object:
    """What one is derived from may be many times below it: a digest stands for it each time."""
    if id(checkpoint) not in known:
        below = [_stamp(each, known) for each in checkpoint.parts()]
        if checkpoint.adapter is not None:
            known[id(checkpoint)] = [*below, _stamps(checkpoint.adapter.files)]
        elif below:
            made_by = checkpoint.made_by if isinstance(checkpoint, DerivedCheckpoint) else ""
            text = json.dumps([made_by, below])
            known[id(checkpoint)] = hashlib.sha256(text.encode()).hexdigest()
        else:
            known[id(checkpoint)] = _stamps({*checkpoint.files, checkpoint.path / "tokenizer.json"})
    return known[id(checkpoint)]


def leaves(checkpoints: Iterable[Checkpoint]) -> Iterator[Checkpoint | Adapter]:
    """The models and adapters on disk that some are made of, each once."""
    seen: set[int] = set()
    left = list(checkpoints)[::-1]
    while left:
        each = left.pop()
        if id(each) not in seen:
            seen.add(id(each))
            parts = each.parts()
            left += parts[::-1]
            if each.adapter is not None:
                yield each.adapter
            if not parts:
                yield each


def _stamps(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    found = [(file, file.stat()) for file in sorted(files) if file.exists()]
    return [(str(file), stat.st_size, stat.st_mtime_ns) for file, stat in found]
