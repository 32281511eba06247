"""Where a config.json says how many layers a model has: in which level of it, under which keys.

Keys are recognised by their names and values, in any architecture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from kingyo.checkpoints.defaults import complete
from kingyo.errors import KingyoError

Config = Mapping[str, object]

_COUNT = re.compile(r"num_hidden_layers|num_layers|n_layers?|layers|depth|num_blocks")
_SIDED = {
    side: re.compile(rf"(num_)?{side}_layers|{side}_num(_hidden)?_layers") for side in ("encoder", "decoder")
}
_INNER: Mapping[str, tuple[str, ...]] = {
    "language": ("text_config", "llm_config", "language_config"),
    "vision": ("vision_config",),
    "audio": ("audio_config",),
    "encoder": ("encoder",),
    "decoder": ("decoder",),
}


@dataclass(frozen=True, kw_only=True)
class Level:
    """A level of a config that speaks of a part's layers.

    Attributes:
        path: of keys, from the top.
        stated: what stands there, with transformers' defaults where it is silent.
        keys: those that hold the number of layers.
        n: that number.
    """

    path: tuple[str, ...]
    stated: Config
    keys: tuple[str, ...]
    n: int

    @property
    def sides(self) -> dict[str, object]:
        """The layers of an encoder and of its decoder: a config that is silent on one means the other's."""
        return {
            key: value
            for key, value in self.stated.items()
            if any(side.fullmatch(key) for side in _SIDED.values()) and _is_count(value)
        }


def count_layers(config: Config) -> int | None:
    """The number of layers that one level of a config states; None when it states none."""
    keys = _count_keys(config, "")
    return cast("int", config[keys[0]]) if keys else None


def find_levels(config: Config, part: str) -> list[Level]:
    """The levels of a config that speak of a part's layers; the innermost is last.

    Raises:
        KingyoError: none does.
    """
    full = complete(config)
    inner = [
        level
        for key in _INNER.get(part, ())
        if (level := _level((key,), config.get(key), full.get(key), part)) is not None
    ]
    outer = _level((), config, full, part) if part == "language" or not inner else None
    if inner and outer is not None and outer.n != inner[0].n:
        outer = None  # what it counts is another part's
    found = [outer, *inner] if outer is not None else inner
    if not found:
        raise KingyoError(
            "config.json",
            expected=f"the number of layers of its {part} part",
            received="none of the keys that hold it, such as num_hidden_layers",
            remedy="Merge whole models: layers of this one cannot be chosen.",
        )
    return found


def _level(path: tuple[str, ...], written: object, filled: object, part: str) -> Level | None:
    if not isinstance(written, Mapping):
        return None
    defaults = cast("Config", filled if isinstance(filled, Mapping) else {})
    stated = {**defaults, **cast("Config", written)}
    keys = _count_keys(stated, part)
    return Level(path=path, stated=stated, keys=keys, n=cast("int", stated[keys[0]])) if keys else None


def _count_keys(config: Config, part: str) -> tuple[str, ...]:
    """The keys that hold the number of layers; the first that is found decides which number it is."""
    for pattern in _patterns(part):
        counts = {key: value for key, value in config.items() if pattern.fullmatch(key) and _is_count(value)}
        if counts:
            first = next(iter(counts.values()))
            return tuple(key for key, value in counts.items() if value == first)
    return ()


def _patterns(part: str) -> Iterator[re.Pattern[str]]:
    if part in _SIDED:
        yield _SIDED[part]
    yield _COUNT
    if part == "language":
        yield _SIDED["decoder"]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
