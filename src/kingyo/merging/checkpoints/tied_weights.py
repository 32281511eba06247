"""Tied weights: one tensor used under several names, such as the embedding that is also the head.

transformers stores tied weights once and ties them when it loads a model, according to the config or its own
defaults. Some checkpoints store a copy anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import numpy as np

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.configs import complete
from kingyo.merging.checkpoints.header import TensorInfo
from kingyo.merging.checkpoints.layout import ModelTensors
from kingyo.merging.checkpoints.mapped_tensors import map_bytes
from kingyo.merging.checkpoints.stacks import find_kind, is_output, is_vocabulary

KEY = "tie_word_embeddings"
_INNER = ("text_config", "llm_config")
_BLOCK = 1 << 20  # bytes compared at a time; numpy needs as much memory again
_WITH_VOCABULARY = ("language", "decoder", "shared", "encoder")


def is_tied(config: Mapping[str, object]) -> bool | None:
    """Return whether a config ties head and embedding; None if it has no such key."""
    inner = [config[key] for key in _INNER if isinstance(config.get(key), dict)]
    levels = cast("list[Mapping[str, object]]", [config, *inner])
    stated = [level[KEY] for level in levels if KEY in level]
    return stated[0] is True if stated else None


def untied(model: ModelTensors, config: Mapping[str, object]) -> dict[str, object]:
    """Return the config of a model with its head untied from the embedding.

    Raises:
        KingyoError: in this architecture, untying changes other keys as well.
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
        received = f"several values, and untying {model.reference} would change {other[0]} as well"
        remedy = f"Merge models with the same {KEY}."
        raise KingyoError(f"{KEY} in config.json", "one value in all models", received, remedy)
    return changed


def find_embedding(model: ModelTensors) -> str | None:
    """Return the name of the token embedding, to which other tensors are tied; None without one."""
    embeddings = [
        name
        for name in _vocabulary(model)
        if model.layout.kind(name) == "embedding" and len(model.tensors[name].shape) == 2
    ]
    return min(embeddings, key=lambda name: ("shared" not in name, name.count("."), name), default=None)


def count_tokens(model: ModelTensors) -> int | None:
    embedding = find_embedding(model)
    return None if embedding is None else model.tensors[embedding].shape[0]


def find_copies(model: ModelTensors) -> dict[str, str]:
    """Find stored copies of tied weights (a head, embeddings of encoder and decoder) -> the original.

    Raises:
        KingyoError: the config ties a head whose stored weights differ from the embedding.
    """
    copies = dict(_biases(model))
    embedding = find_embedding(model)
    if embedding is None:
        return copies
    shape = model.tensors[embedding].shape
    stated = is_tied(model.config)
    alike = [name for name in _vocabulary(model) if name != embedding and model.tensors[name].shape == shape]
    heads = [name for name in alike if model.layout.kind(name) == "head"]
    candidates = [name for name in alike if stated is not False or name not in heads]
    equal = [name for name in candidates if _are_equal(model.tensors[name], model.tensors[embedding])]
    if heads and stated is True and not any(name in equal for name in heads):
        expected = f"the same weights as {embedding}, since the config ties them"
        remedy = f"Set {KEY} to false in config.json if they are not tied."
        raise KingyoError(f"{model.reference}: {heads[0]}", expected, "other weights", remedy)
    return copies | {name: embedding for name in equal if name not in heads or _ties(model)}


def tied_tensor(model: ModelTensors, name: str) -> str | None:
    """Return the stored tensor that a missing one is tied to; None if there is none."""
    if name.endswith(".bias"):
        above = _above(name)
        has_above = above in model.tensors and model.layout.kind(above) == "head"
        return above if has_above and _ties(model) else None
    is_head = is_output(name)
    is_embedding = is_vocabulary(name) and find_kind(name, in_block=False) == "embedding"
    if not (is_head or is_embedding) or any(word.isdigit() for word in name.split(".")):
        return None
    stored = find_embedding(model)
    if stored is None and is_embedding:  # stored under the name of the head
        stored = next((each for each in _vocabulary(model) if is_output(each)), None)
    return stored if stored is not None and _ties(model) else None


def _vocabulary(model: ModelTensors) -> list[str]:
    layout = model.layout
    return [
        name
        for name in model.tensors
        if layout.stack(name) is None and layout.part(name) in _WITH_VOCABULARY and is_vocabulary(name)
    ]


def _ties(model: ModelTensors) -> bool:
    stated = is_tied(model.config)
    return complete(model.config).get(KEY) is True if stated is None else stated


def _biases(model: ModelTensors) -> Iterator[tuple[str, str]]:
    """Yield biases of heads that are copies of their parent's: ``predictions.decoder.bias``, as in BERT."""
    for name, info in model.tensors.items():
        above = _above(name)
        if model.layout.kind(name) != "head" or not name.endswith(".bias") or above not in model.tensors:
            continue
        if _are_equal(info, model.tensors[above]) and _ties(model):
            yield name, above


def _above(bias: str) -> str:
    return f"{bias.removesuffix('.bias').rpartition('.')[0]}.bias"


def _are_equal(one: TensorInfo, other: TensorInfo) -> bool:
    """Compare two tensors byte by byte, up to the first block that differs."""
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    first, second = map_bytes(one), map_bytes(other)
    starts = range(0, len(first), _BLOCK)
    return all(np.array_equal(first[i : i + _BLOCK], second[i : i + _BLOCK]) for i in starts)
