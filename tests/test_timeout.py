"""Calls that hang are ended, those that do not are left alone: on the main thread and on others."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kingyo.errors import KingyoError
from kingyo.tasks.grader import build_verdict
from kingyo.timeout import TooSlowError, within
from kingyo.types import Item

ITEM = Item(id="i7", prompt="?", answer="3")
GRADERS = """
import threading

def waits(answer, item):
    threading.Event().wait()

def loops(answer, item):
    while True:
        pass

def stubborn(answer, item):
    try:
        threading.Event().wait()
    except Exception:
        return 1.0

def deaf(answer, item):
    try:
        threading.Event().wait()
    except BaseException:
        threading.Event().wait()

def only_on(answer, item):
    return threading.Event().wait() if answer == "hang" else 1.0
"""


def here(call: Callable[[], object]) -> object:
    return call()


def elsewhere(call: Callable[[], object]) -> object:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


@pytest.mark.parametrize("where", [here, elsewhere])
def test_what_returns_or_raises_in_time_is_passed_on(
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
def test_what_hangs_is_ended(where: Callable[[Callable[[], object]], object]) -> None:
    begun = time.monotonic()
    with pytest.raises(TooSlowError):
        where(lambda: within(0.2, threading.Event().wait))
    assert 0.2 <= time.monotonic() - begun < 20


def test_no_alarm_is_left_behind() -> None:
    before = signal.getsignal(signal.SIGALRM)
    for seconds in (0.05, 60.0):
        try:
            within(seconds, lambda: threading.Event().wait(0.2))
        except TooSlowError:
            assert seconds < 1
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        assert signal.getsignal(signal.SIGALRM) == before


@pytest.mark.parametrize("name", ["waits", "loops", "stubborn", "deaf"])
def test_a_grader_that_hangs_is_named_with_its_item(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.py").write_text(GRADERS)
    verdict = build_verdict([(f"mine.py:{name}", None)], tmp_path, timeout=0.2)
    with pytest.raises(
        KingyoError,
        match=rf"grader mine\.py:{name} on item i7: expected a score within 0\.2 s; .*grader_timeout",
    ):
        verdict("3", ITEM)


def test_one_answer_that_hangs_leaves_the_others(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(GRADERS)
    verdict = build_verdict([("mine.py:only_on", None)], tmp_path, timeout=0.2)
    assert verdict("3", ITEM) == 1
    with pytest.raises(KingyoError, match=r"within 0\.2 s"):
        verdict("hang", ITEM)
    assert verdict("3", ITEM) == 1
