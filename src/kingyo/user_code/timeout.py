"""A call that may not take for ever: a template or a strategy that hangs costs an error, and not the run.

On the main thread an alarm ends the call where it is, loops and waits alike; elsewhere (and on Windows) the
caller goes on without it. Code that swallows alarms needs a process of its own, as graders have, or costs
this one, see ``within_or_end``. It knows no grader, no task and no strategy.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread, Timer, current_thread, main_thread
from typing import TypeVar

T = TypeVar("T")
AGAIN = 1.0
"""Seconds after which the alarm rings again, for whoever swallowed the first."""
LONGEST = 1e8
"""Seconds that clocks can count, for whoever writes a number without end."""
MOST_GRACE = 60.0
"""Seconds that a call may take at most to end after the alarm: an operation of C ends before it listens."""


class TooSlowError(Exception):
    """The time was over before the call returned."""


class _Alarm(BaseException):
    """What ends the call: no `except Exception` of the user's own catches it."""


def has_alarm() -> bool:
    """Whether an alarm can end a call here: on the main thread, where Python lets signals in."""
    return current_thread() is main_thread() and hasattr(signal, "setitimer")


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
    return _alarmed(seconds, call) if has_alarm() else _left_behind(seconds, call)


def within_or_end(seconds: float | None, call: Callable[[], T], error: Exception) -> T:
    """Return what a call returns; end the whole process where the call swallows the alarm.

    For code that shares its objects with the run, so that nobody can go on without it. Off the main thread
    there is no limit: the process is then somebody else's.

    Args:
        seconds: that it may take; after as many more, at most a minute, the process ends with exit code 1.
        call: without arguments.
        error: what is printed then.

    Raises:
        TooSlowError: the alarm ended it.
    """
    if seconds is None or not has_alarm():
        return call()
    seconds = min(seconds, LONGEST)
    watchdog = Timer(seconds + min(max(AGAIN, seconds), MOST_GRACE), _end_process, [error])
    watchdog.daemon = True
    watchdog.start()
    try:
        return _alarmed(seconds, call)
    finally:
        watchdog.cancel()


def _end_process(error: Exception) -> None:
    with suppress(OSError):  # standard error is closed
        os.write(2, f"\nError: {error}\n".encode(errors="backslashreplace"))
    os._exit(1)


def _alarmed(seconds: float, call: Callable[[], T]) -> T:
    mine = _Alarm()

    def ring(*_: object) -> None:
        raise mine

    left, again = signal.getitimer(signal.ITIMER_REAL)
    if 0 < left <= seconds:  # an alarm of a caller rings first
        return call()
    began = time.monotonic()
    before = signal.signal(signal.SIGALRM, ring)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
            return call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Alarm as alarm:
        if alarm is not mine:
            raise
        raise TooSlowError from None
    finally:
        signal.signal(signal.SIGALRM, before)
        if left > 0:
            signal.setitimer(signal.ITIMER_REAL, max(1e-6, left - (time.monotonic() - began)), again)


def _left_behind(seconds: float, call: Callable[[], T]) -> T:
    """Wait for a thread of its own; one that is late is told to end, and does not keep Python alive."""
    returned: list[T] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            returned.append(call())
        except BaseException as error:  # noqa: BLE001 (the caller raises it)
            raised.append(error)

    thread = Thread(target=work, name="kingyo-call", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not returned:
        _raise_in(thread)
        raise TooSlowError
    return returned[0]


def _raise_in(thread: Thread) -> None:
    """End a thread that runs Python code; one that waits, or runs C code, does not see it."""
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Alarm))
