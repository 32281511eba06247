"""What transformers takes for the keys that a config.json does not state.

It imports transformers, which takes a while: ask only where a config is silent and its silence matters.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import cast


def complete(config: Mapping[str, object]) -> Mapping[str, object]:
    """The config with transformers' defaults for its type; as it is when transformers does not know that."""
    return _complete(json.dumps(config, sort_keys=True)) or config


def default_of(config: Mapping[str, object], key: str) -> object:
    """What transformers takes for a key; None when it knows neither the key nor the type."""
    return complete(config).get(key)


@lru_cache(maxsize=64)
def _complete(written: str) -> Mapping[str, object] | None:
    config = cast("dict[str, object]", json.loads(written))
    try:
        return build(config)
    except Exception:  # noqa: BLE001 - a config that transformers refuses has no defaults; others say why
        return None


def build(config: Mapping[str, object]) -> Mapping[str, object] | None:
    """Let transformers read a config; None when it does not know the type. It raises what it raises."""
    from transformers import CONFIG_MAPPING, PretrainedConfig
    from transformers.utils import logging

    kind = config.get("model_type")
    known = cast("Mapping[str, type[PretrainedConfig]]", CONFIG_MAPPING)
    if not isinstance(kind, str) or kind not in known:
        return None
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings(action="ignore"):
            read = known[kind].from_dict(dict(config))  # pyright: ignore[reportUnknownMemberType]
            return cast("dict[str, object]", read.to_dict())
    finally:
        logging.set_verbosity(level)
