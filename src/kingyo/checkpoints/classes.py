"""Heads of classifiers: which tensors have one row for each class, and whether two models mean the same ones.

Shapes do not tell: the mean of two heads whose classes stand in another order is a head of none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.errors import KingyoError


def has_classes(model: Checkpoint, name: str) -> bool:
    """Whether a tensor has one row for each class of a model, as its config counts them."""
    return _is_head(model, name) and model.tensors[name].shape[0] == _n_classes(model.config)


def heads_of_others(models: Sequence[Checkpoint]) -> list[str]:
    """Return the heads of the first of some models whose classes not all of them name alike.

    A model that names none says nothing against those of others.
    """
    named = [names for model in models if (names := _names(model.config)) is not None]
    if all(names == named[0] for names in named):
        return []
    like, sizes = models[0], {len(names) for names in named}
    return [
        name
        for name, info in like.tensors.items()
        if has_classes(like, name) or (_is_head(like, name) and info.shape[0] in sizes)
    ]


def other_classes(models: Sequence[Checkpoint]) -> KingyoError:
    """Return the error for heads of models that name their classes otherwise: with the first that differs."""
    named = [(model, names) for model in models if (names := _names(model.config)) is not None]
    like, mine = named[0]
    other, yours = next((model, names) for model, names in named if names != mine)
    key = next(each for each in (*mine, *yours) if mine.get(each) != yours.get(each))
    return KingyoError(
        f"id2label.{key} in config.json",
        expected=f"{_told(mine, key)} as in {like.reference}, since rows of a head stand for classes",
        received=f"{_told(yours, key)} in {other.reference}",
        remedy="Train the models on one list of classes, or say resize: base, which takes the head from "
        "the base.",
    )


def _is_head(model: Checkpoint, name: str) -> bool:
    return bool(model.tensors[name].shape) and model.layout.kind(name) == "head"


def _told(names: Mapping[str, object], key: str) -> str:
    return f"{names[key]!r:.80}" if key in names else "no such class"


def _n_classes(config: Mapping[str, object]) -> int | None:
    named = config.get("id2label")
    if isinstance(named, Mapping):
        return len(cast("Mapping[str, object]", named))
    stated = config.get("num_labels")
    return stated if isinstance(stated, int) else None


def _names(config: Mapping[str, object]) -> dict[str, object] | None:
    """The names of the classes by their numbers; None where a config has none but LABEL_0, LABEL_1, …"""
    named = config.get("id2label")
    if not isinstance(named, Mapping):
        return None
    names = dict(cast("Mapping[str, object]", named))
    is_general = all(name == f"LABEL_{key}" for key, name in names.items())
    return None if is_general else names
