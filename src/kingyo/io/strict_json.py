"""JSON whose objects have each key once. Python's parser keeps the last value and drops the others."""

from __future__ import annotations

import json


def parse_json(text: str | bytes) -> object:
    """Parse JSON.

    Raises:
        ValueError: it is invalid, or an object has a key twice.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=distinct)


def distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object of some pairs, for ``object_pairs_hook``.

    Raises:
        ValueError: a key occurs twice.
    """
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r:.200} twice")
    return members
