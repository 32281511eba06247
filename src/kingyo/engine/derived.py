"""The result of a merge as a checkpoint that lies on no disk; and the files that checkpoints come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kingyo.checkpoints import Checkpoint
from kingyo.checkpoints.adapter import Adapter
from kingyo.checkpoints.checkpoint import Needs
from kingyo.errors import KingyoError, suggest
from kingyo.io.lazy_torch import Tensor

if TYPE_CHECKING:
    from kingyo.engine.plan import TensorJob


@dataclass(frozen=True, kw_only=True)
class PlannedCheckpoint(Checkpoint):
    """A checkpoint that is not there yet: the result of another merge, computed tensor by tensor when read.

    Each tensor is rounded to the dtype that it would be stored in, so that what is made of it has the bits of
    two merges, one after the other.

    Attributes:
        jobs: of that merge, by tensor.
        sources: what they read, by the references that they use.
        make: computes one of its tensors.
    """

    jobs: Mapping[str, TensorJob] = field(repr=False)
    sources: Mapping[str, Checkpoint] = field(repr=False)
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

    def needs(self, name: str) -> Needs:
        """Return all that the merge of a tensor reads, each once."""
        each_once = dict.fromkeys((each.reference, each.tensor) for each in self.jobs[name].reads)
        others = tuple((self.sources[reference], tensor) for reference, tensor in each_once)
        return Needs(others=others)


def stamp(checkpoint: Checkpoint) -> object:
    """Return what its weights depend on, as plain data: sizes and times of files, and their use."""
    return _stamp(checkpoint, {})


def _stamp(checkpoint: Checkpoint, known: dict[int, object]) -> object:
    """Return a digest for one that lies on no disk: it may be many times below another."""
    if id(checkpoint) not in known:
        below = [_stamp(each, known) for each in checkpoint.made_of]
        files = {file for each in checkpoint.on_disk() for file in each.files}
        if not below:
            known[id(checkpoint)] = _stamps({*files, checkpoint.path / "tokenizer.json"})
        elif files:
            known[id(checkpoint)] = [*below, _stamps(files)]
        else:
            text = json.dumps([checkpoint.made_by, below])
            known[id(checkpoint)] = hashlib.sha256(text.encode()).hexdigest()
    return known[id(checkpoint)]


def leaves(checkpoints: Iterable[Checkpoint]) -> Iterator[Checkpoint | Adapter]:
    """Yield the models and adapters on disk that some are made of, each once."""
    seen: set[int] = set()
    left = list(checkpoints)[::-1]
    while left:
        each = left.pop()
        if id(each) not in seen:
            seen.add(id(each))
            left += each.made_of[::-1]
            yield from each.on_disk()


def _stamps(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    found = [(file, file.stat()) for file in sorted(files) if file.exists()]
    return [(str(file), stat.st_size, stat.st_mtime_ns) for file, stat in found]
