"""Runs of every strategy, screen and runner, killed at random evaluations, resume to the same result."""

import random
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import World, evaluations, interrupted
from tests.cli.resumed import facts

SMALL = {"population": 5}
OF_TWO = ["even", "closeness"]
SEARCHES: dict[str, dict[str, object]] = {
    "item-gp": {"search": {"strategy": "item-gp", "screen": {"items": 6}}},
    "coarse-to-fine": {"search": {"preset": "quality", "screen": {"items": 6}}, "merge": {}},
    "cma-es": {"search": {"strategy": "cma-es", "screen": {"items": 4}}},
    "sep-cma-es": {"search": {"strategy": "sep-cma-es", "screen": {"choose": "random", "items": 5}}},
    "mixed-cma-es": {
        "search": {"strategy": "mixed-cma-es"},
        "merge": {"method": ["linear", "ties"], "choose_sources": True},
    },
    "nsga2": {"search": {"strategy": "nsga2", "settings": {"population": 6}}, "objectives": OF_TWO},
    "m2n2": {"search": {"strategy": "m2n2"}, "merge": {"groups": "block"}},
    "cycleqd": {"search": {"strategy": "cycleqd", "settings": SMALL}, "objectives": OF_TWO},
    "ga": {"search": {"strategy": "ga", "settings": SMALL}},
    "random": {"search": {"strategy": "random", "warm_start": False}, "budget": {"item_evaluations": 160}},
    "grid": {"search": {"strategy": "grid"}},
    "asynchronous": {"search": {"strategy": "item-gp", "mode": "asynchronous"}},
    "processes": {
        "search": {"strategy": "ga", "settings": SMALL},
        "runner": "processes",
        "workers": 2,
        "threads": 1,
    },
}
KILLS = 20


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHES)
def test_random_kills_do_not_change_the_result(world: World, name: str) -> None:
    changes: dict[str, object] = {
        "budget": {"candidates": 18},
        "controls": {"random": True},
        **SEARCHES[name],
    }
    config = world.config(**changes)
    run, undisturbed = world.folder / "runs" / "small", world.folder / "undisturbed"
    world.ok("evolve", config, "--run", undisturbed)
    dice = random.Random(name)
    # The last evaluations follow too fast upon one another for a signal to come between them and the end.
    stops = sorted(dice.sample(range(1, evaluations(undisturbed) - 4), KILLS))
    arguments: tuple[str | Path, ...] = ("evolve", config)
    killed = 0
    for stop in stops:
        if not run.exists() or evaluations(run) < stop:  # the process lived on for a moment after the last
            interrupted(world, *arguments, after=stop, sent=signal.SIGKILL)
            killed += 1
        arguments = ("resume", "runs/small")
    assert killed > KILLS // 2
    world.ok(*arguments)
    assert facts(run) == facts(undisturbed)
    shown, expected = world.show("runs/small"), world.show("undisturbed")
    assert shown["winner"] == expected["winner"]
