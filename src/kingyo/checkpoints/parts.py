"""Find the parts of a model: language, vision, projector; or encoder and decoder.

Parts follow from the words of tensor names; else from nested configs (such as ``vision_config``) and their
numbers of layers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import cast

from kingyo.checkpoints.layers import count_layers
from kingyo.checkpoints.roles import find_kind, is_after, is_vocabulary
from kingyo.checkpoints.stacks import Stack

_WORDS: Mapping[str, tuple[str, ...]] = {
    "vision": ("vision", "visual", "image", "images", "img", "vit", "pixel"),
    "audio": ("audio", "speech", "mel"),
    "language": ("language", "text", "llm", "lm"),
}
_JOINTS = (
    *("projector", "connector", "merger", "aligner", "resampler", "perceiver", "qformer", "abstractor"),
    *("multimodal", "modal", "modality", "mm", "newline", "separator", "seperator"),
)
"""Words that mark a projector between parts."""
_ORDER = ("shared", "vision", "audio", "encoder", "projector", "language", "decoder", "other")
"""Parts from input to output."""


def find_parts(
    stacks: Sequence[Stack], outer: Collection[str], config: Mapping[str, object]
) -> tuple[list[Stack], dict[str, str]]:
    """Assign a part to each stack and to each tensor outside the stacks.

    Args:
        stacks: stacks of the model.
        outer: tensors outside the stacks.
        config: the model's ``config.json``; may be empty.

    Returns:
        The stacks with their parts, and the parts of the other tensors.
    """
    senses = [part_in_words(stack.prefix) for stack in stacks]
    has_vocabulary = any(is_vocabulary(name) and not is_after(name) for name in outer)
    if any(senses):
        known = {sense for sense in senses if sense is not None}
        parts = [
            sense or _part_from_config(stack, known, config, has_vocabulary)
            for sense, stack in zip(senses, stacks, strict=True)
        ]
    else:
        parts = [_side(stack.prefix) or "" for stack in stacks]
        if not {"encoder", "decoder"} <= set(parts):
            parts = [_only_part(stacks, outer, has_vocabulary)] * len(stacks)
        parts = [part or "shared" for part in parts]
    placed = [replace(stack, part=part) for stack, part in zip(stacks, parts, strict=True)]
    if len(set(parts)) <= 1:
        only = parts[0] if parts else _only_part(stacks, outer, has_vocabulary)
        return placed, dict.fromkeys(outer, only)
    return placed, {name: _outer_part(name, placed) for name in outer}


def rank(part: str) -> int:
    """Return the position of a part between input and output."""
    return _ORDER.index(part) if part in _ORDER else len(_ORDER)


def n_shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the number of equal words at the start of two lists."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[._0-9]+", name.lower()) if word]


def part_in_words(name: str) -> str | None:
    """Return the part that a name refers to: a projector if any word does, else that of the first match."""
    words = _words(name)
    if any(word in _JOINTS for word in words):
        return "projector"
    return next((part for word in words for part, known in _WORDS.items() if word in known), None)


def _side(name: str) -> str | None:
    return next((word for word in _words(name) if word in ("encoder", "decoder")), None)


def _part_from_config(
    stack: Stack, known: set[str], config: Mapping[str, object], has_vocabulary: bool
) -> str:
    """Return the part of a stack whose name has no hint, in a model where other names have."""
    senses = {
        sense
        for key, value in config.items()
        if key.endswith("_config") and isinstance(value, dict) and (sense := part_in_words(key)) is not None
        if count_layers(cast("Mapping[str, object]", value)) == len(stack.blocks)
    }
    if len(senses) == 1:
        return senses.pop()
    if "language" not in known and has_vocabulary:
        return "language"
    return _side(stack.prefix) or "model"


def _only_part(stacks: Sequence[Stack], outer: Collection[str], has_vocabulary: bool) -> str:
    """Return the part of a model with only one."""
    lists = {word for stack in stacks for word in _words(stack.prefix)}
    if {"down", "up"} <= lists:
        return "unet"
    if has_vocabulary:
        return "language"
    looks = ("patch", *_WORDS["vision"])
    return "vision" if any(word in looks for name in outer for word in _words(name)) else "model"


def _outer_part(name: str, stacks: Sequence[Stack]) -> str:
    """Return the part of a tensor outside the stacks, in a model of several parts."""
    parts = {stack.part for stack in stacks}
    sense = part_in_words(name)
    is_joint = bool(parts & {"vision", "audio"}) or "projector" in parts
    if sense is not None and (sense in parts or (sense == "projector" and is_joint)):
        return sense
    nearest = _nearest(name, stacks)
    if nearest is not None:
        return nearest
    kind = find_kind(name, in_block=False)
    if is_joint:
        if kind == "other":
            return "other" if "logit" in _words(name) else "projector"
        return "language" if "language" in parts else "other"
    return "decoder" if kind == "head" and "decoder" in parts else "shared"


def _nearest(name: str, stacks: Sequence[Stack]) -> str | None:
    """Return the part of the stacks that share most leading modules with a name, if all are of one part."""
    modules = name.split(".")
    shared = {stack.prefix: n_shared(modules, stack.prefix.split(".")) for stack in stacks}
    most = max(shared.values())
    parts = {stack.part for stack in stacks if shared[stack.prefix] == most}
    return parts.pop() if most > 0 and len(parts) == 1 else None
