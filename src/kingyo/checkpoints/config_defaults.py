"""Fill in transformers' defaults for keys that a config.json lacks.

This imports transformers, which is slow: call it only when a missing key matters.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import cast


def complete(config: Mapping[str, object]) -> Mapping[str, object]:
    """Return a config with transformers' defaults; unchanged if transformers does not know its type."""
    return _complete(json.dumps(config, sort_keys=True)) or config


def default_of(config: Mapping[str, object], key: str) -> object:
    """Return the value that transformers uses for a key; None if it does not know the key or the type."""
    return complete(config).get(key)


@lru_cache(maxsize=64)
def _complete(written: str) -> Mapping[str, object] | None:
    config = cast("dict[str, object]", json.loads(written))
    try:
        return build(config)
    except Exception:  # noqa: BLE001 - loading the model reports a config that transformers refuses
        return None


def build(config: Mapping[str, object]) -> Mapping[str, object] | None:
    """Return a config as transformers reads it, with all errors of its own; None for an unknown type."""
    from transformers import CONFIG_MAPPING, PretrainedConfig
    from transformers.utils import logging

    kind = config.get("model_type")
    classes = cast("Mapping[str, type[PretrainedConfig]]", CONFIG_MAPPING)
    if not isinstance(kind, str) or kind not in classes:
        return None
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings(action="ignore"):
            parsed = classes[kind].from_dict(dict(config))  # pyright: ignore[reportUnknownMemberType]
            return cast("dict[str, object]", parsed.to_dict())
    finally:
        logging.set_verbosity(level)
