"""Compare the default search, which learns weights by gradient, with other ways at equal cost.

    python benchmarks/learning.py --work DIR --domains ja-five ja-partial --seeds 0 1 2 3 4
    python benchmarks/learning.py --work DIR --table

Domains of SmolLM2 need `--models DIR`, the folder that `benchmarks/domains/specialists.py` wrote. Ways:

    bred            the default search
    search          the same without learning (learn: false)
    random, grid    its controls
    trained         a LoRA trained on the same fit items from the best parent, for as long as bred took
    tpe             optuna's TPE
    mergekit-evolve CMA-ES with the settings of mergekit-evolve

All have the item evaluations of bred, where an example in a gradient step counts as three. Each seed splits
the items anew. Finished runs are read, stopped runs are resumed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import yaml
from learned.domains import DOMAINS, Config, Domain, Example
from seeds import kingyo, points, print_row

from kingyo.evolution import BASELINES
from kingyo.stats import Groups, interval, paired_difference
from kingyo.store import RunStore

WAYS: Mapping[str, Config] = {
    "bred": {"controls": {"random": True, "grid": True, "trained": True}},
    "search": {"learn": False},
    "tpe": {"search": {"strategy": "tpe"}},
    "mergekit-evolve": {"search": {"preset": "mergekit-evolve"}},
}
CONTROLS = ("random", "grid", "trained")
Scores = Mapping[str, float]


def main() -> None:
    """Run what is missing, then print the tables of all finished runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where runs are or go")
    parser.add_argument("--domains", nargs="+", choices=DOMAINS, default=list(DOMAINS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--models", type=Path, help="the specialists of SmolLM2")
    parser.add_argument("--table", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    work: Path = arguments.work.resolve()
    for name in [] if arguments.table else arguments.domains:
        for seed in arguments.seeds:
            for way in arguments.ways:
                run_way(work, DOMAINS[name], name, seed, way, arguments.models)
    cells = [cell for name in arguments.domains if (cell := Cell.read(work, name)) is not None]
    print_tables(cells)


def run_way(
    work: Path, domain: Domain | Example, name: str, seed: int, way: str, models: Path | None
) -> None:
    """Run a way on a domain, or go on with it."""
    run = work / name / f"{way}-{seed}"
    if not run.exists():
        run.parent.mkdir(parents=True, exist_ok=True)
        config = {**domain.config(seed, models), **WAYS[way]}
        path = run.parent / f"{way}-{seed}.yaml"
        path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
        kingyo("evolve", str(path), "--run", str(run), "--json")
    with RunStore.read(run) as store:
        finished = store.status() == "finished"
    if not finished:
        kingyo("resume", str(run), "--json")


class Cell:
    """A domain: of each seed and way the test scores of the chosen model."""

    def __init__(self, name: str, runs: Mapping[int, Mapping[str, Path]]) -> None:
        self.name = name
        self.groups: dict[str, str] = {}
        self.scores: dict[int, dict[str, Scores]] = {}
        self.seconds: dict[int, dict[str, float]] = {}
        for seed, ways in runs.items():
            self.scores[seed], self.seconds[seed] = {}, {}
            for way, run in ways.items():
                self._read(seed, way, run)

    @staticmethod
    def read(work: Path, name: str) -> Cell | None:
        """Read the finished runs of a domain; None if there are none."""
        runs: dict[int, dict[str, Path]] = {}
        for file in sorted((work / name).glob("*/run.db")):
            way, _, seed = file.parent.name.rpartition("-")
            with RunStore.read(file.parent) as store:
                if store.status() == "finished":
                    runs.setdefault(int(seed), {})[way] = file.parent
        runs = {seed: ways for seed, ways in runs.items() if "bred" in ways}
        return Cell(name, runs) if runs else None

    def _read(self, seed: int, way: str, run: Path) -> None:
        with RunStore.read(run) as store:
            self.groups |= store.groups()
            for search in ("main", *CONTROLS):
                winner = store.winner(search) if search in store.searches() else None
                if winner is not None:
                    title = way if search == "main" else search
                    self.scores[seed][title] = store.scores_of(winner.id, "test")
                    self.seconds[seed][title] = sum(s for _, s in store.costs(search, "fit").values())
            if way == "bred":
                for trial in store.trials(BASELINES):
                    self.scores[seed][f"parent {trial.name}"] = store.scores_of(trial.id, "test")

    def mean(self, seed: int, way: str) -> float:
        """Return a mean test score in percent."""
        return 100 * fmean(self.scores[seed][way].values())

    def parent(self, seed: int) -> str:
        """Return the best baseline on test."""
        parents = [way for way in self.scores[seed] if way.startswith("parent ")]
        return max(parents, key=lambda way: self.mean(seed, way))

    def ways(self) -> list[str]:
        """Return the ways of any seed, baselines aside."""
        found = dict.fromkeys(way for ways in self.scores.values() for way in ways)
        return [way for way in found if not way.startswith("parent ")]

    def scaled(self, seed: int, way: str) -> float:
        """Return a score between the best baseline, 0, and the best that any way has reached, 100."""
        low = self.mean(seed, self.parent(seed))
        high = max(self.mean(each, other) for each in self.scores for other in self.scores[each])
        return 0.0 if high <= low else 100 * (self.mean(seed, way) - low) / (high - low)

    def difference(self, other: str) -> dict[str, float] | None:
        """Return bred − another way, over all seeds that have both, by item."""
        seeds = [seed for seed, ways in self.scores.items() if other in ways]
        if not seeds:
            return None
        pairs, groups = [], []
        for seed in seeds:
            ours, theirs = self.scores[seed]["bred"], self.scores[seed][other]
            items = sorted(ours.keys() & theirs.keys())
            pairs.append(([ours[item] for item in items], [theirs[item] for item in items]))
            groups.append(Groups.of(self.groups.get(item, "") for item in items))
        found = paired_difference(pairs, groups=groups).interval
        return {"score": found.score, "low": found.low, "high": found.high}


def print_tables(cells: Sequence[Cell]) -> None:
    """Print scores by domain, differences, and all domains together."""
    ways = list(dict.fromkeys(way for cell in cells for way in cell.ways()))
    print("\nMean test score in % over the seeds\n")
    print_row(["domain", "seeds", "n", "best baseline", *ways])
    print_row(["---"] * (4 + len(ways)))
    for cell in cells:
        n = len(next(iter(cell.scores.values()))["bred"])
        parent = fmean(cell.mean(seed, cell.parent(seed)) for seed in cell.scores)
        means = [_mean(cell, way) for way in ways]
        print_row([cell.name, str(len(cell.scores)), str(n), f"{parent:.1f}", *means])
    others = [way for way in ways if way != "bred"]
    print("\nbred − other in points, by item\n")
    print_row(["domain", *others])
    print_row(["---"] * (1 + len(others)))
    for cell in cells:
        found = [cell.difference(way) for way in others]
        print_row([cell.name, *("" if each is None else points(each) for each in found)])
    _print_together(cells, ways)


def _mean(cell: Cell, way: str) -> str:
    found = [cell.mean(seed, way) for seed in cell.scores if way in cell.scores[seed]]
    return f"{fmean(found):.1f}" if found else ""


def _print_together(cells: Sequence[Cell], ways: Sequence[str]) -> None:
    """Print the scaled means over domains, seconds against bred, and runs below the best baseline."""
    print("\nAll domains: 0 is the best baseline of a seed, 100 the best that any way reached\n")
    print_row(["way", "domains", "scaled", "bred − way", "seconds / bred's", "below the best baseline"])
    print_row(["---"] * 6)
    for way in ways:
        by_domain: list[float] = []
        leads: list[float] = []
        ratios: list[float] = []
        runs = below = 0
        for cell in cells:
            seeds = [seed for seed in cell.scores if way in cell.scores[seed]]
            if not seeds:
                continue
            by_domain.append(fmean(cell.scaled(seed, way) for seed in seeds))
            leads.append(fmean(cell.scaled(seed, "bred") - cell.scaled(seed, way) for seed in seeds))
            ratios += [cell.seconds[seed][way] / cell.seconds[seed]["bred"] for seed in seeds]
            runs += len(seeds)
            below += sum(cell.mean(seed, way) < cell.mean(seed, cell.parent(seed)) for seed in seeds)
        lead = interval([(each + 100) / 200 for each in leads])
        shown = {key: 2 * getattr(lead, key) - 1 for key in ("score", "low", "high")}
        print_row(
            [
                way,
                str(len(by_domain)),
                f"{fmean(by_domain):.1f}",
                points(shown),
                f"{fmean(ratios):.2f}",
                f"{below} of {runs}",
            ]
        )


if __name__ == "__main__":
    main()
