"""Call a strategy, possibly a user's own, and turn its exceptions into errors that name it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from kingyo.errors import KingyoError, crashes_as_errors
from kingyo.evolution.types import Search
from kingyo.user_code.timeout import TooSlowError, within_on_main

T = TypeVar("T")
FIX_STRATEGY = "Fix the strategy; kingyo.testing.strategies holds its contract. What was scored is stored."


def call_strategy(search: Search, name: str, call: Callable[[], T]) -> T:
    """Return the result of a call of a strategy.

    Args:
        search: search of the strategy, with the time limit of a call.
        name: name of the method or property.
        call: calls it.

    Raises:
        KingyoError: the strategy's own, or one with its crash, file and line, or with the time limit.
    """
    argument = f"search '{search.name}': {name} of {type(search.strategy).__name__}"
    with crashes_as_errors(argument, expected="a call that succeeds", remedy=FIX_STRATEGY):
        try:
            return within_on_main(search.timeout, call)
        except TooSlowError as error:
            raise KingyoError(
                argument,
                expected=f"a call that returns within {search.timeout:g} s (search.timeout)",
                received="one that does not",
                remedy=FIX_STRATEGY,
            ) from error
