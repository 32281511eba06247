"""Searches of public libraries, all items for each candidate; each tells its best so far as it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from kingyo.core.types import Genome
from searching.zoo import Problem

Answer = tuple[int, Genome]
"""Item evaluations spent, and the genome that the search would answer then."""
FEVALS = 100  # of mergekit-evolve: --max-fevals


class Best:
    """The best mean on fit so far; the first of equals."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.score = -1.0
        self.genome: Genome = ()

    def try_out(self, genome: Genome) -> float:
        """Score a genome on all items of fit."""
        score = self.problem.fit(genome)
        if score > self.score:
            self.score, self.genome = score, genome
        return score

    def answer(self) -> Answer:
        """What the search would answer now."""
        return self.problem.spent, self.genome


def mergekit_evolve(problem: Problem, budget: int) -> Iterator[Answer]:
    """mergekit-evolve 0.1.5: pycma from 1/n with sigma 1/6; weights without bounds, by their size."""
    import cma

    n = len(problem.setting.sources)
    options = {"verbose": -9, "seed": problem.seed + 1, "maxfevals": budget // problem.n_items}
    search = cma.CMAEvolutionStrategy(np.full(len(problem.space.axes), 1 / n), 1 / 6, options)
    best = Best(problem)
    while not search.stop():
        points = search.ask()
        costs: list[float] = []
        for point in points:
            costs.append(-best.try_out(tuple(abs(float(gene)) for gene in point)))
            yield best.answer()
        search.tell(points, costs)


def pycma(problem: Problem, budget: int) -> Iterator[Answer]:
    """pycma within the bounds of the space, from its middle, sigma a sixth of the range."""
    import cma

    low, high = problem.setting.low, problem.setting.high
    options = {"verbose": -9, "seed": problem.seed + 1, "bounds": [low, high], "maxfevals": 10**9}
    start = np.full(len(problem.space.axes), (low + high) / 2)
    search = cma.CMAEvolutionStrategy(start, (high - low) / 6, options)
    best = Best(problem)
    while problem.spent < budget and not search.stop():
        points = search.ask()
        costs: list[float] = []
        for point in points:
            costs.append(-best.try_out(tuple(float(gene) for gene in point)))
            yield best.answer()
        search.tell(points, costs)


def pymoo_ga(problem: Problem, budget: int) -> Iterator[Answer]:
    """pymoo's genetic algorithm as Mergenetic uses it: SBX, polynomial mutation, population 25."""
    from pymoo.algorithms.soo.nonconvex.ga import GA
    from pymoo.core.problem import Problem as PymooProblem

    axes = problem.space.axes
    low, high = [axis.low for axis in axes], [axis.high for axis in axes]
    best = Best(problem)
    search = GA(pop_size=25)
    search.setup(
        PymooProblem(n_var=len(axes), n_obj=1, xl=np.array(low), xu=np.array(high)),
        seed=problem.seed + 1,
        verbose=False,
        termination=("n_eval", 10**9),
    )
    while problem.spent < budget:
        generation = search.ask()
        assert generation is not None, "it has no end of its own"
        costs: list[float] = []
        for point in generation.get("X"):
            costs.append(-best.try_out(tuple(float(gene) for gene in point)))
            yield best.answer()
        generation.set("F", np.array(costs)[:, None])
        for each in generation:
            each.evaluated.add("F")
        search.tell(infills=generation)


def tpe(problem: Problem, budget: int) -> Iterator[Answer]:
    """optuna's TPE with its defaults."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=problem.seed + 1)
    )
    best = Best(problem)
    while problem.spent < budget:
        trial = study.ask()
        genome = tuple(trial.suggest_float(axis.name, axis.low, axis.high) for axis in problem.space.axes)
        study.tell(trial, best.try_out(genome))
        yield best.answer()


def random_search(problem: Problem, budget: int) -> Iterator[Answer]:
    """Uniform within the bounds."""
    rng = np.random.default_rng(problem.seed + 1)
    best = Best(problem)
    while problem.spent < budget:
        best.try_out(tuple(float(rng.uniform(axis.low, axis.high)) for axis in problem.space.axes))
        yield best.answer()


PEERS: dict[str, Callable[[Problem, int], Iterator[Answer]]] = {
    "mergekit-evolve": mergekit_evolve,
    "pycma": pycma,
    "pymoo GA": pymoo_ga,
    "optuna TPE": tpe,
    "random": random_search,
}
