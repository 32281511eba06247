"""The mistakes of a recipe as data, for tables of bad input."""

from collections.abc import Callable

import pytest

from kingyo.errors import KingyoError, MistakesError


def mistakes(read: Callable[[], object], where: str) -> list[tuple[str, str]]:
    """Return (argument, received) of every mistake, without the file ``where`` in the argument."""
    with pytest.raises(KingyoError) as caught:
        read()
    error = caught.value
    errors = error.mistakes if isinstance(error, MistakesError) else (error,)
    return [(each.argument.removeprefix(where).removeprefix(": "), each.received) for each in errors]
