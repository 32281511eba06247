"""The config of a model whose layers were sliced: how many there are, and what it says of each.

It knows keys of config.json that count layers, and no tensor.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from kingyo.checkpoints import Checkpoint, Stack
from kingyo.errors import KingyoError

_COUNT = re.compile(
    r"((en|de)coder_)?(num_(hidden_)?layers|num_(en|de)coder_layers|n_layers?|layers|depth|num_blocks)"
)
_WORDS = {
    "language": ("text", "language", "llm"),
    "vision": ("vision", "visual"),
    "audio": ("audio", "speech"),
}


def with_layers(
    config: Mapping[str, object],
    stack: Stack,
    picked: Sequence[tuple[str, int]],
    opened: Mapping[str, Checkpoint],
) -> Mapping[str, object]:
    """A config that speaks of other layers.

    Args:
        config: of the model that the output is like.
        stack: that model's layers.
        picked: reference and number of the layer that each of the output is like.
        opened: the models.

    Returns:
        A copy, in which the number of layers, and lists with an entry for each, are those of the output.

    Raises:
        KingyoError: the config does not say how many layers it has.
    """
    old = len(stack.blocks)
    found = [(level, key) for level, key in _counts(config) if _level(config, level)[key] == old]
    words = _WORDS.get(stack.part, (stack.part,))
    best = [each for each in found if any(word in f"{each[0]} {each[1]}" for word in words)] or found
    if not best:
        raise KingyoError(
            "config.json",
            expected=f"a key that says {old}, the number of layers of {stack.prefix}",
            received="none",
            remedy="Correct the config of the model, or merge it as a whole, below models:.",
        )
    changed = dict(config)
    for level in dict.fromkeys(level for level, _ in best):
        here = dict(_level(config, level))
        here |= {key: len(picked) for its, key in best if its == level}
        for key, value in here.items():
            if isinstance(value, list) and len(cast("list[object]", value)) == old:
                here[key] = [
                    _entry(opened[reference].config, level, key, number) for reference, number in picked
                ]
        changed = here if level == "" else changed | {level: here}
    return changed


def _counts(config: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Level and key of all that counts layers: at the top, and in the configs of parts."""
    levels = ["", *(key for key, value in config.items() if isinstance(value, dict))]
    for level in levels:
        for key, value in _level(config, level).items():
            if _COUNT.fullmatch(key) and type(value) is int:
                yield level, key


def _level(config: Mapping[str, object], level: str) -> Mapping[str, object]:
    inner = config.get(level) if level else config
    return cast("Mapping[str, object]", inner) if isinstance(inner, Mapping) else {}


def _entry(config: Mapping[str, object], level: str, key: str, number: int) -> object:
    entries = _level(config, level).get(key)
    if not isinstance(entries, list) or number >= len(cast("list[object]", entries)):
        raise KingyoError(
            f"config.json: {key}",
            expected=f"an entry for layer {number}",
            received="none",
            remedy="Take slices of models of one architecture.",
        )
    return cast("list[object]", entries)[number]
