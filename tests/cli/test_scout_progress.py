"""The lines that `kingyo scout --task` prints while it chooses."""

from __future__ import annotations

import pytest

from kingyo.cli.scout_progress import ChoiceProgress
from kingyo.evolution import Event
from kingyo.types import Evaluation
from tests.strategies.skills import SkillWorld, select


def test_a_source_that_gains_nothing_alone_is_the_best_in_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    """No item is solved without two skills; the sources after the first have gains."""
    world = SkillWorld(seed=0, n_useful=4, missing=0.0)
    steps = select(world.n, world.score).strategy.steps
    names = [f"m{i}" for i in range(world.n)]
    event = Event(kind="ended", search="scout", split="fit", evaluation=Evaluation())
    ChoiceProgress(names, 0.01, quiet=False).notify(event, steps)
    first, second, *_, last = capsys.readouterr().err.splitlines()
    assert first == f"1. m{steps[0].added}: best in pairs"
    assert second.startswith(f"2. m{steps[1].added}: +") and "points (" in second
    assert last == f"{len(steps[-1].chosen)} sources; no further one is added; now each is left out in turn"
