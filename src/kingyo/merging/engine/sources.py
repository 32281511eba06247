"""The opened models of a recipe or a run, what the candidates of a search share, and the files below them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TypeVar, cast

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint
from kingyo.merging.checkpoints.adapter import Adapter
from kingyo.merging.checkpoints.header import MappedFiles, check_stamps
from kingyo.merging.checkpoints.locate import open_together
from kingyo.merging.kernels.raw_tensor import AnyTensor
from kingyo.merging.kernels.statistics_cache import TensorStats
from kingyo.merging.recipe import Recipe
from kingyo.merging.vocabulary import all_references

_MAX_RESULTS = 64  # a search over slices has a new binding for each candidate
_KEPT = 1 << 28  # bytes of computed tensors to keep, such as those of a small model with a LoRA
_FREE = 0.2  # share of another device's memory to leave free for the model's own use

T = TypeVar("T")


class Sources(Mapping[str, Checkpoint]):
    """Opened checkpoints by reference.

    One thread plans and merges candidates, one after the other; several may call ``read`` and ``read_raw``.

    Args:
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

        The key identifies the function and all its inputs other than the models.
        """
        if key not in self._results:
            self._results[key] = compute()
            if len(self._results) > _MAX_RESULTS:
                self._results.popitem(last=False)
        self._results.move_to_end(key)
        return cast("T", self._results[key])

    def as_seen(self, checkpoints: Mapping[str, Checkpoint], key: object) -> Sources:
        """Return fitted or aligned models, with a separate section of the facts.

        The key identifies this view of the models; its ``repr`` is the same in every process.
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
        """Check that no file of a model has changed since it was opened."""
        if self._on_disk is None:
            self._on_disk = tuple(on_disk(self._checkpoints.values()))
        for each in self._on_disk:
            check_stamps(each.reference, each.seen)


def open_sources(recipe: Recipe, folder: Path | None = None) -> Sources:
    """Open all models of a recipe, whose relative paths begin at a folder or the working directory."""
    opened = open_together(all_references(recipe), folder, templates=(recipe.template,))
    return Sources(opened, folder)


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


class MappedTensors:
    """Tensors that stay mapped from their files, the first computed ones, and copies on other devices.

    Mapping a tensor again takes longer than merging it. ``Sources.check_unchanged`` notices changed files.
    """

    def __init__(self, models: Mapping[str, Checkpoint]) -> None:
        self._models = models
        self._files = MappedFiles()
        self._tensors: dict[tuple[str, str], Tensor] = {}
        self._ids: set[int] = set()
        self._computed = 0  # bytes
        self._copies: dict[tuple[torch.device, int], Tensor] = {}

    def is_mapped(self, reference: str) -> bool:
        """Return whether large tensors of a model are mapped from files; others are computed when read."""
        return not self._models[reference].made_of

    def read(self, reference: str, tensor: str) -> Tensor:
        stored = self._tensors.get((reference, tensor))
        if stored is None:
            model = self._models[reference]
            if self.is_mapped(reference):
                stored = model.read_from(tensor, self._files)
            else:
                stored = model.read(tensor)
                if self._computed + stored.nbytes > _KEPT:
                    return stored
                self._computed += stored.nbytes
            self._tensors[reference, tensor] = stored
            self._ids.add(id(stored))
        return stored

    def holds(self, tensor: AnyTensor) -> bool:
        """Return whether a tensor is one that ``read`` returns every time."""
        return id(tensor) in self._ids

    def copy_on(self, device: torch.device, tensor: Tensor) -> Tensor:
        """Return a copy on another device; copies of mapped tensors are kept while there is memory."""
        key = device, id(tensor)
        if key in self._copies:
            return self._copies[key]
        try:
            copy = tensor.to(device)
        except torch.OutOfMemoryError as error:
            expected = f"memory for {tensor.nbytes / 1e6:.0f} MB of a source beside the live model"
            remedy = "Merge on the CPU (device: cpu), or free some of the device's memory."
            raise KingyoError(str(device), expected, "not enough free memory", remedy) from error
        if self.holds(tensor) and _has_memory(device):
            self._copies[key] = copy
        return copy


def _has_memory(device: torch.device) -> bool:
    if device.type != "cuda":  # it does not report its memory
        return True
    free, total = torch.cuda.mem_get_info(device)
    return free > _FREE * total
