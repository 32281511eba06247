"""A call that may not take for ever: a user's grader that hangs costs one candidate, and not the run.

On the main thread an alarm ends the call where it is, loops and waits alike; elsewhere (and on Windows) the
caller goes on without it. It knows no grader and no task.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from threading import Thread, current_thread, main_thread
from typing import TypeVar

T = TypeVar("T")
AGAIN = 1.0
"""Seconds after which the alarm rings again, for whoever swallowed the first."""


class TooSlowError(Exception):
    """The time was over before the call returned."""


class _Alarm(BaseException):
    """What ends the call: no `except Exception` of the user's own catches it."""


def within(seconds: float | None, call: Callable[[], T]) -> T:
    """Return what a call returns, or raise what it raises.

    Args:
        seconds: that it may take; None is any time.
        call: without arguments.

    Raises:
        TooSlowError: it did not return in time.
    """
    if seconds is None:
        return call()
    if current_thread() is main_thread() and hasattr(signal, "setitimer"):
        return _alarmed(seconds, call)
    return _left_behind(seconds, call)


def _alarmed(seconds: float, call: Callable[[], T]) -> T:
    def ring(*_: object) -> None:
        raise _Alarm

    before = signal.signal(signal.SIGALRM, ring)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
            return call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Alarm:
        raise TooSlowError from None
    finally:
        signal.signal(signal.SIGALRM, before)


def _left_behind(seconds: float, call: Callable[[], T]) -> T:
    """Wait for a thread of its own; one that is late is left to itself, and does not keep Python alive."""
    returned: list[T] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            returned.append(call())
        except BaseException as error:  # noqa: BLE001 (the caller raises it)
            raised.append(error)

    thread = Thread(target=work, name="kingyo-grader", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not returned:
        raise TooSlowError
    return returned[0]
