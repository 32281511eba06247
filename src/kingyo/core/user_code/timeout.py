"""Time limits for calls into users' code, such as strategies.

On the main thread an alarm interrupts the call, even in a loop or a wait. On other threads, and on Windows,
the caller stops waiting. Code that swallows the alarm needs its own process, as graders have.
"""

import ctypes
import signal
import time
from collections.abc import Callable
from threading import Thread, current_thread, main_thread
from typing import TypeVar

T = TypeVar("T")
AGAIN = 1.0
"""Seconds between alarms, in case the call swallows the first."""
MAX_SECONDS = 1e8
"""Longest time limit in seconds that the system's clocks accept."""


class TooSlowError(Exception):
    """The call did not return in time."""


class _Alarm(BaseException):
    """Interrupts the call; an `except Exception` in the user's code does not catch it."""


def within(seconds: float | None, call: Callable[[], T]) -> T:
    """Call a function with a time limit, and return its result or raise its error.

    Raises:
        TooSlowError: it did not return in time.
    """
    if seconds is None:
        return call()
    return _alarmed(min(seconds, MAX_SECONDS), call) if has_alarm() else _left_behind(seconds, call)


def within_on_main(seconds: float | None, call: Callable[[], T]) -> T:
    """Like ``within``, but without a limit on other threads: for code that must not be left behind."""
    return within(seconds if has_alarm() else None, call)


def has_alarm() -> bool:
    """Return whether an alarm can interrupt a call here: on the main thread, where Python handles signals."""
    return current_thread() is main_thread() and hasattr(signal, "setitimer")


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
        # Code that waits, or runs C code, does not notice.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_Alarm)
        )
        raise TooSlowError
    return returned[0]
