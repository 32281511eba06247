"""A rating session that is killed loses no choice and goes on where it was."""

import random
import signal
import time
from http.client import HTTPException
from pathlib import Path
from threading import Thread

import pytest

from kingyo.store.side_databases import read_choices
from tests.rated_runs import drawn_run, rate
from tests.slow import slow
from tests.views.rating.sessions import Running, rating

EACH = 4
"""Choices between two kills, about."""
VERDICTS = ("left", "right", "tie", "skip")


def choose_until_killed(running: Running, acknowledged: list[str], first: int) -> None:
    client = running.client()
    try:
        state = client.state()
        while True:
            pair, verdict = state["pair"]["id"], VERDICTS[(first + len(acknowledged)) % 4]
            state = client.choose(pair, verdict)
            acknowledged.append(f"{pair.partition('-')[0]} {verdict}")
    except (OSError, HTTPException):  # it was killed
        return


def killed(run: Path, after: int, delay: float) -> list[str]:
    """Kill a session some time after a number of choices; return those that it had acknowledged."""
    acknowledged: list[str] = []
    with rating(run) as running:
        assert running.url
        person = Thread(target=choose_until_killed, args=(running, acknowledged, len(read_choices(run))))
        person.start()
        deadline = time.monotonic() + 60
        while len(acknowledged) < after:
            assert time.monotonic() < deadline
            time.sleep(0.0005)
        time.sleep(delay)
        running.end(signal.SIGKILL)
        person.join()
    return acknowledged


@pytest.mark.parametrize("moments", [2, *slow(10)])
def test_a_killed_session_loses_no_choice(tmp_path: Path, moments: int) -> None:
    run, dice = drawn_run(tmp_path / "run"), random.Random(moments)
    for _ in range(moments):
        before = len(read_choices(run))
        acknowledged = killed(run, after=EACH, delay=dice.uniform(0, 0.06))
        stored = [f"{each.pair} {each.verdict}" for each in read_choices(run)[before:]]
        assert len(stored) - len(acknowledged) in (0, 1), "the last may be stored and not acknowledged"
        assert stored[: len(acknowledged)] == acknowledged
    stored = read_choices(run)
    with rating(run) as running:
        assert running.client().state()["judged"] == len(stored)
    whole, verdicts = drawn_run(tmp_path / "whole"), iter(stored)
    shown = rate(whole, len(stored), lambda _: next(verdicts).verdict)
    assert [pair.name for pair in shown] == [each.pair for each in stored], "the pairs of a session in one go"
