"""Calls into a strategy, which may be a user's own: what it raises is one message that says what and where.

It knows no strategy, and not what the calls are for.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from kingyo.errors import KingyoError, crash

FIX = "Fix the strategy; kingyo.testing.strategies holds its contract. What was scored is stored."


@contextmanager
def called(search: str, strategy: object, name: str) -> Generator[None]:
    """Turn a crash within a call of a strategy into a clear error.

    Args:
        search: which search it is the strategy of.
        strategy: whose method or property is used.
        name: of that method or property.

    Raises:
        KingyoError: of the strategy, as it is; or with the crash, its file and its line.
    """
    try:
        yield
    except KingyoError:
        raise
    except (Exception, SystemExit) as error:
        raise KingyoError(
            f"search '{search}': {name} of {type(strategy).__name__}",
            expected="a call that succeeds",
            received=crash(error),
            remedy=FIX,
        ) from error
