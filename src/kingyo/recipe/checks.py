"""Checks that all parsers of recipes share: known keys, texts, mappings and lists."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import cast

from kingyo.errors import KingyoError, nearest, suggest, unknown

_NUMBERS = frozenset({"seed", "layer_range"})
"""Keys on the level of ``parameters`` that hold numbers."""


def mapping(value: object, where: str, remedy: str) -> Mapping[str, object]:
    """Return a value that is a mapping.

    Raises:
        KingyoError: the value is not a mapping.
    """
    if not isinstance(value, Mapping):
        raise KingyoError(where, expected="a mapping", received=short(value), remedy=remedy)
    return cast("Mapping[str, object]", value)


def items(value: object, where: str, what: str, remedy: str) -> Sequence[object]:
    """Return a value that is a non-empty list.

    Raises:
        KingyoError: the value is not a list, or is empty.
    """
    if not isinstance(value, list | tuple) or not value:
        raise KingyoError(
            where, expected=f"a list of {what}", received=short(cast("object", value)), remedy=remedy
        )
    return cast("Sequence[object]", value)


def check_keys(data: Mapping[str, object], known: Sequence[str], where: str) -> None:
    """Check that all keys are known.

    Raises:
        KingyoError: some keys are unknown; the message names all of them and suggests the nearest known ones.
    """
    strange = [str(key) for key in data if key not in known]
    if not strange:
        return
    remedies = [_remedy(key, data[key], known) for key in data if key not in known]
    if len(set(remedies)) > 1:
        remedies = [f"'{key}': {remedy}" for key, remedy in zip(strange, remedies, strict=True)]
    received = ", ".join(f"'{key}'" for key in strange)
    remedy = " ".join(dict.fromkeys(remedies))
    raise KingyoError(where, expected="a known key", received=received, remedy=remedy)


def with_meant(
    data: Mapping[str, object], needed: Collection[str], known: Collection[str]
) -> Mapping[str, object]:
    """Add needed keys that are misspelt under their right names, so that their values are checked, too."""
    misspelt = {str(key): value for key, value in data.items() if key not in known}
    meant = {
        near: value for key, value in misspelt.items() if (near := nearest(key, known)) in needed and near
    }
    return {**meant, **data}


def _is_number(value: object) -> bool:
    """Return whether a value is a number or a gradient of numbers."""
    listed = cast("list[object]", value) if isinstance(value, list) else [value]
    return bool(listed) and all(isinstance(each, int | float) for each in listed)


def _remedy(key: object, value: object, known: Sequence[str]) -> str:
    """Return the remedy for an unknown key; a number on the level of ``parameters`` is probably one."""
    if "sources" in known and key in {"model", "layer_range"}:
        return "Move it to a source of the slice: `sources: [{model: …, layer_range: […]}]`."
    if "parameters" not in known or not _is_number(value):
        return suggest(str(key), known)
    near = suggest(str(key), _NUMBERS.intersection(known))  # other keys do not hold numbers
    advice = f"Move a parameter of the method below parameters:, as `parameters: {{{key}: …}}`."
    return near if near.startswith("Did you mean") else advice


def text(data: Mapping[str, object], key: str, where: str) -> str | None:
    """Return the text under a key, or None.

    Raises:
        KingyoError: the value is not a text.
    """
    value = data.get(key)
    if value is not None and not isinstance(value, str):
        raise KingyoError(
            f"{where}: {key}",
            expected="text",
            received=short(value),
            remedy=f"Write a text after {key}:, in quotes if it looks like a number.",
        )
    return value


def check_word(value: str | None, known: Collection[str], key: str) -> None:
    """Check that a word is known; None is allowed.

    Raises:
        KingyoError: the word is unknown; the message suggests the nearest.
    """
    if value is not None and value not in known:
        raise unknown(key, value, known)


def short(value: object, limit: int = 80) -> str:
    """Format a value for messages, cut to ``limit`` characters."""
    if value is None:
        return "nothing"
    shown = repr(value)
    return shown if len(shown) <= limit else f"{shown[:limit]}…"
