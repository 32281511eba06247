"""The lines that `kingyo scout --task` prints while it chooses."""

from __future__ import annotations

import re

import pytest

from kingyo.cli import scout_progress
from kingyo.cli.scout_progress import ChoiceProgress, measuring, scoring
from kingyo.evolution import Event
from kingyo.store import StoredTrial
from kingyo.types import Answered, Evaluation, ItemScore, Trial
from tests.report.made_up_choice import World, made_up
from tests.strategies.skills import SkillWorld, select


def ended(recipe: str, n_items: int) -> Event:
    asked = Trial(number=0, genome=())
    trial = StoredTrial(id=1, search="scout", batch=0, name=None, asked=asked, recipe="", recipe_hash=recipe)
    scores = tuple(ItemScore(item=f"{i}", score=1.0, answer="") for i in range(n_items))
    return Event(kind="ended", search="scout", split="fit", trial=trial, evaluation=Evaluation(scores=scores))


def test_a_merge_and_an_answer_count_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scout_progress, "_PER_LINE", 0.0)
    progress = ChoiceProgress(["a"], 0.01, quiet=False)
    for recipe, n_items in (("a", 24), ("b", 24), ("a", 48)):
        progress.notify(ended(recipe, n_items), [])
    assert capsys.readouterr().err.splitlines()[-1] == "  2 trial merges, 72 answers"


def test_in_a_log_measuring_prints_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with measuring() as show:
        show(1, 4)
        monkeypatch.setattr(scout_progress, "_PER_LINE", 0.0)
        show(2, 4)
    assert capsys.readouterr().err == "measuring: 50%\n"


def test_in_a_log_scoring_prints_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scout_progress, "_PER_LINE", 0.0)
    with scoring() as progress:
        progress(Answered(3, 0, 12))
    assert capsys.readouterr().err == "scoring: 25%\n"


def test_a_source_that_gains_nothing_alone_is_the_best_in_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    """No item is solved without two skills; the sources after the first have gains."""
    world = SkillWorld(seed=0, n_useful=4, missing=0.0)
    steps = select(world.n, world.score).strategy.steps
    names = [f"m{i}" for i in range(world.n)]
    ChoiceProgress(names, 0.01, quiet=False).notify(ended("a", 0), steps)
    first, second, *_, last = capsys.readouterr().err.splitlines()
    assert first == f"1. m{steps[0].added}: best in pairs"
    assert second.startswith(f"2. m{steps[1].added}: +") and "points (" in second
    assert last == f"{len(steps[-1].chosen)} sources; no further one is added; now each is left out in turn"


def test_the_size_of_a_gain_names_its_prompts(capsys: pytest.CaptureFixture[str]) -> None:
    world = World(per_prompt=4)
    _, _, choice = made_up(world)
    ChoiceProgress(world.names, 0.01, quiet=False).show(choice.steps[:1])
    assert re.search(r"points \(\d+ items of \d+ prompts\)", capsys.readouterr().err)
