"""A checkpoint read as others need it: under other names, with more or fewer rows. Nothing is copied at once.

What a tensor is made of is decided elsewhere; here it is only read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kingyo.checkpoints.checkpoint import Checkpoint, Needs
from kingyo.checkpoints.header import TensorInfo
from kingyo.errors import KingyoError, suggest
from kingyo.late import Tensor, torch


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Rows of a stored tensor.

    Attributes:
        model: whose tensor it is.
        name: of the tensor in that model.
        start, end: the first row, and the one behind the last.
    """

    model: Checkpoint = field(repr=False)
    name: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class View:
    """A tensor of a fitted checkpoint: pieces of stored ones, one behind the other.

    Attributes:
        info: what it is; of several pieces, it is in no file.
        pieces: in order.
        axis: along which they are joined.
    """

    info: TensorInfo
    pieces: tuple[Piece, ...]
    axis: int = 0

    def read(self) -> Tensor:
        """Return the tensor: mapped from its file where that is possible. Never write to it."""
        first = self.pieces[0]
        stored = first.model.read(first.name)
        parts = [_rows(stored, first, self.axis)]
        for piece in self.pieces[1:]:
            parts.append(_rows(piece.model.read(piece.name), piece, self.axis).to(stored.dtype))
        return parts[0] if len(parts) == 1 else torch.cat(parts, self.axis)


@dataclass(frozen=True, kw_only=True)
class FittedCheckpoint(Checkpoint):
    """A checkpoint as seen by the merge: ``tensors`` and ``read`` have the names and shapes agreed on.

    Attributes:
        model: the checkpoint as it is on disk.
        views: how each of ``tensors`` is read.
    """

    model: Checkpoint = field(repr=False)
    views: Mapping[str, View] = field(repr=False)

    def needs(self, name: str) -> Needs:
        """Return the pieces of a tensor."""
        return Needs(others=tuple((piece.model, piece.name) for piece in self.views[name].pieces))

    def home(self, name: str) -> str | None:
        """The name itself; None when it is not among ``tensors``: ties are resolved already."""
        return name if name in self.views else None

    def read(self, name: str) -> Tensor:
        """Return a tensor in the shape agreed on; never write to it.

        Raises:
            KingyoError: it has no such tensor.
        """
        if name not in self.views:
            remedy = suggest(name, self.views)
            raise KingyoError(self.reference, expected="one of its tensors", received=name, remedy=remedy)
        return self.views[name].read()


def whole(model: Checkpoint, name: str, stored: str) -> View:
    """A tensor of a model as it is, by another name or its own."""
    info = model.tensors[stored]
    rows = info.shape[0] if info.shape else 1
    piece = Piece(model=model, name=stored, start=0, end=rows)
    return View(info=replace(info, name=name), pieces=(piece,))


def joined(model: Checkpoint, info: TensorInfo, pieces: tuple[Piece, ...], axis: int) -> View:
    """A tensor made of pieces, the first of which are the model's own."""
    is_start = len(pieces) == 1 and axis == 0
    file = info.file if is_start else model.path  # to map it by hand is an error
    return View(info=replace(info, file=file), pieces=pieces, axis=axis)


def fitted(model: Checkpoint, views: Mapping[str, View], config: Mapping[str, object]) -> Checkpoint:
    """A model with these tensors; the model itself when they are its own."""
    is_same = views.keys() == model.tensors.keys() and all(
        view.info == model.tensors[name] and view.pieces[0].model is model for name, view in views.items()
    )
    if is_same and config == model.config:
        return model
    donors = (piece.model for view in views.values() for piece in view.pieces)
    return FittedCheckpoint(
        reference=model.reference,
        path=model.path,
        config=config,
        tensors={name: view.info for name, view in views.items()},
        stem=model.stem,
        made_of=tuple({id(each): each for each in (model, *donors)}.values()),
        model=model,
        views=views,
    )


def _rows(tensor: Tensor, piece: Piece, axis: int) -> Tensor:
    if not tensor.ndim or piece.end - piece.start == tensor.shape[axis]:
        return tensor
    return tensor.narrow(axis, piece.start, piece.end - piece.start)
