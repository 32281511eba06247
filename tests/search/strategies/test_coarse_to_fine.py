"""Few genes first, then more: stages that tie neighbours together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import ClassVar

import pytest

from kingyo.core.types import Axis, Outcome, Trial
from kingyo.search.strategies import build, combinators
from kingyo.search.strategies.combinators import build_stages
from kingyo.search.strategies.random_and_grid import RandomSearch
from kingyo.testing.strategies import MIXED_AXES, failed, scored
from tests.search.strategies.problems import LAYERED


def test_each_stage_is_finer_than_the_one_before() -> None:
    stages = build_stages(LAYERED)
    assert [len(stage.axes) for stage in stages] == [2, 4, 8, 10]
    assert stages[1].groups == ((0, 1, 2), (3, 4), (5, 6, 7), (8, 9))
    for stage, finer in itertools.pairwise(stages):
        for group in finer.groups:
            assert any(set(group) <= set(coarser) for coarser in stage.groups)
    assert stages[-1].axes == LAYERED


def test_axes_that_differ_in_kind_or_bounds_are_separate() -> None:
    other = Axis(name="weight/a/head", low=0, high=2, place=1.0, family="weight/a")
    (only,) = build_stages((*MIXED_AXES, other))
    assert only.axes == (*MIXED_AXES, other)


def test_a_coarse_point_is_a_fine_one_with_equal_genes() -> None:
    stage = build_stages(LAYERED)[0]
    assert stage.expand((0.25, 0.75)) == (0.25,) * 5 + (0.75,) * 5
    assert stage.reduce(stage.expand((0.25, 0.75))) == (0.25, 0.75)
    assert stage.contains((0.25,) * 10)
    assert not stage.contains((0.25,) * 9 + (0.5,))


def test_a_search_goes_from_few_genes_to_all() -> None:
    strategy = build("coarse-to-fine", LAYERED, 0, {"per_gene": 2, "settings": {"batch": 2, "initial": 2}})
    different: list[int] = []
    while len(different) < 40:
        trials = strategy.ask(2)
        different += [len(set(trial.genome[:5])) for trial in trials]
        strategy.tell([scored(trial, trial.genome[0], 1.0) for trial in trials])
    assert set(different[:4]) == {1}
    assert set(different[4:12]) <= {1, 2}
    assert max(different[28:]) == 5


class Recorder(RandomSearch):
    """A strategy that keeps what each stage was given to learn."""

    learned: ClassVar[list[list[Outcome]]] = []

    def __init__(self, axes: Sequence[Axis], seed: int) -> None:
        super().__init__(axes, seed, RandomSearch.Settings())

    def warm_start(self, known: Sequence[Outcome]) -> None:
        self.learned.append(list(known))


def test_a_stage_starts_with_the_best_trials_of_the_previous_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(combinators, "build_inner", lambda _, axes, seed, __: Recorder(axes, seed))
    monkeypatch.setattr(Recorder, "learned", [])
    strategy = build("coarse-to-fine", LAYERED, 0, {"per_gene": 120})
    trials: list[Trial] = []
    for _ in range(2):
        trials += strategy.ask(120)
        outcomes = [failed(t) if t.number >= 120 else scored(t, -1 - t.number / 1000) for t in trials[-120:]]
        strategy.tell(outcomes)
    strategy.ask(1)
    (learned,) = Recorder.learned
    scores = [outcome.score for outcome in learned]
    assert scores == [-1 - number / 1000 for number in range(120)]  # all that did not fail
