"""Call a strategy, possibly a user's own, and turn its exceptions into errors that name it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from kingyo.errors import KingyoError, crash
from kingyo.evolution.types import Search
from kingyo.user_code.timeout import TooSlowError, within_or_end

T = TypeVar("T")
FIX_STRATEGY = "Fix the strategy; kingyo.testing.strategies holds its contract. What was scored is stored."


def call_strategy(search: Search, name: str, call: Callable[[], T]) -> T:
    """Return the result of a call of a strategy.

    Args:
        search: search of the strategy, with the time limit of a call. If the strategy swallows the exception
            at the time limit, the process ends; all scores are stored.
        name: name of the method or property.
        call: calls it.

    Raises:
        KingyoError: the strategy's own, or one with its crash, file and line, or with the time limit.
    """
    argument = f"search '{search.name}': {name} of {type(search.strategy).__name__}"
    late = KingyoError(
        argument,
        expected=f"a call that returns within {search.timeout or 0:g} s (search.timeout)",
        received="one that does not",
        remedy=FIX_STRATEGY,
    )
    try:
        return within_or_end(search.timeout, call, late)
    except KingyoError:
        raise
    except TooSlowError as error:
        raise late from error
    except (Exception, SystemExit) as error:
        raise KingyoError(
            argument, expected="a call that succeeds", received=crash(error), remedy=FIX_STRATEGY
        ) from error
