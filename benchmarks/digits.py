"""Evolve digit classifiers from random weights without gradients, by several algorithms at equal budgets.

The first experiment of Abrantes, Lange, Tang 2025 (arXiv:2508.16204) on scikit-learn's digits: the search
sees the first 80% of the images (1437); the last 360 (other writers) are the test. A genome is all 19,210
weights of a network 64-256-10. An evaluation is one pass over the images of the search.

All start from N(0, 0.01²) and mutate by 0.01. The answer of a search is the genome with the best score on its
own images; ties go to the first. Tests are read at the points of the curve and decide nothing.

    m2n2        kingyo's Breeder (without trials: History would keep 600 KB per trial)
    cma-es      pycma as in the paper, see ``cma_es`` for the part that is left out
    sep-cma     the separable CMA-ES of ``cmaes``, not in the paper: it learns 19,210 step sizes
    map-elites  the paper's: a grid of 10 × 10 by accuracy on even and on odd digits, parents in proportion to
                quality, M2N2's crossover and mutation
    ga          M2N2 without competition for images

It needs `pip install -e '.[bench,report]'` in a clone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import numpy as np
from cmaes import SepCMA  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray

from kingyo.core.types import Axis
from kingyo.search.strategies.m2n2 import M2N2, Breeder, Member, split_slerp

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

SHAPES = ((64, 256), (256,), (256, 10), (10,))
N_WEIGHTS = sum(int(np.prod(shape)) for shape in SHAPES)
STEP = 0.01  # first weights and mutations
LIMIT = 1.0  # M2N2's axes have bounds: a hundred steps
POPULATION = 20
CELLS = 10
POINTS = 50  # of a curve


@dataclass(frozen=True, kw_only=True)
class Digits:
    """Images and labels of the search and of the test."""

    fit: NDArray[np.float32]
    fit_labels: NDArray[np.int64]
    test: NDArray[np.float32]
    test_labels: NDArray[np.int64]

    @staticmethod
    def load() -> Digits:
        """Split as the paper does, in scikit-learn's order."""
        from sklearn.datasets import load_digits  # pyright: ignore[reportMissingTypeStubs]

        bunch = cast(tuple[Array, NDArray[np.int64]], load_digits(return_X_y=True))
        images, labels = bunch[0].astype(np.float32), bunch[1]
        cut = int(0.8 * len(images))
        return Digits(fit=images[:cut], fit_labels=labels[:cut], test=images[cut:], test_labels=labels[cut:])


def right(weights: Array, images: NDArray[np.float32], labels: NDArray[np.int64]) -> Flags:
    """Return which images the network classifies correctly."""
    cuts = np.cumsum([int(np.prod(shape)) for shape in SHAPES])[:-1]
    parts = zip(np.split(weights.astype(np.float32), cuts), SHAPES, strict=True)
    w1, b1, w2, b2 = (part.reshape(shape) for part, shape in parts)
    return (np.maximum(images @ w1 + b1, 0) @ w2 + b2).argmax(axis=1) == labels


Search = Iterator[tuple[Array, Flags]]
Evaluate = Callable[[Array], Flags]


def m2n2(evaluate: Evaluate, _is_odd: Flags, seed: int, alpha: float = 1.0) -> Search:
    """Search with the paper's settings; the first two models are random, as in its code."""
    axes = tuple(Axis(name=f"w{i}", low=-LIMIT, high=LIMIT, start=0.0) for i in range(N_WEIGHTS))
    fraction = STEP / (2 * LIMIT)
    settings = M2N2.Settings(population=POPULATION, alpha=alpha, spread=fraction, mutation_step=fraction)
    breeder, number = Breeder(axes, seed, settings), 0
    while True:
        weights = breeder.random_point() if number < 2 else breeder.child()[0]
        found = evaluate(weights)
        yield weights, found
        scores = found.astype(np.float64)
        breeder.niches.add(Member(number=number, genes=weights, scores=scores, value=float(scores.mean())))
        number += 1


def ga(evaluate: Evaluate, is_odd: Flags, seed: int) -> Search:
    """Search by M2N2 without competition but with attraction, the paper's ablation."""
    return m2n2(evaluate, is_odd, seed, alpha=0.0)


def sep_cma(evaluate: Evaluate, _is_odd: Flags, seed: int) -> Search:
    """Search by CMA-ES with a diagonal covariance."""
    first = np.random.RandomState(seed).normal(scale=STEP, size=N_WEIGHTS)
    cma = SepCMA(mean=first, sigma=STEP, seed=seed, population_size=POPULATION)
    while True:
        solutions: list[tuple[Array, float]] = []
        for _ in range(POPULATION):
            weights = cma.ask()
            found = evaluate(weights)
            yield weights, found
            solutions.append((weights, -float(found.mean())))
        cma.tell(solutions)


def cma_es(evaluate: Evaluate, _is_odd: Flags, seed: int) -> Search:
    """Search by the paper's CMA-ES (pycma) without covariance updates, which are too slow to matter.

    With 19,210 weights and a population of 20, c₁ + c_μ is 2.7e-8: after 2,500 generations the covariance
    would have changed by 7e-5. Without the updates no matrix of 3 GB is kept and decomposed.
    """
    import cma

    first = np.random.RandomState(seed).normal(scale=STEP, size=N_WEIGHTS)
    options = {"popsize": POPULATION, "seed": seed + 1, "CMA_on": 0, "CMA_diagonal": True, "verbose": -9}
    search = cma.CMAEvolutionStrategy(first, STEP, options)
    while True:
        points = search.ask()
        costs: list[float] = []
        for weights in points:
            found = evaluate(weights)
            yield weights, found
            costs.append(-float(found.mean()))
        search.tell(points, costs)


def map_elites(evaluate: Evaluate, is_odd: Flags, seed: int) -> Search:
    """Search by a grid of cells by accuracy on odd and even digits; each cell keeps its best."""
    rng = np.random.RandomState(seed)
    cells: dict[tuple[int, int], tuple[Array, float]] = {}
    place, floats = np.arange(N_WEIGHTS) / (N_WEIGHTS - 1), np.ones(N_WEIGHTS, dtype=bool)
    number = 0
    while True:
        noise = rng.normal(scale=STEP, size=N_WEIGHTS)
        weights = noise
        if number >= 2:
            elites = list(cells.values())
            quality = np.array([accuracy for _, accuracy in elites])
            one, two = rng.choice(len(elites), size=2, replace=len(elites) < 2, p=quality / quality.sum())
            left, w = place < rng.uniform(), rng.uniform()
            a, b = elites[one][0], elites[two][0]
            weights = split_slerp(a, b, ratio=w, left=left, floats=floats) + noise
        found = evaluate(weights)
        yield weights, found
        accuracy = float(found.mean())
        places = (min(CELLS - 1, int(CELLS * found[part].mean())) for part in (is_odd, ~is_odd))
        cell = next(places), next(places)
        if cell not in cells or accuracy > cells[cell][1]:
            cells[cell] = (weights, accuracy)
        number += 1


ALGORITHMS: dict[str, Callable[[Evaluate, Flags, int], Search]] = {
    "m2n2": m2n2,
    "cma-es": cma_es,
    "sep-cma": sep_cma,
    "map-elites": map_elites,
    "ga": ga,
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """A search: accuracy of its answer on its own images and on the test at the points of the curve."""

    algorithm: str
    seed: int
    evaluations: tuple[int, ...]
    fit: tuple[float, ...]
    test: tuple[float, ...]
    seconds: float


def run(algorithm: str, seed: int, budget: int) -> Run:
    """Search until the budget is spent."""
    digits = Digits.load()
    best, answer = -1.0, np.zeros(N_WEIGHTS)
    curve: list[tuple[int, float, float]] = []
    marks = set(np.unique(np.geomspace(min(20, budget), budget, POINTS).astype(int)).tolist())
    began = time.perf_counter()

    def evaluate(weights: Array) -> Flags:
        return right(weights, digits.fit, digits.fit_labels)

    search = ALGORITHMS[algorithm](evaluate, digits.fit_labels % 2 == 1, seed)
    for count, (weights, found) in enumerate(search, start=1):
        if found.mean() > best:
            best, answer = float(found.mean()), weights.copy()
        if count in marks:
            curve.append((count, best, float(right(answer, digits.test, digits.test_labels).mean())))
        if count == budget:
            break
    counts, fit, test = zip(*curve, strict=True)
    seconds = time.perf_counter() - began
    return Run(algorithm=algorithm, seed=seed, evaluations=counts, fit=fit, test=test, seconds=seconds)


def mean_with_interval(values: Sequence[float]) -> dict[str, float]:
    """Return the mean with Student's 95% interval; a bootstrap of few seeds is too narrow."""
    from scipy.stats import t  # pyright: ignore[reportMissingTypeStubs]

    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return {"mean": mean, "n": n}
    reach = float(t.ppf(0.975, n - 1)) * float(np.std(values, ddof=1)) / np.sqrt(n)
    return {"mean": mean, "low": float(mean - reach), "high": float(mean + reach), "n": n}


def summary(runs: Sequence[Run], reference: str = "m2n2") -> dict[str, dict[str, object]]:
    """Return accuracies by algorithm, and the reference's lead on the test, paired by seed."""
    tests = {(each.algorithm, each.seed): each.test[-1] for each in runs}
    table: dict[str, dict[str, object]] = {}
    for name in dict.fromkeys(each.algorithm for each in runs):
        own = [each for each in runs if each.algorithm == name]
        table[name] = {
            "fit": mean_with_interval([each.fit[-1] for each in own]),
            "test": mean_with_interval([each.test[-1] for each in own]),
            "seconds": float(np.mean([each.seconds for each in own])),
        }
        ahead = [tests[reference, r.seed] - r.test[-1] for r in own if (reference, r.seed) in tests]
        if name != reference and ahead:
            table[name]["ahead"] = mean_with_interval(ahead)
    return table


def show(table: dict[str, dict[str, object]]) -> None:
    """Print the table in Markdown, in percent."""
    print("| algorithm | fit | test | lead of m2n2 on test, paired | seconds per seed |")
    print("| --- | --- | --- | --- | --- |")
    for name, row in table.items():
        cells = [percent(row.get(key)) for key in ("fit", "test", "ahead")]
        print(f"| {name} | {' | '.join(cells)} | {row['seconds']:.0f} |")


def percent(value: object) -> str:
    """Return a mean with its interval; a dash if there is none."""
    if not isinstance(value, dict):
        return "—"
    numbers = cast(dict[str, float], value)
    if "low" not in numbers:
        return f"{100 * numbers['mean']:.1f}"
    return f"{100 * numbers['mean']:.1f} [{100 * numbers['low']:.1f}, {100 * numbers['high']:.1f}]"


def plot(runs: Sequence[Run], path: Path) -> None:
    """Mean test accuracy along the way, with the range of the seeds."""
    from kingyo.views.charts import Chart, field, layer, layers, legend_of, rows, scale
    from kingyo.views.charts.draw import png

    series = [f"var(--{name})" for name in ("accent", "blue", "ochre", "green", "violet", "grey")]
    shown: list[dict[str, object]] = []
    for name in dict.fromkeys(each.algorithm for each in runs):
        own = [each for each in runs if each.algorithm == name]
        tests = np.array([each.test for each in own])
        for i, count in enumerate(own[0].evaluations):
            row = {"name": f"{name}, {len(own)} seeds", "evaluations": count, "mean": tests[:, i].mean()}
            shown.append({**row, "low": tests[:, i].min(), "high": tests[:, i].max()})
    names = dict.fromkeys(str(row["name"]) for row in shown)
    colour = {"field": "name", "type": "nominal", **legend_of(dict(zip(names, series, strict=False)))}
    x = field("evaluations", scale={"type": "log", "nice": False}, axis={"grid": False})
    height = field("mean", scale=scale(0, 1))
    range_ = {"x": x, "y": field("low"), "y2": {"field": "high"}, "color": colour}
    drawn = [layer("area", range_, opacity=0.15), layer("line", {"x": x, "y": height, "color": colour})]
    spec = layers("evaluations", "test accuracy", drawn, data=rows(shown))
    path.write_bytes(png(Chart(name="digits", description="Test accuracy.", spec=spec, height=400)))


def arguments() -> argparse.Namespace:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--budget", type=int, default=50_000, help="evaluations of each search")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument(
        "--algorithms", nargs="+", choices=ALGORITHMS, default=["m2n2", "cma-es", "map-elites"]
    )
    parser.add_argument("--workers", type=int, default=1, help="searches side by side, one thread each")
    parser.add_argument(
        "--json", type=Path, help="keep all curves and the table here; runs in it are not repeated"
    )
    parser.add_argument("--plot", type=Path, help="write the curve here, as PNG")
    return parser.parse_args()


def main() -> None:
    """Run every algorithm with every seed, then print, write and plot."""
    asked = arguments()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"  # read by the spawned workers
    runs = read(asked.json, asked.budget) if asked.json else []
    done = {(each.algorithm, each.seed) for each in runs}
    jobs = [(name, seed) for seed in asked.seeds for name in asked.algorithms if (name, seed) not in done]
    with ProcessPoolExecutor(asked.workers, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(run, name, seed, asked.budget) for name, seed in jobs]
        for ended in as_completed(waiting):
            runs.append(ended.result())
            each = runs[-1]
            line = f"{each.algorithm} seed {each.seed}: fit {each.fit[-1]:.3f}, test {each.test[-1]:.3f}"
            print(f"{line}, {each.seconds:.0f} s", file=sys.stderr, flush=True)
            if asked.json:
                write(asked.json, runs, asked.budget)
    runs.sort(key=lambda each: (list(ALGORITHMS).index(each.algorithm), each.seed))
    if asked.json:
        write(asked.json, runs, asked.budget)
    show(summary(runs))
    if asked.plot:
        plot(runs, asked.plot)


def read(path: Path, budget: int) -> list[Run]:
    """Return the runs of an earlier call with the same budget."""
    if not path.exists():
        return []
    values = json.loads(path.read_text(encoding="utf-8"))
    known = cast(list[dict[str, Any]], values["runs"]) if values["budget"] == budget else []
    return [_run_of(each) for each in known]


def _run_of(values: dict[str, Any]) -> Run:
    curves = {name: tuple(values[name]) for name in ("evaluations", "fit", "test")}
    return Run(**cast(dict[str, Any], {**values, **curves}))


def write(path: Path, runs: Sequence[Run], budget: int) -> None:
    """Write all results so far, so that a stopped call keeps them."""
    values = {"budget": budget, "table": summary(runs), "runs": [asdict(each) for each in runs]}
    path.write_text(json.dumps(values, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
