"""The promise of a strategy that has states: whoever is restored from one asks what the other goes on to ask.

``StrategyContract`` holds it against every strategy; those without states have nothing to keep.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from kingyo.types import ItemScore, Outcome, Resumable, Strategy, Trial

ROUNDS = 14
FOLLOWED = 3  # rounds that a restored strategy is watched


@dataclass(kw_only=True)
class _Log:
    """What was asked and told so far, as a store keeps it."""

    trials: list[Trial] = field(default_factory=list[Trial])
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    waiting: list[Trial] = field(default_factory=list[Trial])


def expect_restored(make: Callable[[], Strategy], evaluate: Callable[[Trial], Outcome]) -> None:
    """Search untidily; restore from every state on the way, and go on with both.

    Args:
        make: makes the same strategy anew, with what it learned before the first ask.
        evaluate: gives a trial its outcome; of some trials only some items are scored then.

    Raises:
        AssertionError: a restored strategy asks for something else, or to say its state changes a strategy.
    """
    plain, going = make(), make()
    if not isinstance(going, Resumable):
        return
    chance, log = random.Random(11), _Log()
    others: list[tuple[int, Strategy]] = [(ROUNDS, plain)]  # until which round, and who
    for number in range(ROUNDS):
        others = [each for each in others if each[0] > number]
        if number % FOLLOWED == 1:
            others += _restored(make, going, log, number + FOLLOWED)
        n = chance.randint(0, going.batch + 1)
        trials = going.ask(n)
        for _, other in others:
            assert other.ask(n) == trials, f"a restored strategy asks for other trials than {trials}"
        log.trials += trials
        log.waiting += [trial for trial in trials if trial.number % 10 != 9]
        if number % FOLLOWED == 2:
            others += _restored(make, going, log, number + FOLLOWED)
        outcomes = _ended(log, chance, evaluate)
        for each in [going, *(each for _, each in others)]:
            each.tell(outcomes)
        log.outcomes += outcomes


def _restored(
    make: Callable[[], Strategy], going: Resumable, log: _Log, until: int
) -> list[tuple[int, Strategy]]:
    """A new strategy with the state of the one that goes on; nobody where that one has none now."""
    state = going.state()
    if state is None:
        return []
    text = json.dumps(state)
    assert json.dumps(going.state()) == text, "to say its state changes it"
    new = make()
    assert isinstance(new, Resumable)
    new.restore(json.loads(text), tuple(log.trials), tuple(map(_without_answers, log.outcomes)))
    assert json.loads(json.dumps(new.state())) == json.loads(text), "restored, it has another state"
    return [(until, new)]


def _ended(log: _Log, chance: random.Random, evaluate: Callable[[Trial], Outcome]) -> Sequence[Outcome]:
    """Some of those that are out, in any order; every second one scored on some of the items."""
    chance.shuffle(log.waiting)
    cut = chance.randint(0, len(log.waiting))
    ended, log.waiting = log.waiting[:cut], log.waiting[cut:]
    return [_in_parts(evaluate(trial)) for trial in ended]


def _in_parts(outcome: Outcome) -> Outcome:
    score, number = outcome.score, outcome.trial.number
    if score is None:
        return outcome
    names = [f"item-{(number + step) % 7}" for step in range(3 if number % 2 else 7)]
    scores = tuple(ItemScore(item=name, score=score, answer="an answer") for name in names)
    return replace(outcome, scores=scores, value=score, is_partial=bool(number % 2))


def _without_answers(outcome: Outcome) -> Outcome:
    return replace(outcome, scores=tuple(each._replace(answer="") for each in outcome.scores))
