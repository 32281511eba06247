"""The genetic algorithm on 0/1 knapsacks, beside the exact optimum by dynamic programming.

Each instance has things of random weight and value, and room for half of the total weight. A pack that is
too heavy is repaired before it is scored: its things of least value per weight are left out until it fits
(Michalewicz 1996, Genetic Algorithms + Data Structures = Evolution Programs). ``--penalty`` scores it by
minus its excess instead.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from dataclasses import asdict, dataclass

from kingyo.core.types import Axis, Genome, Outcome, Trial
from kingyo.search.strategies import build


@dataclass(frozen=True, kw_only=True)
class Instance:
    """Things with a weight and a value, and the weight that can be carried."""

    weights: tuple[int, ...]
    values: tuple[int, ...]
    capacity: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """How one instance went: the value found, the best there is, and what it took to come within 1%."""

    seed: int
    found: float
    optimum: int
    evaluations: int
    evaluations_within: int | None

    @property
    def gap(self) -> float:
        """What is missing to the optimum, as a share of it."""
        return 1 - self.found / self.optimum


def main() -> None:
    """Solve, then print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=50)
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--budget", type=int, default=3000, help="evaluations per instance")
    parser.add_argument("--population", type=int, default=20)
    parser.add_argument("--penalty", action="store_true", help="punish packs that are too heavy")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    settings = {"population": arguments.population}
    results = [
        solve(random_instance(arguments.items, seed), seed, arguments.budget, settings, not arguments.penalty)
        for seed in range(arguments.instances)
    ]
    summary = summarise(results)
    if arguments.json:
        print(json.dumps({**summary, "results": [asdict(each) for each in results]}, indent=2))
        return
    print("| measure | value |\n|---|---|")
    for name, value in summary.items():
        print(f"| {name.replace('_', ' ')} | {'none' if value is None else format(value, '.4g')} |")


def random_instance(items: int, seed: int) -> Instance:
    """Weights and values from 1 to 100, independent of each other; room for half of the weight."""
    rng = random.Random(seed)
    weights = tuple(rng.randint(1, 100) for _ in range(items))
    values = tuple(rng.randint(1, 100) for _ in range(items))
    return Instance(weights=weights, values=values, capacity=sum(weights) // 2)


def solve(
    instance: Instance, seed: int, budget: int, settings: dict[str, object], repairs: bool = True
) -> Result:
    """Let the genetic algorithm spend a budget of evaluations on one instance."""
    axes = [Axis(name=f"take/{i}", low=0, high=1, kind="binary") for i in range(len(instance.weights))]
    strategy = build("ga", axes, seed, settings)
    optimum = exact(instance)
    scores: list[float] = []
    while len(scores) < budget:
        trials = strategy.ask(min(strategy.batch, budget - len(scores)))
        found = [score(instance, trial.genome, repairs) for trial in trials]
        strategy.tell([outcome(trial, value) for trial, value in zip(trials, found, strict=True)])
        scores += found
    within = next((n for n, value in enumerate(scores, 1) if value >= 0.99 * optimum), None)
    return Result(
        seed=seed, found=max(scores), optimum=optimum, evaluations=len(scores), evaluations_within=within
    )


def score(instance: Instance, genome: Genome, repairs: bool) -> float:
    """The value of a pack; one that is too heavy is repaired first, or scores minus its excess."""
    taken = {index for index, gene in enumerate(genome) if gene}
    excess = sum(instance.weights[index] for index in taken) - instance.capacity
    if excess > 0 and not repairs:
        return -float(excess)
    for index in sorted(taken, key=lambda i: instance.values[i] / instance.weights[i]):
        if excess <= 0:
            break
        taken.remove(index)
        excess -= instance.weights[index]
    return float(sum(instance.values[index] for index in taken))


def outcome(trial: Trial, value: float) -> Outcome:
    """The trial's outcome, as a strategy is told."""
    return Outcome(trial=trial, items={"value": value})


def exact(instance: Instance) -> int:
    """The optimum, by dynamic programming over the capacity (Bellman 1957)."""
    best = [0] * (instance.capacity + 1)
    for weight, value in zip(instance.weights, instance.values, strict=True):
        for room in range(instance.capacity, weight - 1, -1):
            best[room] = max(best[room], best[room - weight] + value)
    return best[instance.capacity]


def summarise(results: list[Result]) -> dict[str, float | None]:
    """The figures of the table; evaluations to come within 1% are of the instances that did."""
    within = [each.evaluations_within for each in results if each.evaluations_within is not None]
    return {
        "instances": len(results),
        "share_within_1_percent": len(within) / len(results),
        "share_optimal": sum(each.found >= each.optimum for each in results) / len(results),
        "mean_gap_percent": 100 * statistics.mean(each.gap for each in results),
        "largest_gap_percent": 100 * max(each.gap for each in results),
        "evaluations_per_instance": statistics.mean(each.evaluations for each in results),
        "median_evaluations_to_1_percent": statistics.median(within) if within else None,
        "most_evaluations_to_1_percent": max(within, default=None),
    }


if __name__ == "__main__":
    main()
