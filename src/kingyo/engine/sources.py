"""The opened models of a recipe or a run, and what the candidates of a search share."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TypeVar, cast

from kingyo.checkpoints import Checkpoint, open_checkpoint
from kingyo.checkpoints.adapter import Adapter
from kingyo.checkpoints.mapped_tensors import check_stamps
from kingyo.engine.mapped import MappedTensors
from kingyo.engine.source_files import on_disk
from kingyo.io.lazy_torch import Tensor
from kingyo.kernels.raw_tensor import AnyTensor
from kingyo.kernels.statistics_cache import TensorStats
from kingyo.recipe import Recipe
from kingyo.vocabulary import all_references

_MAX_RESULTS = 64  # a search over slices has a new binding for each candidate

T = TypeVar("T")


class Sources(Mapping[str, Checkpoint]):
    """Opened checkpoints by reference.

    One thread plans and merges candidates, one after the other; several may call ``read`` and ``read_raw``.

    Args:
        checkpoints: the checkpoints by the references that recipes use.
        folder: base of relative paths of users' methods (``path/to/file.py:Name``); None: the working
            directory.
        facts: cache of measures of tensors; None keeps it in memory only.
        find: opens a model that is not in ``checkpoints`` when a recipe first names it, or raises KeyError.
    """

    def __init__(
        self,
        checkpoints: Mapping[str, Checkpoint],
        folder: Path | None = None,
        facts: TensorStats | None = None,
        find: Callable[[str], Checkpoint] | None = None,
    ) -> None:
        self._checkpoints = dict(checkpoints)
        self._find = find
        self.folder = folder
        self.facts = TensorStats() if facts is None else facts
        self._results: OrderedDict[Hashable, object] = OrderedDict()
        self._on_disk: tuple[Checkpoint | Adapter, ...] | None = None

    def __getitem__(self, reference: str) -> Checkpoint:
        if self._find is not None and reference not in self._checkpoints:
            self._checkpoints[reference] = self._find(reference)
            self._on_disk = None
        return self._checkpoints[reference]

    def __iter__(self) -> Iterator[str]:
        return iter(self._checkpoints)

    def __len__(self) -> int:
        return len(self._checkpoints)

    @cached_property
    def mapped(self) -> MappedTensors:
        """Their tensors, for candidates that are merged into a live model."""
        return MappedTensors(self._checkpoints)

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """Return the result of a function, from a cache of recent results if possible.

        Args:
            key: identifies the function and all its inputs other than the models.
            compute: the function.
        """
        if key not in self._results:
            self._results[key] = compute()
            if len(self._results) > _MAX_RESULTS:
                self._results.popitem(last=False)
        self._results.move_to_end(key)
        return cast("T", self._results[key])

    def as_seen(self, checkpoints: Mapping[str, Checkpoint], key: object) -> Sources:
        """Return fitted or aligned models, with a separate section of the facts.

        Args:
            checkpoints: the models as one merge reads them.
            key: identifies this view of the models; its ``repr`` is the same in every process.
        """
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
        return Sources(checkpoints, self.folder, self.facts.within(digest))

    def read(self, reference: str, tensor: str) -> Tensor:
        """Return a tensor as stored; never write to it."""
        return self._checkpoints[reference].read(tensor)

    def read_raw(self, reference: str, tensor: str) -> AnyTensor:
        """Return a tensor for compiled loops; see ``Checkpoint.read_raw``."""
        return self._checkpoints[reference].read_raw(tensor)

    def check_unchanged(self) -> None:
        """Check that no file of a model has changed since it was opened.

        Raises:
            ChangedSourceError: a file has changed.
        """
        if self._on_disk is None:
            self._on_disk = tuple(on_disk(self._checkpoints.values()))
        for each in self._on_disk:
            check_stamps(each.reference, each.seen)


def open_sources(recipe: Recipe, folder: Path | None = None) -> Sources:
    """Open all models of a recipe.

    Args:
        recipe: the recipe.
        folder: base of relative paths; None: the working directory.
    """
    opened = {reference: open_checkpoint(reference, folder) for reference in all_references(recipe)}
    return Sources(opened, folder)
