"""Check that checkpoints can be merged: the same tensors, shapes and architecture.

A difference is an error, or the recipe resolves it. Only names, shapes and configs are read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from kingyo.errors import KingyoError, unknown_name_error
from kingyo.merging.checkpoints.checkpoint import Checkpoint
from kingyo.merging.checkpoints.config_comparison import compare
from kingyo.merging.checkpoints.configs import with_rows
from kingyo.merging.checkpoints.header import TensorInfo
from kingyo.merging.checkpoints.stacks import is_output, is_vocabulary
from kingyo.merging.checkpoints.tied_weights import count_tokens, untied
from kingyo.merging.checkpoints.views import (
    RowRange,
    View,
    fitted,
    joined,
    match_names,
    missing_tensor_error,
    whole,
)
from kingyo.merging.recipe import RESIZE


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Models that can be merged tensor by tensor.

    Attributes:
        like: the template of the merge, which has the same ``tensors`` and ``config``.
        models: all models by reference, ``like`` first; each reads the tensors to be merged under the names
            and in the shapes of ``like``.
        views: views through which ``like`` reads its tensors; empty if it is the stored model.
        unmerged: tensors copied from ``like`` because their sizes differ between models.
        warnings: differences that do not prevent the merge, as sentences.
    """

    like: Checkpoint
    models: Mapping[str, Checkpoint]
    views: Mapping[str, View] = field(default_factory=dict[str, View])
    unmerged: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()


def check_fit(like: Checkpoint, other: Checkpoint) -> None:
    """Check that two checkpoints have the same tensors, shapes and attention heads."""
    if other is like:
        return
    here, there = like.tensors, other.tensors
    if here.keys() != there.keys():
        name = min(here.keys() ^ there.keys())
        owner, lacks = (like, other) if name in here else (other, like)
        raise missing_tensor_error(name, owner, lacks, like)
    for name, info in here.items():
        if info.shape != there[name].shape:
            remedy = "Compare models of one architecture and vocabulary."
            raise _shape_error(name, [(like, info), (other, there[name])], remedy)
        _check_floating(name, (like, info), (other, there[name]))
    compare(like, other)


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
        like: the model that gives the merge its names, config and tokenizer: the base, else the first source.
        others: the other models.
        resize: one of ``RESIZE``; with None, sizes that differ are an error.
        only: the tensors to merge; all if None. The other models need not have the rest.

    Raises:
        KingyoError: tensors are missing, sizes differ, or the weights have different meanings.
    """
    if resize is not None and resize not in RESIZE:
        raise unknown_name_error("resize", resize, RESIZE)
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
    """Find, for each tensor and model, where its weights are."""

    def __init__(
        self,
        like: Checkpoint,
        others: Sequence[Checkpoint],
        resize: str | None,
        only: Collection[str] | None,
        heads: Collection[str],
    ) -> None:
        self._like = like
        self._models = [like, *others]
        self._resize = resize
        self._only = only
        self._heads = heads
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
        for each in stored[1:]:
            _check_floating(name, stored[0], each)
        if len({info.shape for _, info in stored}) == 1 and name not in self._heads:
            return [whole(model, name, info.name) for model, info in stored]
        if self._resize == "base":
            self._unmerged.add(name)
            own = whole(self._like, name, stored[0][1].name)
            return [own] * len(stored)
        axis = self._axis(name, stored)
        if self._resize is None or axis is None:
            raise _shape_error(name, stored, self._remedy(name, stored))
        sizes = [info.shape[axis] for _, info in stored]
        rows = max(sizes) if self._resize == "pad-vocab" else min(sizes)
        self._rows[name] = sizes[0], rows
        return [_resized(name, at, stored, rows, axis) for at in range(len(stored))]

    def _axis(self, name: str, stored: Sequence[tuple[Checkpoint, TensorInfo]]) -> int | None:
        """Return the axis of the tokens; None if a tensor has none or differs on another axis, too."""
        shapes = [info.shape for _, info in stored]
        if any(has_classes(model, info.name) for model, info in stored):
            return None
        axis = 0 if name.endswith("weight") else len(shapes[0]) - 1
        is_outer = self._like.layout.stack(name) is None and is_vocabulary(name)
        if not is_outer or len({(*shape[:axis], *shape[axis + 1 :], len(shape)) for shape in shapes}) > 1:
            return None
        tokens = [count_tokens(model) for model, _ in stored]
        are_tokens = all(n is None or n == shape[axis] for n, shape in zip(tokens, shapes, strict=True))
        return axis if are_tokens else None

    def _remedy(self, name: str, stored: Sequence[tuple[Checkpoint, TensorInfo]]) -> str:
        """Return the remedy for sizes that differ: ``resize`` only if it helps and was not set."""
        if self._axis(name, stored) is not None:
            return (
                "Set tokenizer_source: union, which keeps all tokens and matches their embeddings, or "
                f"resize: {' or '.join(RESIZE)}."
            )
        is_outer = self._like.layout.stack(name) is None and len({info.shape[1:] for _, info in stored}) == 1
        if self._resize is None and is_outer:
            return "Merge models of one architecture, or set resize: base, which copies it from the base."
        return "Merge models of one architecture and size."

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
        sizes = set(self._rows.values())
        for before, now in sorted(sizes):
            config = with_rows(config, before, now)
            resized = "padded to" if self._resize == "pad-vocab" else "cut to"
            changes.append(f"{', '.join(name for name in self._rows)}: {resized} {now} rows.")
        return config, changes


def _is_alike(like: Checkpoint, other: Checkpoint) -> bool:
    if like.tensors.keys() != other.tensors.keys():
        return False
    pairs = [(info, other.tensors[name]) for name, info in like.tensors.items()]
    return all(own.shape == its.shape and own.is_floating == its.is_floating for own, its in pairs)


def _resized(
    name: str, at: int, stored: Sequence[tuple[Checkpoint, TensorInfo]], rows: int, axis: int
) -> View:
    """Return a vocabulary tensor with ``rows`` rows: its own first, then the base's, then the others'."""
    model, info = stored[at]
    end = min(rows, info.shape[axis])
    pieces = [RowRange(model=model, name=info.name, start=0, end=end)]
    for donor, its in stored:
        until = min(rows, its.shape[axis])
        if end < until:
            pieces.append(RowRange(model=donor, name=its.name, start=end, end=until))
            end = until
    shape = (*info.shape[:axis], rows, *info.shape[axis + 1 :])
    return joined(model, replace(info, name=name, shape=shape), tuple(pieces), axis)


def _check_floating(
    name: str, one: tuple[Checkpoint, TensorInfo], other: tuple[Checkpoint, TensorInfo]
) -> None:
    if one[1].is_floating != other[1].is_floating:
        expected = f"{one[1].dtype} as in {one[0].reference}"
        remedy = "Merge unquantised models."
        raise KingyoError(name, expected, f"{other[1].dtype} in {other[0].reference}", remedy)


def _shape_error(name: str, stored: Sequence[tuple[Checkpoint, TensorInfo]], remedy: str) -> KingyoError:
    first, info = stored[0]
    other, its = next((m, i) for m, i in stored if i.shape != info.shape)
    expected = f"one shape in all models: {list(info.shape)} as in {first.reference}"
    return KingyoError(name, expected, f"{list(its.shape)} in {other.reference}", remedy)


def has_classes(model: Checkpoint, name: str) -> bool:
    named, stated = model.config.get("id2label"), model.config.get("num_labels")
    n_classes = len(cast("Mapping[str, object]", named)) if isinstance(named, Mapping) else stated
    return _is_head(model, name) and model.tensors[name].shape[0] == n_classes


def _differing_heads(models: Sequence[Checkpoint]) -> tuple[list[str], KingyoError | None]:
    """Return the heads of the first model, and an error, if the models' names of classes differ.

    Models without names of classes are ignored.
    """
    named = [(model, names) for model in models if (names := _names(model.config)) is not None]
    different = [(model, names) for model, names in named if names != named[0][1]]
    if not different:
        return [], None
    (first, labels), (other, other_labels) = named[0], different[0]
    key = next(each for each in (*labels, *other_labels) if labels.get(each) != other_labels.get(each))
    absent = "no such class"
    error = KingyoError(
        f"id2label.{key} in config.json",
        f"{labels.get(key, absent)!r:.80} as in {first.reference}, since a row is a class",
        f"{other_labels.get(key, absent)!r:.80} in {other.reference}",
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
    """Return the names of classes by number; None if a config has only LABEL_0, LABEL_1, …"""
    named = config.get("id2label")
    if not isinstance(named, Mapping):
        return None
    names = dict(cast("Mapping[str, object]", named))
    is_general = all(name == f"LABEL_{key}" for key, name in names.items())
    return None if is_general else names
