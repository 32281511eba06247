"""The opened models of a recipe, by the references that it uses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kingyo.checkpoints import Checkpoint, open_checkpoint
from kingyo.checkpoints.adapter import Adapter
from kingyo.checkpoints.fitted import FittedCheckpoint
from kingyo.checkpoints.lora import AdaptedCheckpoint
from kingyo.checkpoints.mapping import MappedFiles
from kingyo.checkpoints.reference import whole_model
from kingyo.checkpoints.stamps import check_stamps
from kingyo.errors import KingyoError, suggest
from kingyo.kernels.facts import Facts
from kingyo.recipe import Recipe, RecipeBook, renamed
from kingyo.registry import whole_reference
from kingyo.vocabulary import TokenizerChoice, parse_tokenizer

_KEPT_FREE = 0.2  # of another device's memory: models compute there too

if TYPE_CHECKING:
    from kingyo.merge.agreement import Agreement
    from kingyo.merge.alignment import Alignment


class Sources(Mapping[str, Checkpoint]):
    """Opened checkpoints by reference, and what candidates of one search share: weights and measures of them.

    Args:
        checkpoints: by the references that recipes use.
        folder: where a recipe's ``path/to/file.py:Name`` begins; the working directory when None.
        facts: measures of their tensors, kept for the next candidate; in memory alone when None.
    """

    def __init__(
        self, checkpoints: Mapping[str, Checkpoint], folder: Path | None = None, facts: Facts | None = None
    ) -> None:
        self._checkpoints = dict(checkpoints)
        self.folder = folder
        self.facts = Facts() if facts is None else facts
        self.aligned: dict[str, Alignment] = {}
        self.agreements: dict[str, Agreement] = {}
        self._mapped: dict[tuple[str, str], Tensor] = {}
        self._files = MappedFiles()
        self._lasting: set[int] = set()
        self._copies: dict[tuple[torch.device, int], Tensor] = {}
        self._leaves: tuple[Checkpoint | Adapter, ...] | None = None

    def __getitem__(self, reference: str) -> Checkpoint:
        return self._checkpoints[reference]

    def __iter__(self) -> Iterator[str]:
        return iter(self._checkpoints)

    def __len__(self) -> int:
        return len(self._checkpoints)

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

    def read_again(self, reference: str, tensor: str) -> Tensor:
        """``read``, for candidate after candidate: a tensor that is mapped from its file stays so.

        To map it anew costs more than to merge it. See ``check_unchanged``.
        """
        found = self._mapped.get((reference, tensor))
        if found is None:
            checkpoint = self._checkpoints[reference]
            if type(checkpoint) is not Checkpoint:  # a tensor that is computed is memory, not a file's
                return checkpoint.read(tensor)
            found = self._mapped[reference, tensor] = checkpoint.read_from(tensor, self._files)
            self._lasting.add(id(found))
        return found

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
        if id(tensor) in self._lasting and _has_room(device):
            self._copies[key] = copy
        return copy

    def check_unchanged(self) -> None:
        """Refuse models whose files are not what they were when they were opened.

        Raises:
            KingyoError: of one they are not.
        """
        if self._leaves is None:
            self._leaves = tuple(_leaves(self._checkpoints.values()))
        for each in self._leaves:
            check_stamps(each.reference, each.seen)


def _has_room(device: torch.device) -> bool:
    """Whether a device keeps memory for whatever else needs it; one that does not tell has room."""
    if device.type != "cuda":
        return True
    free, total = torch.cuda.mem_get_info(device)
    return free > _KEPT_FREE * total


@dataclass(frozen=True, kw_only=True)
class DerivedCheckpoint(Checkpoint):
    """A checkpoint that lies on no disk: its tensors are computed from others as they are read.

    Attributes:
        made_of: the others.
        made_by: what tells it from all else that could be made of them.
    """

    made_of: tuple[Checkpoint, ...] = field(repr=False)
    made_by: str = ""


@dataclass(frozen=True, kw_only=True)
class PlannedCheckpoint(DerivedCheckpoint):
    """A checkpoint that is not there yet: the result of another merge, computed tensor by tensor when read.

    Each tensor is rounded to the dtype that it would be stored in, so that what is made of it has the bits of
    two merges, one after the other.

    Attributes:
        make: computes one of its tensors.
    """

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
    return tuple(dict.fromkeys((*recipe.references, *(choice.references if choice else ()))))


def on_disk(checkpoints: Iterable[Checkpoint]) -> Iterator[Checkpoint]:
    """The checkpoints on disk that some are made of: themselves, unless they are derived from others."""
    for checkpoint in _walk(checkpoints, _made_of):
        if not isinstance(checkpoint, DerivedCheckpoint):
            yield checkpoint


def stamp(checkpoint: Checkpoint) -> object:
    """What its weights depend on, as plain data: sizes and times of files, and how they are put together."""
    return _stamp(checkpoint, {})


def _stamp(checkpoint: Checkpoint, known: dict[int, object]) -> object:
    """What one is derived from may be many times below it: a digest stands for it each time."""
    if id(checkpoint) not in known:
        below = [_stamp(each, known) for each in _below(checkpoint)]
        if below:
            made_by = checkpoint.made_by if isinstance(checkpoint, DerivedCheckpoint) else ""
            text = json.dumps([made_by, below])
            known[id(checkpoint)] = hashlib.sha256(text.encode()).hexdigest()
        elif isinstance(checkpoint, AdaptedCheckpoint):
            known[id(checkpoint)] = [_stamp(checkpoint.model, known), _stamps(checkpoint.adapter.files)]
        else:
            known[id(checkpoint)] = _stamps({*checkpoint.files, checkpoint.path / "tokenizer.json"})
    return known[id(checkpoint)]


def _leaves(checkpoints: Iterable[Checkpoint]) -> Iterator[Checkpoint | Adapter]:
    """The models and adapters on disk that some are made of, each once."""
    for each in _walk(checkpoints, _parts):
        if isinstance(each, AdaptedCheckpoint):
            yield each.adapter
        if not _parts(each):
            yield each


def _parts(checkpoint: Checkpoint) -> tuple[Checkpoint, ...]:
    return (checkpoint.model,) if isinstance(checkpoint, AdaptedCheckpoint) else _below(checkpoint)


def _made_of(checkpoint: Checkpoint) -> tuple[Checkpoint, ...]:
    return checkpoint.made_of if isinstance(checkpoint, DerivedCheckpoint) else ()


def _walk(
    checkpoints: Iterable[Checkpoint], below: Callable[[Checkpoint], Iterable[Checkpoint]]
) -> Iterator[Checkpoint]:
    """Some checkpoints and all below them, each once."""
    seen: set[int] = set()
    left = list(checkpoints)[::-1]
    while left:
        each = left.pop()
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            left += list(below(each))[::-1]


def _stamps(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    found = [(file, file.stat()) for file in sorted(files) if file.exists()]
    return [(str(file), stat.st_size, stat.st_mtime_ns) for file, stat in found]


def _below(checkpoint: Checkpoint) -> tuple[Checkpoint, ...]:
    """The models that one is computed from as it is read; none for one on disk."""
    if isinstance(checkpoint, FittedCheckpoint):
        pieces = (piece.model for view in checkpoint.views.values() for piece in view.pieces)
        return tuple({id(model): model for model in (checkpoint.model, *pieces)}.values())
    return checkpoint.made_of if isinstance(checkpoint, DerivedCheckpoint) else ()


def rooted(recipe: Recipe, folder: Path, names: Collection[str] = ()) -> Recipe:
    """The recipe with whole paths of local files, so that it can be merged from anywhere on this machine.

    Args:
        recipe: as it was written.
        folder: where its relative paths begin.
        names: references that are no paths but names of other recipes.
    """

    def place(reference: str) -> str:
        return reference if reference in names else whole_model(reference, folder)

    return replace(replaced(recipe, place), merge_method=whole_reference(recipe.merge_method, folder))


def replaced(recipe: Recipe, place: Callable[[str], str]) -> Recipe:
    """The recipe with every reference of a model, its tokenizer's too, replaced by ``place(reference)``."""
    choice = tokenizer_choice(recipe)
    moved = choice.renamed(place) if choice is not None else None
    return replace(
        renamed(recipe, place),
        tokenizer_source=moved.source if moved is not None and recipe.tokenizer is None else None,
        tokenizer=moved.to_dict() if moved is not None and recipe.tokenizer is not None else None,
    )


def rooted_book(book: RecipeBook, folder: Path) -> RecipeBook:
    """The recipes with whole paths of local files; see ``rooted``."""
    names = [step.name for step in book.steps if step.name is not None]
    return RecipeBook(
        steps=tuple(replace(step, recipe=rooted(step.recipe, folder, names)) for step in book.steps)
    )
