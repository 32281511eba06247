"""Calls that hang are ended, those that do not are left alone: on the main thread and on others."""

import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from kingyo.core.user_code.timeout import TooSlowError, within


def here(call: Callable[[], object]) -> object:
    return call()


def elsewhere(call: Callable[[], object]) -> object:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


@pytest.mark.parametrize("where", [here, elsewhere])
def test_results_and_errors_in_time_are_passed_on(
    where: Callable[[Callable[[], object]], object],
) -> None:
    assert where(lambda: within(60, lambda: 5)) == 5
    assert where(lambda: within(None, lambda: 5)) == 5
    for error in (ZeroDivisionError(), SystemExit(3)):

        def fails(error: BaseException = error) -> None:
            raise error

        with pytest.raises(type(error)):
            where(lambda fails=fails: within(60, fails))


@pytest.mark.parametrize("where", [here, elsewhere])
def test_a_hanging_call_is_ended(where: Callable[[Callable[[], object]], object]) -> None:
    begun = time.monotonic()
    with pytest.raises(TooSlowError):
        where(lambda: within(0.2, threading.Event().wait))
    assert 0.2 <= time.monotonic() - begun < 20


@pytest.mark.parametrize("is_outer_first", [True, False])
def test_a_nested_limit_ends_only_its_own_call(is_outer_first: bool) -> None:
    outer, inner = (0.2, 60.0) if is_outer_first else (60.0, 0.2)
    ended: list[str] = []

    def within_it() -> None:
        try:
            within(inner, threading.Event().wait)
        except TooSlowError:
            ended.append("inner")
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 1, "the outer one still counts"

    try:
        within(outer, within_it)
    except TooSlowError:
        ended.append("outer")
    assert ended == ["outer" if is_outer_first else "inner"]
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_thread_that_is_late_ends_once_it_runs_python() -> None:
    began: list[threading.Thread] = []

    def loops() -> None:
        began.append(threading.current_thread())
        while True:
            pass

    with pytest.raises(TooSlowError):
        elsewhere(lambda: within(0.2, loops))
    began[0].join(60)
    assert not began[0].is_alive()
