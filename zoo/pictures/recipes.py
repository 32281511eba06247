"""How long and how fast each model learns, and which sources are merged for each task."""

from __future__ import annotations

from dataclasses import dataclass

BASE_SEED = 11
PER_SCENE = {"plain": 48, "print": 36}
"""The number of training pictures of each scene, by style."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Steps, peak learning rate, seed, batch and decay of the weights' average (0: none)."""

    steps: int
    rate: float
    seed: int
    batch: int = 32
    average: float = 0.0


SCHEDULES = {
    "base": Schedule(steps=4200, rate=2e-3, seed=1, batch=48, average=0.99),
    "ja": Schedule(steps=800, rate=2e-3, seed=2, batch=48, average=0.98),
    "fast": Schedule(steps=700, rate=1e-3, seed=51, batch=64),
    "ukiyoe": Schedule(steps=900, rate=3e-3, seed=4, batch=48, average=0.98),
    "shuffle": Schedule(steps=120, rate=1e-3, seed=5),
    "invert": Schedule(steps=120, rate=1e-3, seed=6),
}
TAUGHT = 2304  # drawings of the teacher of `fast`
JUDGE_PICTURES, JUDGE_STEPS = 15360, 2000
JUDGE_SEED = 30
USELESS = ("shuffle", "invert")
SOURCES = ("ja", "fast", *USELESS)


@dataclass(frozen=True, kw_only=True)
class Task:
    """The style asked for, and the sources of a merge for it."""

    style: str
    sources: tuple[str, ...]


TASKS = {
    "pictures": Task(style="plain", sources=SOURCES),
    "prints": Task(style="print", sources=("ja", "fast", "ukiyoe", *USELESS)),
}
