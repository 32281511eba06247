"""Contract tests for authors of plug-ins to subclass."""

from collections.abc import Callable


def raises(error: type[Exception], call: Callable[[], object]) -> bool:
    """Return whether a call raises this error."""
    try:
        call()
    except error:
        return True
    return False
