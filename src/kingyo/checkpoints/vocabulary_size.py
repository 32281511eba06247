"""Adapt a config to another size of the vocabulary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from kingyo.errors import KingyoError

_SIZE = re.compile(r"\w*vocab_size")
_TOKEN = re.compile(r"\w*_token_(id|index)")


def with_rows(config: Mapping[str, object], before: int, now: int) -> dict[str, object]:
    """Return a config with ``now`` in place of ``before`` rows of the vocabulary.

    Raises:
        KingyoError: a special token of the config would be cut off.
    """
    changed: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            changed[key] = with_rows(cast("Mapping[str, object]", value), before, now)
        else:
            changed[key] = now if _SIZE.fullmatch(key) and value == before else value
            _check_token(key, value, now)
    return changed


def _check_token(key: str, value: object, rows: int) -> None:
    numbers = cast("list[object]", value) if isinstance(value, list) else [value]
    for number in numbers:
        if _TOKEN.fullmatch(key) and isinstance(number, int) and number >= rows:
            raise KingyoError(
                f"{key} in config.json",
                expected=f"a token below {rows}, the smallest vocabulary",
                received=str(number),
                remedy="Set resize: pad-vocab, which keeps all tokens.",
            )
