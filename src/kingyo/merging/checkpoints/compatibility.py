"""Check that checkpoints can be merged: the same tensors, shapes and architecture.

A difference is an error, or the recipe resolves it. Only names, shapes and configs are read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.errors import KingyoError, suggest
from kingyo.merging.checkpoints.checkpoint import Checkpoint, TensorInputs
from kingyo.merging.checkpoints.config_comparison import compare
from kingyo.merging.checkpoints.configs import with_rows
from kingyo.merging.checkpoints.header import TensorInfo
from kingyo.merging.checkpoints.layout import count_tokens, untied
from kingyo.merging.checkpoints.stacks import Stack, is_output, is_vocabulary, n_shared
from kingyo.merging.recipe import RESIZE


@dataclass(frozen=True, kw_only=True)
class RowRange:
    """Rows ``start`` to ``end`` of a tensor of a checkpoint."""

    model: Checkpoint = field(repr=False)
    name: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class View:
    """A tensor of a fitted checkpoint: rows of stored tensors, one after the other."""

    info: TensorInfo
    pieces: tuple[RowRange, ...]

    def read(self) -> Tensor:
        parts: list[Tensor] = []
        for piece in self.pieces:
            tensor = piece.model.read(piece.name)
            tensor = tensor[piece.start : piece.end] if tensor.ndim else tensor
            parts.append(tensor.to(parts[0].dtype) if parts else tensor)
        return parts[0] if len(parts) == 1 else torch.cat(parts)


@dataclass(frozen=True, kw_only=True)
class FittedCheckpoint(Checkpoint):
    """A checkpoint with the names and shapes of a merge: views of another one's tensors."""

    model: Checkpoint = field(repr=False)
    views: Mapping[str, View] = field(repr=False)

    def needs(self, name: str) -> TensorInputs:
        return TensorInputs(others=tuple((piece.model, piece.name) for piece in self.views[name].pieces))

    def home(self, name: str) -> str | None:
        """Return the name itself or None, since ties are already resolved."""
        return name if name in self.views else None

    def read(self, name: str) -> Tensor:
        if name not in self.views:
            raise KingyoError(self.reference, "one of its tensors", name, suggest(name, self.views))
        return self.views[name].read()

    def read_rows(self, name: str, start: int, end: int) -> Tensor:
        view = self.views[name]
        piece = view.pieces[0]
        if len(view.pieces) > 1 or end > piece.end or piece.start:
            return view.read()[start:end]
        return piece.model.read_rows(piece.name, start, end)


def whole(model: Checkpoint, name: str, stored: str) -> View:
    info = model.tensors[stored]
    rows = info.shape[0] if info.shape else 1
    piece = RowRange(model=model, name=stored, start=0, end=rows)
    return View(info=replace(info, name=name), pieces=(piece,))


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
    parts = like.layout.parts
    alone = f", or only one of the parts ({', '.join(parts)}), as in parts: {{language: merge}}"
    return KingyoError(
        f"{owner.reference} and {lacks.reference}",
        "models with the same tensors",
        f"'{name}' in {owner.reference} but not in {lacks.reference}",
        f"Merge models of one architecture{alone if len(parts) > 1 else ''}.",
    )


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
    words = name.split(".")[::-1]
    shared = {each: n_shared(words, each.split(".")[::-1]) for each in others}
    good = {each: n for each, n in shared.items() if n >= 2 or n == min(len(words), len(each.split(".")))}
    most = max(good.values(), default=0)
    best = [each for each, n in good.items() if n == most > 0]
    return best[0] if len(best) == 1 else None


def _relevant(like: Checkpoint, other: Checkpoint, wanted: Iterable[str]) -> set[str]:
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


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Models that can be merged tensor by tensor."""

    like: Checkpoint  # the template of the merge, which has the same ``tensors`` and ``config``
    # all models by reference, ``like`` first; each reads the tensors to be merged under the names and in the
    # shapes of ``like``
    models: Mapping[str, Checkpoint]
    # views through which ``like`` reads its tensors; empty if it is the stored model
    views: Mapping[str, View] = field(default_factory=dict[str, View])
    # tensors copied from ``like`` because their sizes differ between models
    unmerged: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()


def fit(
    like: Checkpoint,
    others: Sequence[Checkpoint],
    *,
    resize: str | None = None,
    only: Collection[str] | None = None,
) -> Fit:
    """Match the tensors of the models of a merge.

    Names may differ by a prefix, and a language model matches the language part of a vision-language model.
    If only some models tie the head to the embedding, their embedding serves as their head, and the merge is
    untied.

    Args:
        like: the base, else the first source: it gives the merge its names, config and tokenizer.
        resize: one of ``RESIZE``; with None, sizes that differ are an error.
        only: the tensors to merge; all if None. The other models need not have the rest.
    """
    distinct = list({id(other): other for other in others if other is not like}.values())
    merged = like.tensors.keys() if only is None else only
    different, error = _differing_heads([like, *distinct])
    heads = [name for name in different if name in merged]
    if heads and error is not None and resize != "base":
        raise error
    if not heads and all(_is_alike(like, other) for other in distinct):
        parts = None if only is None else {like.layout.part(name) for name in only}
        warnings = [note for other in distinct for note in compare(like, other, parts)]
        models = {model.reference: model for model in (like, *distinct)}
        return Fit(like=like, models=models, warnings=tuple(dict.fromkeys(warnings)))
    return _Fitting(like, distinct, resize, only, heads).run()


class _Fitting:
    def __init__(
        self,
        like: Checkpoint,
        others: Sequence[Checkpoint],
        resize: str | None,
        only: Collection[str] | None,
        heads: Collection[str],
    ) -> None:
        self._like, self._models = like, [like, *others]
        self._resize, self._only, self._heads = resize, only, heads
        self._homes: list[dict[str, str]] = [{}, *(match_names(like, other, only) for other in others)]
        self._unmerged: set[str] = set()
        self._rows: dict[str, tuple[int, int]] = {}  # vocabulary tensor -> its rows in like, its rows resized

    def run(self) -> Fit:
        merged = dict.fromkeys(self._like.tensors if self._only is None else self._only)
        extra = {name: None for homes in self._homes for name in homes if name not in merged}
        for name in (*merged, *extra):
            self._find_homes(name)
        views: list[dict[str, View]] = [{} for _ in self._models]
        for name in (*merged, *extra):
            for own, view in zip(views, self._views(name), strict=True):
                own[name] = view
        parts = {self._like.layout.part(name) for name in merged}
        notes = [note for other in self._models[1:] for note in compare(self._like, other, parts)]
        config, changes = self._config((*merged, *extra))
        rest = {name: whole(self._like, name, name) for name in self._like.tensors if name not in merged}
        in_order = {name: views[0].get(name) or rest[name] for name in (*self._like.tensors, *extra)}
        like = fitted(self._like, in_order, config)
        models = [like]
        models += [fitted(m, v, m.config) for m, v in zip(self._models[1:], views[1:], strict=True)]
        return Fit(
            like=like,
            models={model.reference: model for model in models},
            views=in_order,
            unmerged=frozenset(self._unmerged),
            warnings=tuple(dict.fromkeys([*changes, *notes])),
        )

    def _find_homes(self, name: str) -> None:
        pairs = list(zip(self._models, self._homes, strict=True))
        for model, homes in pairs:
            if name not in homes:
                home = model.home(name)
                if home is None:
                    owner = next(each for each, known in pairs if name in known)
                    raise missing_tensor_error(name, owner, model, self._like)
                homes[name] = home

    def _views(self, name: str) -> list[View]:
        stored = [(m, m.tensors[homes[name]]) for m, homes in zip(self._models, self._homes, strict=True)]
        if len({_form(info) for _, info in stored}) == 1 and name not in self._heads:
            return [whole(model, name, info.name) for model, info in stored]
        are_numbers = len({info.is_floating for _, info in stored}) == 1
        if self._resize == "base" and are_numbers:
            self._unmerged.add(name)
            own = whole(self._like, name, stored[0][1].name)
            return [own] * len(stored)
        is_vocabulary = are_numbers and self._has_tokens(name, stored)
        if self._resize is None or not is_vocabulary:
            raise _form_error(name, stored, is_vocabulary)
        sizes = [info.shape[0] for _, info in stored]
        rows = max(sizes) if self._resize == "pad-vocab" else min(sizes)
        self._rows[name] = sizes[0], rows
        return [_resized(name, at, stored, rows) for at in range(len(stored))]

    def _has_tokens(self, name: str, stored: Sequence[tuple[Checkpoint, TensorInfo]]) -> bool:
        is_outer = self._like.layout.stack(name) is None and is_vocabulary(name)
        if not is_outer or len({info.shape[1:] for _, info in stored}) > 1:
            return False
        return not any(has_classes(model, info.name) for model, info in stored) and all(
            count_tokens(model) in (None, info.shape[0]) for model, info in stored
        )

    def _config(self, names: Iterable[str]) -> tuple[Mapping[str, object], list[str]]:
        config, changes = self._like.config, list[str]()
        for name in names:
            tied = [
                model.reference
                for model, homes in zip(self._models, self._homes, strict=True)
                if is_output(name) and not is_output(homes[name])
            ]
            if tied and len(tied) < len(self._models):
                config = untied(self._like, config)
                changes.append(f"{', '.join(tied)}: the head is tied to the embedding; the merge is untied.")
        for before, now in sorted(set(self._rows.values())):
            config = with_rows(config, before, now)
            resized = "padded to" if self._resize == "pad-vocab" else "cut to"
            changes.append(f"{', '.join(name for name in self._rows)}: {resized} {now} rows.")
        return config, changes


def _is_alike(like: Checkpoint, other: Checkpoint) -> bool:
    return {name: _form(info) for name, info in like.tensors.items()} == {
        name: _form(info) for name, info in other.tensors.items()
    }


def _form(info: TensorInfo) -> str:
    return f"{list(info.shape)}{'' if info.is_floating else f' of {info.dtype}'}"


def _form_error(
    name: str, stored: Sequence[tuple[Checkpoint, TensorInfo]], is_vocabulary: bool
) -> KingyoError:
    first, info = stored[0]
    other, its = next((m, i) for m, i in stored if _form(i) != _form(info))
    expected = f"one shape in all models: {_form(info)} as in {first.reference}"
    remedy = "Merge models of one architecture and size, or set resize: base, which copies it from the base."
    if is_vocabulary:
        remedy = (
            "Set tokenizer_source: union, which keeps all tokens and matches their embeddings, or "
            f"resize: {' or '.join(RESIZE)}."
        )
    return KingyoError(name, expected, f"{_form(its)} in {other.reference}", remedy)


def _resized(name: str, at: int, stored: Sequence[tuple[Checkpoint, TensorInfo]], rows: int) -> View:
    model, info = stored[at]
    end = min(rows, info.shape[0])
    pieces = [RowRange(model=model, name=info.name, start=0, end=end)]
    for donor, its in stored:
        until = min(rows, its.shape[0])
        if end < until:
            pieces.append(RowRange(model=donor, name=its.name, start=end, end=until))
            end = until
    file = info.file if len(pieces) == 1 else model.path  # a folder, so that mapping it by mistake fails
    info = replace(info, name=name, shape=(rows, *info.shape[1:]), file=file)
    return View(info=info, pieces=tuple(pieces))


def has_classes(model: Checkpoint, name: str) -> bool:
    named, stated = model.config.get("id2label"), model.config.get("num_labels")
    n_classes = len(cast("Mapping[str, object]", named)) if isinstance(named, Mapping) else stated
    return _is_head(model, name) and model.tensors[name].shape[0] == n_classes


def _differing_heads(models: Sequence[Checkpoint]) -> tuple[list[str], KingyoError | None]:
    named = [(model, names) for model in models if (names := _names(model.config)) is not None]
    other = next((model for model, names in named if names != named[0][1]), None)
    if other is None:
        return [], None
    error = KingyoError(
        "id2label in config.json",
        f"the classes of {named[0][0].reference}, since each row of the head is a class",
        f"others in {other.reference}",
        "Train the models on one list of classes, or set resize: base, which copies the head.",
    )
    like, sizes = models[0], {len(names) for _, names in named}
    heads = [
        name
        for name, info in like.tensors.items()
        if has_classes(like, name) or (_is_head(like, name) and info.shape[0] in sizes)
    ]
    return heads, error


def _is_head(model: Checkpoint, name: str) -> bool:
    return bool(model.tensors[name].shape) and model.layout.kind(name) == "head"


def _names(config: Mapping[str, object]) -> dict[str, object] | None:
    named = config.get("id2label")
    if not isinstance(named, Mapping):
        return None
    names = dict(cast("Mapping[str, object]", named))
    is_general = all(name == f"LABEL_{key}" for key, name in names.items())
    return None if is_general else names
