"""Find the levels and keys of a config.json that state the number of layers, in any architecture."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from kingyo.checkpoints.config_defaults import complete
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
    """A level of a config that describes a part's layers.

    Attributes:
        path: keys from the top of the config to the level.
        stated: its values, with transformers' defaults for missing keys.
        keys: the keys that state the number of layers.
        n: the number of layers.
    """

    path: tuple[str, ...]
    stated: Config
    keys: tuple[str, ...]
    n: int

    @property
    def sides(self) -> dict[str, object]:
        """Numbers of layers of encoder and decoder; a missing one defaults to the other."""
        return {
            key: value
            for key, value in self.stated.items()
            if any(side.fullmatch(key) for side in _SIDED.values()) and _is_count(value)
        }


def count_layers(config: Config) -> int | None:
    """Return the number of layers that a level of a config states, or None."""
    keys = _count_keys(config, "")
    return cast("int", config[keys[0]]) if keys else None


def find_levels(config: Config, part: str) -> list[Level]:
    """Return the levels of a config that describe a part's layers; the innermost is last.

    Raises:
        KingyoError: there is no such level.
    """
    full = complete(config)
    inner = [
        level
        for key in _INNER.get(part, ())
        if (level := _level((key,), config.get(key), full.get(key), part)) is not None
    ]
    outer = _level((), config, full, part) if part == "language" or not inner else None
    if inner and outer is not None and outer.n != inner[0].n:
        outer = None  # it describes another part
    levels = [outer, *inner] if outer is not None else inner
    if not levels:
        raise KingyoError(
            "config.json",
            expected=f"the number of layers of its {part} part",
            received="no key for it, such as num_hidden_layers",
            remedy="Merge complete models: layers of this one cannot be chosen.",
        )
    return levels


def _level(path: tuple[str, ...], written: object, filled: object, part: str) -> Level | None:
    if not isinstance(written, Mapping):
        return None
    defaults = cast("Config", filled if isinstance(filled, Mapping) else {})
    stated = {**defaults, **cast("Config", written)}
    keys = _count_keys(stated, part)
    return Level(path=path, stated=stated, keys=keys, n=cast("int", stated[keys[0]])) if keys else None


def _count_keys(config: Config, part: str) -> tuple[str, ...]:
    """Return the keys that state the number of layers: the first match, and all keys with its value."""
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
