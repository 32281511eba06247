"""Compare the text config of a multimodal model with a language model's config: which differences matter?

A class of transformers for the text of one family may state what another leaves out, and configs keep keys
that nothing reads. With the same weights, layers differ only in keys that are read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import cast

from kingyo.checkpoints.configs import Config, complete

_TEXTS = ("text_config", "llm_config", "language_config")
_WINDOW = re.compile(r"(use_)?sliding_window|max_window_layers|layer_types")
_OF_IMAGES = re.compile(r"mrope_\w+|type")
"""Keys that place images, which leave text where it is; and ``type``, the old ``rope_type``."""


def text_config(config: Config) -> Config:
    """Return what a config states about the language part, also if it is mixed with the other parts."""
    inner = _inner(config) or _inner(complete(config))
    return inner or {key: value for key, value in config.items() if not key.endswith("_config")}


def known_keys(config: Config) -> Collection[str] | None:
    """Return the keys that transformers reads; None if it does not know the architecture."""
    bare = complete({"model_type": config.get("model_type")})
    return bare.keys() if len(bare) > 1 else None


def matters(key: str, one: Config, other: Config) -> bool:
    """Return whether a difference between two complete, flat text configs affects the language part.

    Args:
        key: a key that differs, with the levels above it.
        one: the config of a multimodal model's language part, or of a language model.
        other: the other of them.
    """
    last = key.rpartition(".")[2]
    if key == "model_type":
        return not _is_named_after(one, other) and not _is_named_after(other, one)
    if _WINDOW.fullmatch(last):
        return not (_attends_to_all(one) and _attends_to_all(other))
    if _OF_IMAGES.fullmatch(last) and None in (one.get(key), other.get(key)):
        return False
    return any(each.get(key) is not None and _is_read(key, each) for each in (one, other))


def _inner(config: Config) -> Config | None:
    inner = next((config[key] for key in _TEXTS if isinstance(config.get(key), Mapping)), None)
    return cast("Config | None", inner)


def _is_named_after(one: Config, other: Config) -> bool:
    """Return whether a model's type is made of the other's, as qwen2_vl_text of qwen2."""
    return f"{one.get('model_type')}".startswith(f"{other.get('model_type')}_")


def _attends_to_all(config: Config) -> bool:
    kinds = config.get("layer_types")
    if isinstance(kinds, list):
        return all(kind == "full_attention" for kind in cast("list[object]", kinds))
    return config.get("sliding_window") is None


def _is_read(key: str, config: Config) -> bool:
    known = known_keys(config)
    return known is None or key.partition(".")[0] in known
