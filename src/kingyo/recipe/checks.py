"""What every part of a recipe's reading needs: known keys, texts, mappings and lists, or one clear error.

It knows no key of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import cast

from kingyo.errors import KingyoError, nearest, suggest

_NUMBERS = frozenset({"seed", "layer_range"})
"""The keys that stand beside ``parameters`` and hold numbers."""


def mapping(value: object, where: str, remedy: str) -> Mapping[str, object]:
    """The value as a mapping.

    Raises:
        KingyoError: it is none.
    """
    if not isinstance(value, Mapping):
        raise KingyoError(where, expected="a mapping", received=short(value), remedy=remedy)
    return cast("Mapping[str, object]", value)


def items(value: object, where: str, what: str, remedy: str) -> Sequence[object]:
    """The value as a list that is not empty.

    Raises:
        KingyoError: it is none, or empty.
    """
    if not isinstance(value, list | tuple) or not value:
        raise KingyoError(
            where, expected=f"a list of {what}", received=short(cast("object", value)), remedy=remedy
        )
    return cast("Sequence[object]", value)


def check_keys(data: Mapping[str, object], known: Sequence[str], where: str) -> None:
    """Refuse keys that nobody knows; the nearest known ones are suggested.

    Raises:
        KingyoError: such keys, all of them.
    """
    odd = [str(key) for key in data if key not in known]
    if not odd:
        return
    remedies = [_remedy(key, data[key], known) for key in data if key not in known]
    if len(set(remedies)) > 1:
        remedies = [f"'{key}': {remedy}" for key, remedy in zip(odd, remedies, strict=True)]
    received = ", ".join(f"'{key}'" for key in odd)
    remedy = " ".join(dict.fromkeys(remedies))
    raise KingyoError(where, expected="known keys", received=received, remedy=remedy)


def with_meant(
    data: Mapping[str, object], needed: Collection[str], known: Collection[str]
) -> Mapping[str, object]:
    """Add keys that are needed and stand there misspelt, so that what is below them is looked at too."""
    odd = {str(key): value for key, value in data.items() if key not in known}
    meant = {near: value for key, value in odd.items() if (near := nearest(key, known)) in needed and near}
    return {**meant, **data}


def _is_number(value: object) -> bool:
    """Whether it is one, or a gradient of them."""
    listed = cast("list[object]", value) if isinstance(value, list) else [value]
    return bool(listed) and all(isinstance(each, int | float) for each in listed)


def _remedy(key: object, value: object, known: Sequence[str]) -> str:
    """A number beside ``parameters:`` is most often meant to be one of them."""
    if "sources" in known and key in {"model", "layer_range"}:
        return "It belongs to a source of the slice: `sources: [{model: …, layer_range: […]}]`."
    if "parameters" not in known or not _is_number(value):
        return suggest(str(key), known)
    near = suggest(str(key), _NUMBERS.intersection(known))  # keys of other kinds were not meant
    advice = f"A parameter of the method belongs below parameters:, as `parameters: {{{key}: …}}`."
    return near if near.startswith("Did you mean") else advice


def text(data: Mapping[str, object], key: str, where: str) -> str | None:
    """The text under a key, or None.

    Raises:
        KingyoError: something else than text.
    """
    value = data.get(key)
    if value is not None and not isinstance(value, str):
        raise KingyoError(
            f"{where}: {key}",
            expected="text",
            received=short(value),
            remedy=f"Write one text after {key}:, in quotes if it looks like a number.",
        )
    return value


def check_word(value: str | None, known: Collection[str], key: str, what: str) -> None:
    """Refuse a word that is none of these; None is fine.

    Raises:
        KingyoError: another word; the nearest is suggested.
    """
    if value is not None and value not in known:
        raise KingyoError(key, expected=what, received=f"'{value}'", remedy=suggest(value, known))


def short(value: object, limit: int = 80) -> str:
    """A value as messages show it."""
    if value is None:
        return "nothing"
    shown = repr(value)
    return shown if len(shown) <= limit else f"{shown[:limit]}…"
