"""How combinators make the strategy within them: what is wrong with it is told by where the user wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kingyo.errors import KingyoError
from kingyo.strategies import build
from kingyo.types import Axis, Strategy

_OUTER, _INNER = "search.settings", "search.settings.settings"


def build_within(
    name: str, axes: Sequence[Axis], seed: int, options: Mapping[str, object] | None
) -> Strategy:
    """Make a strategy that is named by ``search.settings.strategy``, with ``search.settings.settings``.

    Raises:
        KingyoError: as ``build`` does, with these two as its place.
    """
    try:
        return build(name, axes, seed, options or {})
    except KingyoError as error:
        raise KingyoError(
            _place(error.argument),
            expected=error.expected,
            received=error.received,
            remedy=error.remedy.replace(_OUTER, _INNER),
        ) from error


def _place(argument: str) -> str:
    if argument == "strategy":
        return f"{_OUTER}.strategy"
    if argument.startswith(_OUTER):
        return argument.replace(_OUTER, _INNER)
    is_setting = argument.isidentifier() and argument not in ("axes", "seed")
    return f"{_INNER}.{argument}" if is_setting else argument
