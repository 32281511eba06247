"""A faulty custom strategy: one clear error, and stored scores remain."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import World
from tests.cli.resumed import facts

OWN = '''
from dataclasses import dataclass
from kingyo.core.types import Trial

class Mine:
    """Points in a row; what stands below replaces a part of it."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        pass

    batch = 3

    def __init__(self, axes, seed, settings):
        self.axes, self.count = axes, 0

    def ask(self, n):
        return [self.trial() for _ in range(n)]

    def trial(self):
        self.count += 1
        return Trial(number=self.count - 1, genome=self.genome(), parents=())

    def genome(self):
        return tuple(axis.low + 0.1 * self.count for axis in self.axes)

    def tell(self, outcomes):
        pass

class Broken(Mine):
'''


def evolved(world: World, method: str, door: tuple[str, ...] = (), **how: Any) -> tuple[int, str]:
    indented = "".join(f"    {line}\n" for line in method.splitlines())
    (world.folder / "own.py").write_text(OWN + indented)
    changes = {"search": {"strategy": "own.py:Broken", "timeout": 2}, "budget": {"candidates": 4}}
    done = world.run(
        "evolve", world.config(controls={"grid": False, "random": False}, **changes), *door, **how
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("def ask(self, n): raise ValueError('lost')", "ask of Broken: expected a call that succeeds; "),
        pytest.param(
            "def ask(self, n): return None",
            "expected a list of trials; received None",
            marks=pytest.mark.slow,
        ),
        ("def genome(self): return ('x', 'y')", "expected a number from -1 to 2 on axis weight/a/all"),
        pytest.param(
            "def trial(self): return Trial(number=0, genome=self.genome(), parents=(99,))",
            "earlier trials",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "def warm_start(self, known): raise ValueError('lost')",
            "warm_start of Broken",
            marks=pytest.mark.slow,
        ),
        (
            "def ask(self, n):\n    while True: pass",
            "ask of Broken: expected a call that returns within 2 s",
        ),
    ],
    ids=str,
)
def test_contract_violations_are_reported(world: World, method: str, says: str) -> None:
    code, errors = evolved(world, method)
    assert code == 1
    assert errors.count("\nError: ") == 1
    assert says in errors
    assert "Fix the strategy" in errors


def test_one_that_gives_lists_can_be_resumed(world: World) -> None:
    code, errors = evolved(world, "def genome(self): return list(super().genome())")
    assert code == 0, errors
    run: Path = world.folder / "runs" / "small"
    before = facts(run)
    world.ok("resume", run)
    assert facts(run) == before


@pytest.mark.parametrize("sent", ["SIGINT", "SIGTERM"])
def test_an_interrupt_in_a_finaliser_stops_the_run(world: World, sent: str) -> None:
    """Python drops exceptions that a finaliser raises; the entry point repeats them."""
    code, errors = evolved(
        world,
        "def tell(self, outcomes):\n"
        "    import signal\n"
        "    class Dropped:\n"
        f"        def __del__(self): signal.raise_signal(signal.{sent})\n"
        "    Dropped()",
        env={},
    )
    assert code == 130
    assert "Exception ignored" not in errors
    assert errors.endswith("Continue with: kingyo resume runs/small\n")
