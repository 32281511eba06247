"""Classifier heads: find the tensors with one row per class, and compare the classes of models.

Equal shapes are not enough: averaging two heads with different orders of classes gives a useless head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from kingyo.checkpoints.checkpoint import Checkpoint
from kingyo.errors import KingyoError


def has_classes(model: Checkpoint, name: str) -> bool:
    """Return whether a tensor has one row per class of a model's config."""
    return _is_head(model, name) and model.tensors[name].shape[0] == _n_classes(model.config)


def heads_of_others(models: Sequence[Checkpoint]) -> list[str]:
    """Return the heads of the first model if the models' names of classes differ; else none.

    Models without names of classes are ignored.
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
    """Return the error for models with different classes; it names the first difference."""
    named = [(model, names) for model in models if (names := _names(model.config)) is not None]
    like, labels = named[0]
    other, other_labels = next((model, names) for model, names in named if names != labels)
    key = next(each for each in (*labels, *other_labels) if labels.get(each) != other_labels.get(each))
    return KingyoError(
        f"id2label.{key} in config.json",
        expected=f"{_label(labels, key)} as in {like.reference}, since each row of a head is a class",
        received=f"{_label(other_labels, key)} in {other.reference}",
        remedy="Train the models on one list of classes, or set resize: base, which copies the head from "
        "the base.",
    )


def _is_head(model: Checkpoint, name: str) -> bool:
    return bool(model.tensors[name].shape) and model.layout.kind(name) == "head"


def _label(names: Mapping[str, object], key: str) -> str:
    return f"{names[key]!r:.80}" if key in names else "no such class"


def _n_classes(config: Mapping[str, object]) -> int | None:
    named = config.get("id2label")
    if isinstance(named, Mapping):
        return len(cast("Mapping[str, object]", named))
    stated = config.get("num_labels")
    return stated if isinstance(stated, int) else None


def _names(config: Mapping[str, object]) -> dict[str, object] | None:
    """Return the names of classes by number; None if a config has only LABEL_0, LABEL_1, …"""
    named = config.get("id2label")
    if not isinstance(named, Mapping):
        return None
    names = dict(cast("Mapping[str, object]", named))
    is_general = all(name == f"LABEL_{key}" for key, name in names.items())
    return None if is_general else names
