"""Match tensors of two models by name, and read one under the names and in the shapes of the other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.errors import KingyoError, suggest
from kingyo.merging.checkpoints.checkpoint import Checkpoint, TensorInputs
from kingyo.merging.checkpoints.header import TensorInfo
from kingyo.merging.checkpoints.stacks import Stack, n_shared


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
        parts: list[Tensor] = []
        for piece in self.pieces:
            tensor, n_rows = piece.model.read(piece.name), piece.end - piece.start
            if tensor.ndim and n_rows != tensor.shape[self.axis]:
                tensor = tensor.narrow(self.axis, piece.start, n_rows)
            parts.append(tensor.to(parts[0].dtype) if parts else tensor)
        return parts[0] if len(parts) == 1 else torch.cat(parts, self.axis)


@dataclass(frozen=True, kw_only=True)
class FittedCheckpoint(Checkpoint):
    """A checkpoint with the names and shapes of a merge: views of another one's tensors."""

    model: Checkpoint = field(repr=False)
    views: Mapping[str, View] = field(repr=False)

    def needs(self, name: str) -> TensorInputs:
        return TensorInputs(others=tuple((piece.model, piece.name) for piece in self.views[name].pieces))

    def home(self, name: str) -> str | None:
        """Return the name if it is among ``tensors``, else None, since ties are already resolved."""
        return name if name in self.views else None

    def read(self, name: str) -> Tensor:
        if name not in self.views:
            remedy = suggest(name, self.views)
            raise KingyoError(self.reference, "one of its tensors", name, remedy)
        return self.views[name].read()

    def read_rows(self, name: str, start: int, end: int) -> Tensor:
        view = self.views[name]
        piece = view.pieces[0]
        if len(view.pieces) > 1 or view.axis or end > piece.end or piece.start:
            return view.read()[start:end]
        return piece.model.read_rows(piece.name, start, end)


def whole(model: Checkpoint, name: str, stored: str) -> View:
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


def match_names(like: Checkpoint, other: Checkpoint, only: Collection[str] | None = None) -> dict[str, str]:
    """Return name in ``like`` -> the tensor of the other model with these weights, for all or ``only`` some.

    A language model matches the language part of a vision-language model. The head of a tied model is its
    embedding. Tensors that only one model ties are included.

    Raises:
        KingyoError: one model has a tensor that the other lacks.
    """
    wanted = list(like.tensors if only is None else only)
    pairs = {name: name for name in wanted if name in other.tensors}
    if len(pairs) != len(wanted) or len(pairs) != len(other.tensors):
        taken = set(pairs)
        for name in wanted:
            counterpart = None if name in pairs else _counterpart(like, other, name, taken)
            if counterpart is not None:
                pairs[name] = counterpart
                taken.add(counterpart)
    for name in wanted:
        if name not in pairs:
            if (home := other.home(name)) is None:
                raise missing_tensor_error(name, like, other, like)
            pairs[name] = home
    unwanted = like.tensors.keys() - set(wanted)
    for name in sorted(_relevant(like, other, wanted) - set(pairs.values())):
        if name in unwanted or (unwanted and _counterpart(other, like, name, ()) in unwanted):
            continue
        own = _in_like(like, other, name)
        home = like.home(own)
        if home is None:
            raise missing_tensor_error(name, other, like, like)
        if home not in unwanted:  # else a head tied to an embedding that stays as it is
            pairs[own] = name
    return pairs


def missing_tensor_error(name: str, owner: Checkpoint, lacks: Checkpoint, like: Checkpoint) -> KingyoError:
    """Return the error for a tensor that only one of two models has."""
    parts = like.layout.parts
    alone = f", or only one of the parts ({', '.join(parts)}), as in parts: {{language: merge}}"
    expected = "models with the same tensors"
    received = f"'{name}' in {owner.reference} but not in {lacks.reference}"
    remedy = f"Merge models of one architecture{alone if len(parts) > 1 else ''}."
    return KingyoError(f"{owner.reference} and {lacks.reference}", expected, received, remedy)


def _counterpart(like: Checkpoint, other: Checkpoint, name: str, taken: Collection[str]) -> str | None:
    stack = like.layout.stack(name)
    if stack is not None:
        its = counterpart(like, other, stack)
        found = None if its is None else f"{its.prefix}{name[len(stack.prefix) :]}"
        return found if found in other.tensors else None
    part = like.layout.part(name)
    outer = (each for each in other.tensors if other.layout.stack(each) is None and each not in taken)
    if len(other.layout.parts) > 1 and len(like.layout.parts) > 1:
        outer = (each for each in outer if other.layout.part(each) == part)
    elif len(other.layout.parts) > 1:
        outer = (each for each in outer if other.layout.part(each) == _main_part(other))
    return _best(name, outer)


def counterpart(like: Checkpoint, other: Checkpoint, stack: Stack) -> Stack | None:
    """Return the stack of ``other`` that corresponds to one of ``like``, or None."""
    named = {each.name: each for each in other.layout.stacks}
    prefixes = {each.prefix: each for each in other.layout.stacks}
    if stack.prefix in prefixes:
        return prefixes[stack.prefix]
    is_main = stack is like.layout.main and (len(named) == 1 or len(like.layout.stacks) == 1)
    return other.layout.main if is_main else named.get(stack.name)


def _best(name: str, others: Iterable[str]) -> str | None:
    """Return the name that shares most last words: at least two, or all words of one of the names."""
    words = name.split(".")[::-1]
    shared = {each: n_shared(words, each.split(".")[::-1]) for each in others}
    good = {each: n for each, n in shared.items() if n >= 2 or n == min(len(words), len(each.split(".")))}
    most = max(good.values(), default=0)
    best = [each for each, n in good.items() if n == most > 0]
    return best[0] if len(best) == 1 else None


def _relevant(like: Checkpoint, other: Checkpoint, wanted: Iterable[str]) -> set[str]:
    """Return the tensors of the other model that need a match: those of the wanted parts."""
    if len(other.layout.parts) == 1:
        return set(other.tensors)
    if len(like.layout.parts) == 1:
        return set(other.layout.parts[_main_part(other)])
    parts = {like.layout.part(name) for name in wanted}
    return {name for part in parts for name in other.layout.parts.get(part, ())}


def _main_part(model: Checkpoint) -> str:
    main = model.layout.main
    return main.part if main is not None else next(iter(model.layout.parts))


def _in_like(like: Checkpoint, other: Checkpoint, name: str) -> str:
    stack, other_stack = like.layout.main, other.layout.main
    if stack is None or other_stack is None:
        return name
    if len(like.layout.parts) > 1 and stack.prefix.endswith(f".{other_stack.prefix}"):
        return stack.prefix.removesuffix(other_stack.prefix) + name
    if len(other.layout.parts) > 1 and other_stack.prefix.endswith(f".{stack.prefix}"):
        return name.removeprefix(other_stack.prefix.removesuffix(stack.prefix))
    return name
