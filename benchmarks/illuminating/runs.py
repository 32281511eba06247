"""Searches for several objectives, each told of the same known points: the sources and their average.

Known points are paid once by everybody, and belong to what a search has found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from illuminating.problem import Scores, ThreeTasks
from kingyo.core.types import Genome, InformedStrategy, Outcome, Trial
from kingyo.search.strategies import build


@dataclass(frozen=True, kw_only=True)
class Found:
    """One candidate and its scores on fit."""

    genome: Genome
    fit: Scores


Search = Callable[[ThreeTasks, list[Outcome], int], Iterator[Found]]
"""Problem, known points and budget in item evaluations -> what was found, in its order."""


def found_by(name: str, problem: ThreeTasks, budget: int) -> list[Found]:
    """All that a search has measured when it has spent so many item evaluations."""
    known = [
        problem.outcome(Trial(number=-1 - index, genome=genome))
        for index, genome in enumerate(problem.known.values())
    ]
    assert known, "all sources are points of the space"
    return [*(_found(each) for each in known), *SEARCHES[name](problem, known, budget)]


def ours(strategy: str, settings: Mapping[str, object]) -> Search:
    """A strategy of kingyo with these settings, asked and told a generation at a time."""

    def search(problem: ThreeTasks, known: list[Outcome], budget: int) -> Iterator[Found]:
        made = build(strategy, problem.space.axes, problem.seed, settings)
        assert isinstance(made, InformedStrategy), "it can begin with known points"
        made.warm_start(known)
        while n := min(made.batch, _affordable(problem, budget)):
            outcomes = [problem.outcome(trial) for trial in made.ask(n)]
            made.tell(outcomes)
            yield from map(_found, outcomes)

    return search


def pymoo_nsga2(population: int, offspring: int) -> Search:
    """pymoo's NSGA2; the known points are in the first population, the others of it are random."""

    def search(problem: ThreeTasks, known: list[Outcome], budget: int) -> Iterator[Found]:
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.problem import Problem as PymooProblem

        axes = problem.space.axes
        low, high = np.array([axis.low for axis in axes]), np.array([axis.high for axis in axes])
        rng = np.random.default_rng(problem.seed)
        drawn = rng.uniform(low, high, (population - len(known), len(axes)))
        first = np.concatenate([np.array([each.trial.genome for each in known]), drawn])
        paid = {each.trial.genome: each.objectives for each in known}
        # pymoo types `sampling` as its default, but takes points, too
        algorithm = NSGA2(pop_size=population, n_offsprings=offspring, sampling=first)  # pyright: ignore[reportArgumentType]
        algorithm.setup(
            PymooProblem(n_var=len(axes), n_obj=len(known[0].objectives), xl=low, xu=high),
            seed=problem.seed + 1,
            verbose=False,
            termination=("n_eval", 10**9),
        )
        while True:
            generation = algorithm.ask()
            assert generation is not None, "it has no end of its own"
            costs: list[Scores] = []
            for point in generation.get("X"):
                genome = tuple(float(gene) for gene in point)
                if genome not in paid:
                    if not _affordable(problem, budget):
                        return
                    paid[genome] = problem.outcome(Trial(number=len(paid), genome=genome)).objectives
                    yield Found(genome=genome, fit=paid[genome])
                costs.append(paid[genome])
            generation.set("F", -np.array(costs))
            for each in generation:
                each.evaluated.add("F")
            algorithm.tell(infills=generation)

    return search


def _affordable(problem: ThreeTasks, budget: int) -> int:
    """How many candidates may still be measured."""
    return max(0, budget - problem.spent) // problem.n_items


def _found(outcome: Outcome) -> Found:
    return Found(genome=outcome.trial.genome, fit=outcome.objectives)


SEARCHES: Mapping[str, Search] = {
    "cycleqd": ours("cycleqd", {}),
    "nsga2": ours("nsga2", {"population": 20}),
    "pymoo NSGA2": pymoo_nsga2(40, 10),  # as in its own first example
}
