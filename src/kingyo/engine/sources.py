"""The opened models of a recipe, by the references that it uses."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

from kingyo.checkpoints import Checkpoint, open_checkpoint
from kingyo.checkpoints.adapter import Adapter
from kingyo.checkpoints.file_stamps import check_stamps
from kingyo.checkpoints.mapped_tensors import MappedFiles
from kingyo.checkpoints.model_reference import path_from, whole_model
from kingyo.engine.derived import leaves
from kingyo.errors import KingyoError
from kingyo.io.lazy_torch import Tensor, torch
from kingyo.kernels.raw_tensor import AnyTensor
from kingyo.kernels.statistics_cache import TensorStats
from kingyo.recipe import Recipe, RecipeBook, renamed
from kingyo.registry import is_in_file, whole_reference
from kingyo.vocabulary import TokenizerChoice, parse_tokenizer

_MOST_MADE = 64  # a search over slices has another outline for each candidate
_KEPT_FREE = 0.2  # of another device's memory: models compute there too

T = TypeVar("T")


class Sources(Mapping[str, Checkpoint]):
    """Opened checkpoints by reference, and what candidates of one search share: weights and measures of them.

    One thread plans and merges candidates, one after the other; several may ``read`` and ``read_raw``.

    Args:
        checkpoints: by the references that recipes use.
        folder: where a recipe's ``path/to/file.py:Name`` begins; the working directory when None.
        facts: measures of their tensors, kept for the next candidate; in memory alone when None.
        find: opens a model that is none of ``checkpoints`` when a recipe first names it, or raises KeyError.
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
        self._made: OrderedDict[Hashable, object] = OrderedDict()
        self._mapped: dict[tuple[str, str], Tensor] = {}
        self._files = MappedFiles()
        self._lasting: set[int] = set()
        self._copies: dict[tuple[torch.device, int], Tensor] = {}
        self._leaves: tuple[Checkpoint | Adapter, ...] | None = None

    def __getitem__(self, reference: str) -> Checkpoint:
        if self._find is not None and reference not in self._checkpoints:
            self._checkpoints[reference] = self._find(reference)
            self._leaves = None
        return self._checkpoints[reference]

    def __iter__(self) -> Iterator[str]:
        return iter(self._checkpoints)

    def __len__(self) -> int:
        return len(self._checkpoints)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What follows from the models and a key, made once; what was not asked for long is forgotten.

        Args:
            key: what is made, and what it depends on beside the models.
            make: makes it, or raises.
        """
        if key not in self._made:
            self._made[key] = make()
            if len(self._made) > _MOST_MADE:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return cast("T", self._made[key])

    def as_seen(self, checkpoints: Mapping[str, Checkpoint], by: str) -> Sources:
        """The same models as one merge sees them, with facts of their own in the same room.

        Args:
            checkpoints: fitted or aligned.
            by: what tells this view from all others.
        """
        digest = hashlib.sha256(by.encode()).hexdigest()[:16]
        return Sources(checkpoints, self.folder, self.facts.within(digest))

    def read(self, reference: str, tensor: str) -> Tensor:
        """Return a tensor as stored; never write to it."""
        return self._checkpoints[reference].read(tensor)

    def read_raw(self, reference: str, tensor: str) -> AnyTensor:
        """Return a tensor for compiled loops; see ``Checkpoint.read_raw``."""
        return self._checkpoints[reference].read_raw(tensor)

    def is_mapped(self, reference: str) -> bool:
        """Whether a model's large tensors are mapped from files; others are computed as they are read."""
        return not self._checkpoints[reference].made_of

    def read_again(self, reference: str, tensor: str) -> Tensor:
        """``read``, for candidate after candidate: a tensor that is mapped from its file stays so.

        To map it anew costs more than to merge it. See ``check_unchanged``.
        """
        found = self._mapped.get((reference, tensor))
        if found is None:
            checkpoint = self._checkpoints[reference]
            if not self.is_mapped(reference):
                return checkpoint.read(tensor)
            found = self._mapped[reference, tensor] = checkpoint.read_from(tensor, self._files)
            self._lasting.add(id(found))
        return found

    def lasts(self, tensor: AnyTensor) -> bool:
        """Whether a tensor is memory of a file, which ``read_again`` gives whenever it is asked."""
        return id(tensor) in self._lasting

    def copy_on(self, device: torch.device, tensor: Tensor) -> Tensor:
        """A tensor on another device; that of ``read_again`` is kept there, as long as there is room.

        Raises:
            KingyoError: the device has no memory for it.
        """
        key = device, id(tensor)
        if key in self._copies:
            return self._copies[key]
        try:
            copy = tensor.to(device)
        except torch.OutOfMemoryError as error:
            raise KingyoError(
                str(device),
                expected=f"room for {tensor.nbytes / 1e6:.0f} MB of a source beside the live model",
                received="a device that is full",
                remedy="Merge on the processor (device: cpu), or free some of its memory.",
            ) from error
        if self.lasts(tensor) and _has_room(device):
            self._copies[key] = copy
        return copy

    def check_unchanged(self) -> None:
        """Refuse models whose files are not what they were when they were opened.

        Raises:
            ChangedSourceError: of one they are not.
        """
        if self._leaves is None:
            self._leaves = tuple(leaves(self._checkpoints.values()))
        for each in self._leaves:
            check_stamps(each.reference, each.seen)


def _has_room(device: torch.device) -> bool:
    """Whether a device keeps memory for whatever else needs it; one that does not tell has room."""
    if device.type != "cuda":
        return True
    free, total = torch.cuda.mem_get_info(device)
    return free > _KEPT_FREE * total


def open_sources(recipe: Recipe, folder: Path | None = None) -> Sources:
    """Open all models of a recipe; relative folders begin at ``folder``."""
    opened = {reference: open_checkpoint(reference, folder) for reference in all_references(recipe)}
    return Sources(opened, folder)


def tokenizer_choice(recipe: Recipe) -> TokenizerChoice | None:
    """What a recipe says of the output's tokenizer; None when it says nothing, and the base's is kept.

    Raises:
        KingyoError: a key or a value that is not sound.
    """
    if recipe.tokenizer is not None:
        return parse_tokenizer(recipe.tokenizer)
    if recipe.tokenizer_source is not None:
        return parse_tokenizer(recipe.tokenizer_source, "tokenizer_source")
    return None


def all_references(recipe: Recipe) -> tuple[str, ...]:
    """The models that a recipe names, also those that only its tokenizer names.

    Raises:
        KingyoError: see ``tokenizer_choice``.
    """
    choice = tokenizer_choice(recipe)
    below = (each for inner in recipe.merges.values() for each in all_references(inner))
    own = (each for each in (choice.references if choice else ()) if each not in recipe.merges)
    return tuple(dict.fromkeys((*recipe.references, *own, *below)))


def rooted(recipe: Recipe, folder: Path, names: Collection[str] = (), *, out: Path | None = None) -> Recipe:
    """The recipe with whole paths of local files, so that it can be merged from anywhere on this machine.

    Args:
        recipe: as it was written.
        folder: where its relative paths begin.
        names: references that are no paths but names of other recipes.
        out: name files as a recipe in this folder does, without whole paths where it can; see ``path_from``.
    """

    def place(reference: str) -> str:
        return reference if reference in names else whole_model(reference, folder, out)

    method = recipe.merge_method
    if out is None or not is_in_file(method):
        method = whole_reference(method, folder)
    else:
        file, _, name = method.rpartition(":")
        method = f"{path_from(out, file, folder)}:{name}"
    inner = {name: rooted(each, folder, names, out=out) for name, each in recipe.merges.items()}
    return replace(replaced(recipe, place), merge_method=method, merges=inner)


def replaced(recipe: Recipe, place: Callable[[str], str]) -> Recipe:
    """The recipe with every reference of a model, its tokenizer's too, replaced by ``place(reference)``."""
    choice = tokenizer_choice(recipe)
    moved = choice.renamed(place) if choice is not None else None
    return replace(
        renamed(recipe, place),
        merges={name: replaced(inner, place) for name, inner in recipe.merges.items()},
        tokenizer_source=moved.source if moved is not None and recipe.tokenizer is None else None,
        tokenizer=moved.to_dict() if moved is not None and recipe.tokenizer is not None else None,
    )


def rooted_book(book: RecipeBook, folder: Path, *, out: Path | None = None) -> RecipeBook:
    """The recipes with whole paths of local files, or those seen from ``out``; see ``rooted``."""
    names = [step.name for step in book.steps if step.name is not None]
    return RecipeBook(
        steps=tuple(replace(step, recipe=rooted(step.recipe, folder, names, out=out)) for step in book.steps)
    )
