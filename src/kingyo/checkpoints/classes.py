"""Heads of classifiers: which tensors have one row for each class, and whether two models mean the same ones.

Shapes do not tell: the mean of two heads whose classes stand in another order is a head of none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import cast

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.errors import KingyoError


def has_classes(model: Checkpoint, name: str) -> bool:
    """Whether a tensor has one row for each class of a model, as its config counts them."""
    shape = model.tensors[name].shape
    return bool(shape) and model.layout.kind(name) == "head" and shape[0] == _n_classes(model.config)


def heads_of_others(like: Checkpoint, other: Checkpoint) -> list[str]:
    """Return the heads of a model whose classes another one names otherwise; none where either names none."""
    mine, yours = _names(like.config), _names(other.config)
    if mine is None or yours is None or mine == yours:
        return []
    return [name for name in like.tensors if has_classes(like, name)]


def require_same_classes(like: Checkpoint, others: Sequence[Checkpoint], heads: Collection[str]) -> None:
    """Refuse to merge heads whose classes differ.

    Args:
        like: the model that the merge is like.
        others: the other models.
        heads: tensors of ``like`` that would be merged.

    Raises:
        KingyoError: of one of the others, with the first class that differs.
    """
    for other in others:
        if not set(heads).intersection(heads_of_others(like, other)):
            continue
        mine, yours = _names(like.config) or {}, _names(other.config) or {}
        key = next(each for each in (*mine, *yours) if mine.get(each) != yours.get(each))
        raise KingyoError(
            f"id2label.{key} in config.json",
            expected=f"{_told(mine, key)} as in {like.reference}, since rows of a head stand for classes",
            received=f"{_told(yours, key)} in {other.reference}",
            remedy="Train the models on one list of classes, or say resize: base, which takes the head from "
            "the base.",
        )


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
