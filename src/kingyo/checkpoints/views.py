"""Read a checkpoint under other names, or with more or fewer rows, without copying it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kingyo.checkpoints.checkpoint import Checkpoint, Needs
from kingyo.checkpoints.header import TensorInfo
from kingyo.errors import KingyoError, suggest
from kingyo.io.lazy_torch import Tensor, torch


@dataclass(frozen=True, kw_only=True)
class RowRange:
    """Rows ``start`` to ``end`` of a tensor of a checkpoint."""

    model: Checkpoint = field(repr=False)
    name: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class View:
    """A tensor of a fitted checkpoint: pieces of stored tensors, concatenated along ``axis``."""

    info: TensorInfo
    pieces: tuple[RowRange, ...]
    axis: int = 0

    def read(self) -> Tensor:
        """Return the tensor, mapped from its file if possible. Never write to it."""
        first = self.pieces[0]
        stored = first.model.read(first.name)
        parts = [_rows(stored, first, self.axis)]
        for piece in self.pieces[1:]:
            parts.append(_rows(piece.model.read(piece.name), piece, self.axis).to(stored.dtype))
        return parts[0] if len(parts) == 1 else torch.cat(parts, self.axis)


@dataclass(frozen=True, kw_only=True)
class FittedCheckpoint(Checkpoint):
    """A checkpoint with the names and shapes of a merge: views of another one's tensors."""

    model: Checkpoint = field(repr=False)
    views: Mapping[str, View] = field(repr=False)

    def needs(self, name: str) -> Needs:
        """Return the pieces of a tensor."""
        return Needs(others=tuple((piece.model, piece.name) for piece in self.views[name].pieces))

    def home(self, name: str) -> str | None:
        """Return the name if it is among ``tensors``, else None, since ties are already resolved."""
        return name if name in self.views else None

    def read(self, name: str) -> Tensor:
        """Return a tensor in the shape of the merge; never write to it."""
        if name not in self.views:
            remedy = suggest(name, self.views)
            raise KingyoError(self.reference, expected="one of its tensors", received=name, remedy=remedy)
        return self.views[name].read()


def whole(model: Checkpoint, name: str, stored: str) -> View:
    """Return the view of a complete tensor, under another name or its own."""
    info = model.tensors[stored]
    rows = info.shape[0] if info.shape else 1
    piece = RowRange(model=model, name=stored, start=0, end=rows)
    return View(info=replace(info, name=name), pieces=(piece,))


def joined(model: Checkpoint, info: TensorInfo, pieces: tuple[RowRange, ...], axis: int) -> View:
    """Return the view of a tensor made of pieces, the first of which is the model's own."""
    is_start = len(pieces) == 1 and axis == 0
    file = info.file if is_start else model.path  # a folder, so that mapping it by mistake fails
    return View(info=replace(info, file=file), pieces=pieces, axis=axis)


def fitted(model: Checkpoint, views: Mapping[str, View], config: Mapping[str, object]) -> Checkpoint:
    """Return a model with these tensors; the model itself if nothing differs."""
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


def _rows(tensor: Tensor, piece: RowRange, axis: int) -> Tensor:
    if not tensor.ndim or piece.end - piece.start == tensor.shape[axis]:
        return tensor
    return tensor.narrow(axis, piece.start, piece.end - piece.start)
