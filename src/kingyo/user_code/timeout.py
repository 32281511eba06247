"""Time limits for calls into users' code, such as chat templates and strategies.

On the main thread an alarm interrupts the call, even in a loop or a wait. On other threads, and on Windows,
the caller stops waiting. Code that swallows the alarm needs its own process, as graders have; or see
``within_or_end``.
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
"""Seconds between alarms, in case the call swallows the first."""
MAX_SECONDS = 1e8
"""Longest time limit in seconds that the system's clocks accept."""
MAX_GRACE = 60.0
"""Longest time in seconds that a call may take to stop; C code finishes before it sees the alarm."""


class TooSlowError(Exception):
    """The call did not return in time."""


class _Alarm(BaseException):
    """Interrupts the call; an `except Exception` in the user's code does not catch it."""


def has_alarm() -> bool:
    """Return whether an alarm can interrupt a call here: on the main thread, where Python handles signals."""
    return current_thread() is main_thread() and hasattr(signal, "setitimer")


def within(seconds: float | None, call: Callable[[], T]) -> T:
    """Call a function with a time limit, and return its result or raise its error.

    Args:
        seconds: the limit; None for no limit.
        call: a function without arguments.

    Raises:
        TooSlowError: it did not return in time.
    """
    if seconds is None:
        return call()
    return _alarmed(seconds, call) if has_alarm() else _left_behind(seconds, call)


def within_or_end(seconds: float | None, call: Callable[[], T], error: Exception) -> T:
    """Like ``within``, but end the process with exit code 1 if the call swallows the alarm.

    For code that shares objects with the run, so that the run cannot continue without it. Threads other than
    the main one have no limit.

    Args:
        seconds: the limit; None for no limit. The process ends after as long again, at most a minute.
        call: a function without arguments.
        error: printed before the process ends.

    Raises:
        TooSlowError: the alarm interrupted the call.
    """
    if seconds is None or not has_alarm():
        return call()
    seconds = min(seconds, MAX_SECONDS)
    watchdog = Timer(seconds + min(max(AGAIN, seconds), MAX_GRACE), _end_process, [error])
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
    if 0 < left <= seconds:  # a caller's alarm is due first
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
    """Run the call on a daemon thread and wait for it; stop the thread if it is late."""
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
    """Stop a thread that runs Python code; one that waits, or runs C code, does not notice."""
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Alarm))
