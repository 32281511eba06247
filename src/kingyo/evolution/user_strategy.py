"""Calls into a strategy, which may be a user's own: what it raises is one message that says what and where.

It knows no strategy, and not what the calls are for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from kingyo.errors import KingyoError, crash
from kingyo.evolution.types import Search
from kingyo.user_code.timeout import TooSlowError, within_or_end

T = TypeVar("T")
FIX_STRATEGY = "Fix the strategy; kingyo.testing.strategies holds its contract. What was scored is stored."


def call_strategy(search: Search, name: str, call: Callable[[], T]) -> T:
    """Return what a call of a strategy returns; turn its crash, or its hanging, into a clear error.

    Args:
        search: whose strategy it is, and how long a call may take. One that swallows every exception is
            ended with the process: all that was scored is stored.
        name: of the method or property that is used.
        call: uses it.

    Raises:
        KingyoError: of the strategy, as it is; or with the crash, its file and its line.
    """
    where = f"search '{search.name}': {name} of {type(search.strategy).__name__}"
    late = KingyoError(
        where,
        expected=f"a call that returns within {search.timeout or 0:g} s (search.timeout)",
        received="none that did",
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
            where,
            expected="a call that succeeds",
            received=crash(error),
            remedy=FIX_STRATEGY,
        ) from error
