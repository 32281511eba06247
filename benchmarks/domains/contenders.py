"""Searches that meet on the domains, all at the same number of item evaluations.

kingyo's run as its user runs it, with 32 items a candidate, and, as ``BY_ITEMS``, with a budget of item
evaluations: fewer items a candidate and more candidates. Searches of public libraries have their own defaults
and score all items of fit for each candidate; at the end their four best on fit go to validation. Fit and
validation together pick the winner, which is compared with the baselines as in kingyo's run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import cast

import numpy as np
from numpy.typing import NDArray
from searching import peers
from searching.zoo import Problem

from domains.landscape import Landscape
from domains.play import Play
from kingyo.core.types import Axis, Genome
from kingyo.runs.settings import items_per_candidate
from kingyo.search.evolution.types import BASELINE_ITEMS
from kingyo.search.strategies.presets import preset

ITEMS = 32
FINALISTS = 4
DEFAULT = "default"
BY_ITEMS = "default, budget in items"
WITH_CONTROLS = "default, with controls"
LEARNED = "memetic"
CONTROLS = ("random", "grid")
Settings = Mapping[str, object]

OURS: dict[str, Settings] = {
    DEFAULT: {},
    BY_ITEMS: {},
    LEARNED: {"strategy": "memetic", "screen": {"items": ITEMS}},
    **{name: {"strategy": name, "screen": {"items": ITEMS}} for name in ("random", "cma-es", "ga")},
}


class AsProblem:
    """A domain as the searches of other libraries know a problem: a genome in, its mean on all of fit out."""

    def __init__(self, play: Play) -> None:
        domain = play.domain
        self.seed = play.seed
        self.spent = 0
        self.n_items = len(play.splits["fit"])
        self.tried: dict[Genome, float] = {}
        axes = [Axis(name=f"w{k}", low=domain.low, high=domain.high) for k in range(domain.n_genes)]
        self.space = SimpleNamespace(axes=axes)
        self.setting = SimpleNamespace(low=domain.low, high=domain.high, sources=domain.sources)
        self._play = play

    def fit(self, genome: Genome) -> float:
        """Score a genome on all items of fit."""
        self.spent += self.n_items
        self.tried[genome] = self._play.mean(genome, "fit")
        return self.tried[genome]


def grid(problem: Problem, budget: int) -> Iterator[tuple[int, Genome]]:
    """Yield the answers of a grid of 2 to 5 points an axis in random order, as many points as can be paid."""
    axes, most = problem.space.axes, max(1, budget // problem.n_items)
    points = next((n for n in (5, 4, 3) if n ** len(axes) <= 4 * most), 2)
    rng, best = np.random.default_rng(problem.seed + 1), peers.Best(problem)
    seen: set[Genome] = set()
    while problem.spent < budget and len(seen) < points ** min(len(axes), 16):
        places = rng.integers(0, points, len(axes)) / (points - 1)
        genome = tuple(
            float(axis.low + place * (axis.high - axis.low)) for axis, place in zip(axes, places, strict=True)
        )
        if genome not in seen:
            seen.add(genome)
            best.try_out(genome)
            yield best.answer()


PEERS: dict[str, Callable[[Problem, int], Iterator[tuple[int, Genome]]]] = {
    "mergekit-evolve": peers.mergekit_evolve,
    "pycma": peers.pycma,
    "pymoo GA": peers.pymoo_ga,
    "optuna TPE": peers.tpe,
    "random, all items": peers.random_search,
    "grid, all items": grid,
}


def cost(domain: Landscape, candidates: int) -> int:
    """Return the item evaluations on fit of a run of the default: its candidates and the baselines."""
    return ITEMS * candidates + cost_of_baselines(domain, ITEMS)


def cost_of_baselines(domain: Landscape, items: int) -> int:
    """Return the item evaluations of baselines on fit, beside this many items a candidate."""
    return len(domain.baselines()) * min(BASELINE_ITEMS * items, domain.sizes[0])


def left_by_items(domain: Landscape, whole: int) -> int:
    """Return what is left of ``whole`` for the search; its baselines cost less if candidates answer less."""
    fewest = preset("fast").fewest_items
    assert fewest is not None, "it gives small budgets more candidates"
    lefts = (whole - cost_of_baselines(domain, items) for items in range(fewest, ITEMS + 1))
    return next(
        left
        for items, left in enumerate(lefts, start=fewest)
        if items >= items_per_candidate(left, fewest, ITEMS)
    )


def meet(play: Play, name: str, candidates: int) -> dict[str, object]:
    """Let a contender search a domain, and return what came of it as plain data.

    Args:
        play: the domain, with its splits.
        name: of the contender: one of ``OURS`` or ``PEERS``, or ``WITH_CONTROLS``.
        candidates: of the default; every contender may spend what these cost.
    """
    if name in PEERS:
        return _peer(play, PEERS[name], candidates)
    budget = {"candidates": candidates}
    if name == BY_ITEMS:
        budget = {"item_evaluations": left_by_items(play.domain, cost(play.domain, candidates))}
    controls = CONTROLS if name == WITH_CONTROLS else ()
    found = play.run(OURS.get(name, {}), budget, controls)
    answers = play.answers(OURS[name], budget) if name == BY_ITEMS else []
    return {
        "answers": answers,
        "chosen": found.chosen,
        "exported": found.exported,
        "bred": found.bred,
        "baselines": found.baselines,
        "items": found.items,
        "predicted": list(found.predicted),
    }


def _peer(
    play: Play, search: Callable[[Problem, int], Iterator[tuple[int, Genome]]], candidates: int
) -> dict[str, object]:
    problem = AsProblem(play)
    baselines = play.domain.baselines()
    budget = cost(play.domain, candidates)
    for _ in search(cast("Problem", problem), budget):
        if problem.spent >= budget:
            break
    ranked = sorted(problem.tried, key=lambda genome: -problem.tried[genome])[:FINALISTS]
    test = play.splits["test"]
    scores: dict[str, NDArray[np.float64]] = {
        each: play.row(tuple(row.tolist()))[test] for each, row in baselines.items()
    }
    n_fit, n_validation = len(play.splits["fit"]), len(play.splits["validation"])
    share = n_fit / (n_fit + n_validation)
    bred = max(
        ranked,
        key=lambda genome: share * problem.tried[genome] + (1 - share) * play.mean(genome, "validation"),
    )
    return {
        "answers": [(problem.spent, play.mean(ranked[0], "test"))],
        "exported": play.row(play.best_of_run(bred))[test],
        "bred": play.row(bred)[test],
        "baselines": scores,
        "items": problem.spent,
    }
