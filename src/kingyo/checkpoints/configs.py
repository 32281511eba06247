"""Read a config.json with transformers' defaults, and adapt it to another size of the vocabulary."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import cast

from kingyo.errors import KingyoError

Config = Mapping[str, object]

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


def with_rows(config: Config, before: int, now: int) -> dict[str, object]:
    """Return a config with ``now`` in place of ``before`` rows of the vocabulary."""
    changed: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            changed[key] = with_rows(cast("Config", value), before, now)
            continue
        changed[key] = now if _SIZE.fullmatch(key) and value == before else value
        tokens = cast("list[object]", value if isinstance(value, list) else [value])
        if _TOKEN.fullmatch(key) and any(isinstance(token, int) and token >= now for token in tokens):
            raise KingyoError(
                f"{key} in config.json",
                expected=f"a token below {now}, the smallest vocabulary",
                received=f"{value!r}",
                remedy="Set resize: pad-vocab, which keeps all tokens.",
            )
    return changed
