"""kingyo's searches beside those of public libraries on the zoo, at equal item evaluations.

    python benchmarks/search.py --seeds 10 --out results.jsonl
    python benchmarks/search.py --out results.jsonl --markdown      (the tables of docs/benchmarks-search.md)

Each search is run on splits drawn by its seed; what it would answer is scored on the 700 test items at some
numbers of item evaluations, which costs it nothing and tells it nothing. kingyo's baselines (parents and the
uniform merge, which it learns from) count as spent. Results that are in the file are not run again.

`--searches` "fast, …" and "cma-es, …" tell what each part of a screen gains, `--settings two
"two and four useless"` what useless sources cost.
It needs `pip install -e '.[bench]'` in a clone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

from searching.ours import search
from searching.peers import FEVALS, PEERS
from searching.tables import render
from searching.zoo import SETTINGS, Problem

from kingyo.core.types import Genome

CHECKPOINTS = (
    240,
    360,
    480,
    600,
    720,
    960,
    1200,
    1440,
    1680,
    1920,
    2160,
    2400,
    2496,
    3000,
    3600,
    4800,
    7200,
    9600,
    12_000,
)
FAST: dict[str, object] = {"strategy": "item-gp", "screen": {"items": 16}}
OURS: dict[str, dict[str, object]] = {
    "fast": FAST,
    "quality": {"strategy": "coarse-to-fine", "screen": {"items": 24}},
}
ABLATIONS: dict[str, dict[str, object]] = {
    "fast, any items": {**FAST, "screen": {"items": 16, "choose": "random"}},
    "fast, all items": {**FAST, "screen": {"items": None}},
    "fast, cold start": {**FAST, "warm_start": False},
    "fast, nothing reused": {**FAST, "reuse": False},
    "cma-es, all items": {"strategy": "cma-es"},
    "cma-es, some items": {"strategy": "cma-es", "screen": {"items": 16}},
}
BUDGET = 2400


def main() -> None:
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=["four", "five"])
    parser.add_argument(
        "--searches", nargs="+", choices=[*OURS, *ABLATIONS, *PEERS], default=["fast", *PEERS]
    )
    parser.add_argument(
        "--budget", type=int, default=BUDGET, help="item evaluations of all but mergekit-evolve"
    )
    parser.add_argument("--workers", type=int, default=1, help="runs at a time")
    parser.add_argument("--out", type=Path, default=Path("search.jsonl"), help="where results are kept")
    parser.add_argument("--markdown", action="store_true", help="print tables in Markdown, run nothing")
    arguments = parser.parse_args()
    done = read(arguments.out)
    if not arguments.markdown:
        wanted = [
            (setting, name, seed, budget_of(name, arguments.budget, setting))
            for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds)
            for setting in arguments.settings
            for name in arguments.searches
        ]
        known = {(each["setting"], each["search"], each["seed"], each["budget"]) for each in done}
        missing = [each for each in wanted if each not in known]
        with get_context("spawn").Pool(arguments.workers) as pool:
            for result in pool.imap_unordered(run, missing):
                with arguments.out.open("a") as file:
                    file.write(json.dumps(result) + "\n")
                print(" ".join(str(result[key]) for key in ("setting", "search", "seed")), file=sys.stderr)
        done = read(arguments.out)
    print(render(done, markdown=arguments.markdown))


def read(path: Path) -> list[dict[str, object]]:
    """Results of earlier calls."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def budget_of(name: str, budget: int, setting: str) -> int:
    """mergekit-evolve is given what it takes by default."""
    return FEVALS * SETTINGS[setting].fit if name == "mergekit-evolve" else budget


def run(wanted: tuple[str, str, int, int]) -> dict[str, object]:
    """Run one search; its answers are tested at the checkpoints and at the end."""
    setting, name, seed, budget = wanted
    problem = Problem(setting=SETTINGS[setting], seed=seed)
    trace: list[tuple[int, float]] = []
    latest: list[tuple[int, Genome]] = []

    def report(spent: int, genome: Genome) -> None:
        passed = [each for each in CHECKPOINTS if (latest[-1][0] if latest else 0) < each <= spent]
        latest.append((spent, genome))
        if passed:
            trace.append((spent, problem.test(genome)))

    ours = {**OURS, **ABLATIONS}
    if name in ours:
        search(problem, budget, ours[name], report)
    else:
        for spent, genome in _answers(name, problem, budget):
            report(spent, genome)
    spent, genome = latest[-1]
    trace.append((spent, problem.test(genome)))
    return {"setting": setting, "search": name, "seed": seed, "budget": budget, "trace": trace}


def _answers(name: str, problem: Problem, budget: int) -> Iterator[tuple[int, Genome]]:
    yield from PEERS[name](problem, budget)


if __name__ == "__main__":
    main()
