"""Read a config.json with transformers' defaults; adapt it to another vocabulary, or to new layers.

Layers may repeat, be reordered, or come from other models. Each layer keeps its kind (sliding attention,
dense or sparse). Configs that cannot express the new sequence, since they state kinds by a rule (every second
layer, the first three), are refused.
"""

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from kingyo.core.io.extras import quiet
from kingyo.core.io.units import counted
from kingyo.errors import KingyoError

Config = Mapping[str, object]
Chosen = int | tuple[Config, int]
"""A layer's number, or another model's config and its layer's number."""

_PLACES = re.compile(r"_only_layers$|_layer_ids$|_idxs?$|_indices$|^moe_layers$|^cross_attention_layers$")
_BY_LAYER = re.compile(r"layer|block|pattern|_types$")
_OF_OTHERS = re.compile(r"^(mtp|vision|audio|image|visual)_|^_?out_|feature|deepstack|architectures")
_FIRST = re.compile(r"first_k_dense_replace|num_dense_layers")
_LAST = re.compile(r"num_kv_shared_layers")
_EVERY = re.compile(r"decoder_sparse_step|moe_layer_freq|(\w+_)?layer_(interval|step|period)")
_EVERY_LISTED = re.compile(r"_?sliding_window_pattern|full_attention_interval|no_rope_layer_interval")
"""Keys that transformers expands into a list with one entry per layer."""
_FROM_LISTS = re.compile(rf"{_EVERY_LISTED.pattern}|max_window_layers|use_sliding_window")
"""Keys that such a list overrides."""

_COUNT = re.compile(r"num_hidden_layers|num_layers|n_layers?|layers|depth|num_blocks")
_SIDED = {
    side: re.compile(rf"(num_)?{side}_layers|{side}_num(_hidden)?_layers") for side in ("encoder", "decoder")
}
TEXTS = ("text_config", "llm_config", "language_config")
"""Keys of the config of the language model inside another model."""
_INNER: Mapping[str, tuple[str, ...]] = {
    "language": TEXTS,
    "vision": ("vision_config",),
    "audio": ("audio_config",),
    "encoder": ("encoder",),
    "decoder": ("decoder",),
}
_SIZE = re.compile(r"\w*vocab_size")
_TOKEN = re.compile(r"\w*_token_(id|index)")


def complete(config: Config) -> Config:
    """Return a config with transformers' defaults; unchanged if transformers does not know its type.

    This imports transformers, which is slow: call it only when a missing key matters.
    """
    return _complete(json.dumps(config, sort_keys=True)) or config


@lru_cache(maxsize=64)
def _complete(written: str) -> Config | None:
    config = cast("dict[str, object]", json.loads(written))
    try:
        return build(config)
    except Exception:  # noqa: BLE001 - loading the model reports a config that transformers refuses
        return None


def build(config: Config) -> Config | None:
    """Return a config as transformers reads it, with all errors of its own; None for an unknown type."""
    from transformers import CONFIG_MAPPING, PretrainedConfig

    kind = config.get("model_type")
    classes = cast("Mapping[str, type[PretrainedConfig]]", CONFIG_MAPPING)
    if not isinstance(kind, str) or kind not in classes:
        return None
    with quiet("transformers"), warnings.catch_warnings(action="ignore"):
        parsed = classes[kind].from_dict(dict(config))  # pyright: ignore[reportUnknownMemberType]
        return cast("dict[str, object]", parsed.to_dict())


def with_rows(config: Config, before: int, now: int) -> dict[str, object]:
    changed: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            changed[key] = with_rows(cast("Config", value), before, now)
            continue
        changed[key] = now if _SIZE.fullmatch(key) and value == before else value
        tokens = cast("list[object]", value if isinstance(value, list) else [value])
        if _TOKEN.fullmatch(key) and any(isinstance(token, int) and token >= now for token in tokens):
            expected = f"a token below {now}, the smallest vocabulary"
            remedy = "Set resize: pad-vocab, which keeps all tokens."
            raise KingyoError(f"{key} in config.json", expected, f"{value!r}", remedy)
    return changed


@dataclass(frozen=True, kw_only=True)
class Level:
    """A level of a config that describes a part's ``n`` layers, with transformers' defaults.

    ``path`` are the keys from the top of the config; ``keys`` those that state the number of layers.
    """

    path: tuple[str, ...]
    stated: Config
    keys: tuple[str, ...]
    n: int

    def entries(self, key: str) -> Sequence[object]:
        """Return the value of a key if it has one entry per layer, else nothing."""
        value = self.stated.get(key)
        is_list = isinstance(value, list | tuple) or (isinstance(value, str) and "pattern" in key)
        entries = cast("Sequence[object]", value) if is_list and _BY_LAYER.search(key) else ()
        return entries if len(entries) == self.n else ()

    def places(self, key: str) -> Sequence[object] | None:
        """Return the value of a key if it is a list of layers, else None."""
        value = self.stated.get(key)
        places = cast("Sequence[object]", value) if isinstance(value, list | tuple) else (None,)
        is_list = _PLACES.search(key) and all(isinstance(each, int) and 0 <= each < self.n for each in places)
        return places if is_list else None

    @property
    def is_listed(self) -> bool:
        return any(self.entries(key) for key in self.stated)


def count_layers(config: Config) -> int | None:
    keys = _count_keys(config, "")
    return cast("int", config[keys[0]]) if keys else None


def find_levels(config: Config, part: str) -> list[Level]:
    """Return the levels of a config that describe a part's layers; the innermost is last."""
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
        expected = f"the number of layers of its {part} part"
        remedy = "Merge complete models: layers of this one cannot be chosen."
        raise KingyoError("config.json", expected, "no key for it, such as num_hidden_layers", remedy)
    return levels


def _level(path: tuple[str, ...], written: object, filled: object, part: str) -> Level | None:
    if not isinstance(written, Mapping):
        return None
    defaults = cast("Config", filled if isinstance(filled, Mapping) else {})
    stated = {**defaults, **cast("Config", written)}
    keys = _count_keys(stated, part)
    return Level(path=path, stated=stated, keys=keys, n=cast("int", stated[keys[0]])) if keys else None


def _count_keys(config: Config, part: str) -> tuple[str, ...]:
    last = [_SIDED["decoder"]] if part == "language" else []
    for pattern in (*([_SIDED[part]] if part in _SIDED else []), _COUNT, *last):
        counts = {key: value for key, value in config.items() if pattern.fullmatch(key) and _is_count(value)}
        if counts:
            first = next(iter(counts.values()))
            return tuple(key for key, value in counts.items() if value == first)
    return ()


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


_Layer = tuple[Level, int]
"""The level of its model's config that describes a layer, and the layer's number."""


def with_layers(config: Config, chosen: Sequence[Chosen], part: str = "language") -> dict[str, object]:
    """Return the config of a model with a new sequence of layers of a part; see ``Layout.parts``.

    ``config`` gives everything but the layers. Kinds of layers that it cannot express are an error.
    """
    levels = find_levels(config, part)
    layers: list[_Layer] = []
    for each in chosen:
        source, number = (config, each) if isinstance(each, int) else each
        level = find_levels(source, part)[-1]
        if not 0 <= number < level.n:
            remedy = f"Choose one of its {counted(level.n, 'layer')}; the first is 0."
            raise KingyoError("slices", f"a layer from 0 to {level.n - 1}", str(number), remedy)
        layers.append((level, number))
    if not layers:
        raise KingyoError("slices", "at least one layer", "none", "Choose layers for the new model.")
    changed = deepcopy(dict(config))
    for level in levels:
        inner = _inside(changed, level.path)
        wanted = _wanted(level, layers)
        for key, value in level.stated.items():  # of encoder and decoder, where one defaults to the other
            if any(side.fullmatch(key) for side in _SIDED.values()) and _is_count(value):
                inner[key] = value
        inner.update(dict.fromkeys(level.keys, len(layers)))
        inner.update({key: value for key, value in wanted.items() if key in inner})
        full = _inside(dict(complete(changed)), level.path)
        inner.update({key: value for key, value in wanted.items() if key in full and full[key] != value})
    try:
        build(changed)
    except Exception as error:  # transformers raises errors of several types
        expected = "a config with the chosen layers that transformers can load"
        received = f"{type(error).__name__}: {str(error).strip().splitlines()[0]:.200}"
        remedy = "Choose other slices, which this architecture allows."
        raise KingyoError("config.json", expected, received, remedy) from error
    return changed


def kept_by_layers(config: Config, part: str = "language") -> frozenset[str]:
    """Return the keys whose values may differ between models, since ``with_layers`` keeps them per layer."""
    return frozenset(
        key
        for level in find_levels(config, part)
        for key in level.stated
        if key in level.keys
        or level.places(key) is not None
        or level.entries(key)
        or _FIRST.fullmatch(key)
        or (_FROM_LISTS.fullmatch(key) and level.is_listed)
    )


def _wanted(level: Level, layers: Sequence[_Layer]) -> dict[str, object]:
    values: dict[str, object] = {}
    for key, value in level.stated.items():
        if _OF_OTHERS.search(key) or key in level.keys:
            continue
        if level.places(key) is not None:
            values[key] = [i for i, (own, number) in enumerate(layers) if number in (own.places(key) or ())]
        elif level.entries(key):
            entries = [own.entries(key)[number] if own.entries(key) else None for own, number in layers]
            values[key] = "".join(cast("list[str]", entries)) if isinstance(value, str) else entries
        elif _FIRST.fullmatch(key) and isinstance(value, int):
            are_first = [number < cast("int", own.stated.get(key, 0)) for own, number in layers]
            if are_first != sorted(are_first, reverse=True):
                raise _order_error(key, f"the first {value} layers before all others")
            values[key] = sum(are_first)
        elif isinstance(value, int):
            _check_order(key, value, level, layers)
    return values


def _check_order(key: str, value: int, level: Level, layers: Sequence[_Layer]) -> None:
    if _LAST.fullmatch(key) and value > 0:
        are_last = [number >= own.n - value for own, number in layers]
        if are_last != [place >= len(layers) - value for place in range(len(layers))]:
            raise _order_error(key, f"all of the last {value} layers after all others")
    is_pattern = not level.is_listed if _EVERY_LISTED.fullmatch(key) else _EVERY.fullmatch(key)
    if value > 1 and is_pattern and any((number - i) % value for i, (_, number) in enumerate(layers)):
        raise _order_error(key, f"layers that keep their places in a pattern of every {value}")


def _order_error(key: str, expected: str) -> KingyoError:
    received = "another order of layers, which this key cannot express"
    return KingyoError(f"{key} in config.json", expected, received, "Choose layers that keep the order.")


def _inside(config: dict[str, object], path: tuple[str, ...]) -> dict[str, object]:
    for key in path:
        config = cast("dict[str, object]", config.get(key) or {})
    return config
