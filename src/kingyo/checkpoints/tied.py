"""Tied weights: tensors that a model holds once and uses under several names, the head as the embedding.

transformers stores them once, and ties them again when it loads what was stored. Whether they are tied stands
in the config; where that is silent, in transformers' defaults. Some checkpoints store a copy all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from kingyo.checkpoints.defaults import complete, default_of
from kingyo.checkpoints.header import TensorInfo
from kingyo.checkpoints.mapping import map_bytes
from kingyo.checkpoints.roles import find_kind, is_output, is_vocabulary
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.checkpoints.checkpoint import Checkpoint

KEY = "tie_word_embeddings"
_INNER = ("text_config", "llm_config")
_AT_ONCE = 1 << 20  # bytes that are compared; numpy makes as many of its own
_SPEAKING = ("language", "decoder", "shared", "encoder")


def is_tied(config: Mapping[str, object]) -> bool | None:
    """What a config says of head and embedding; None when it says nothing."""
    levels = [config, *(cast("Mapping[str, object]", inner) for inner in _texts(config))]
    stated = [level[KEY] for level in levels if KEY in level]
    return stated[0] is True if stated else None


def untied(model: Checkpoint, config: Mapping[str, object]) -> dict[str, object]:
    """The config of a merge that is like a model, but has a head of its own.

    Raises:
        KingyoError: in this architecture that would change more than the tie.
    """
    changed = dict(config)
    for key in _INNER:
        inner = config.get(key)
        if isinstance(inner, dict) and KEY in inner:
            changed[key] = {**cast("dict[str, object]", inner), KEY: False}
    changed[KEY] = False
    before, after = complete(config), complete(changed)
    other = [key for key in after if key not in (KEY, *_INNER) and after[key] != before.get(key)]
    if other:
        raise KingyoError(
            f"{KEY} in config.json",
            expected="models that all tie their heads to their embeddings, or none of which does",
            received=f"{model.reference} beside others: untying it would change {other[0]} as well",
            remedy="Merge models that agree on it.",
        )
    return changed


def find_embedding(model: Checkpoint) -> str | None:
    """The embedding of tokens: the tensor that others are tied to."""
    found = [
        name
        for name in _vocabulary(model)
        if model.layout.kind(name) == "embedding" and len(model.tensors[name].shape) == 2
    ]
    return min(found, key=lambda name: ("shared" not in name, name.count("."), name), default=None)


def count_tokens(model: Checkpoint) -> int | None:
    """How many tokens a model has an embedding for; None without one."""
    embedding = find_embedding(model)
    return None if embedding is None else model.tensors[embedding].shape[0]


def find_copies(model: Checkpoint) -> dict[str, str]:
    """Find tensors that are stored a second time: a tied head, the embeddings of an encoder and its decoder.

    Returns:
        The copy -> the tensor that it is a copy of.

    Raises:
        KingyoError: the config ties a head that is stored with weights of its own.
    """
    copies = dict(_biases(model))
    embedding = find_embedding(model)
    if embedding is None:
        return copies
    shape = model.tensors[embedding].shape
    stated = is_tied(model.config)
    alike = [name for name in _vocabulary(model) if name != embedding and model.tensors[name].shape == shape]
    heads = [name for name in alike if model.layout.kind(name) == "head"]
    asked = [name for name in alike if stated is not False or name not in heads]
    equal = [name for name in asked if _are_equal(model.tensors[name], model.tensors[embedding])]
    if heads and stated is True and not any(name in equal for name in heads):
        raise KingyoError(
            f"{model.reference}: {heads[0]}",
            expected=f"the same weights as {embedding}, since the config ties them",
            received="other weights",
            remedy=f"Set {KEY} to false in config.json if they are not tied.",
        )
    return copies | {name: embedding for name in equal if name not in heads or _ties(model)}


def stand_in(model: Checkpoint, name: str) -> str | None:
    """The tensor that stands for one that is not stored since it is tied; None when none does."""
    if name.endswith(".bias"):
        above = _above(name)
        has_above = above in model.tensors and model.layout.kind(above) == "head"
        return above if has_above and _ties(model) else None
    is_head = is_output(name)
    is_embedding = is_vocabulary(name) and find_kind(name, in_block=False) == "embedding"
    if not (is_head or is_embedding) or any(word.isdigit() for word in name.split(".")):
        return None
    found = find_embedding(model)
    if found is None and is_embedding:  # stored by the name of the head alone
        found = next((each for each in _vocabulary(model) if is_output(each)), None)
    return found if found is not None and _ties(model) else None


def _vocabulary(model: Checkpoint) -> list[str]:
    """Tensors that may have one row per token."""
    layout = model.layout
    return [
        name
        for name in model.tensors
        if layout.stack(name) is None and layout.part(name) in _SPEAKING and is_vocabulary(name)
    ]


def _ties(model: Checkpoint) -> bool:
    stated = is_tied(model.config)
    return default_of(model.config, KEY) is True if stated is None else stated


def _biases(model: Checkpoint) -> Iterator[tuple[str, str]]:
    """A head's bias that is stored as its parent's as well: ``predictions.decoder.bias``, as in BERT."""
    for name, info in model.tensors.items():
        above = _above(name)
        if model.layout.kind(name) != "head" or not name.endswith(".bias") or above not in model.tensors:
            continue
        if _are_equal(info, model.tensors[above]) and _ties(model):
            yield name, above


def _are_equal(one: TensorInfo, other: TensorInfo) -> bool:
    """Whether two tensors are the same, byte by byte; two that are not are seldom read to their ends."""
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    first, second = map_bytes(one), map_bytes(other)
    starts = range(0, len(first), _AT_ONCE)
    return all(np.array_equal(first[i : i + _AT_ONCE], second[i : i + _AT_ONCE]) for i in starts)


def _above(bias: str) -> str:
    """The bias of the module that holds a bias's module."""
    return f"{bias.removesuffix('.bias').rpartition('.')[0]}.bias"


def _texts(config: Mapping[str, object]) -> Iterator[object]:
    for key in _INNER:
        if isinstance(config.get(key), dict):
            yield config[key]
