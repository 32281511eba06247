"""Compare the default search, which learns weights by gradient, with other ways at equal cost.

    python benchmarks/learning.py --work DIR --domains ja-five ja-partial --seeds 0 1 2 3 4
    python benchmarks/learning.py --work DIR --domains ja-partial@16 ja-partial@32 --ways bred search
    python benchmarks/learning.py --work DIR --table

`NAME@N` is a domain with N fit items. Domains of SmolLM2 and of ViT need `--models DIR`, with the folders
`smol`, which `benchmarks/domains/specialists.py --out DIR/smol` writes, and `vision`, which
`examples/vision/build.py --out DIR/vision` does. Ways:

    bred            the default search
    search          the same without learning (learn: false)
    random, grid    its controls
    trained         a LoRA trained on the same fit items from the best parent, for as long as bred took
    tuned           `kingyo tune` after bred; `tuned parent` is the same training from the best parent
    mergekit-evolve CMA-ES with the settings of mergekit-evolve
    ten times       mergekit-evolve with ten times the budget, only if `--ways` names it

All searches have the item evaluations of bred, where an example in a gradient step counts as three.
Candidates of TPE and of mergekit-evolve are scored on all fit items, others on 32. Each seed splits the items
anew. Finished runs are read, stopped runs are resumed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import yaml
from learned.domains import DOMAINS, FIT, Config
from searching.tables import interval
from seeds import kingyo, points, print_row

from kingyo.runs.adapters import read_training
from kingyo.search.evolution import BASELINES
from kingyo.stats import Groups, paired_difference
from kingyo.store import RunStore
from kingyo.views.results.summary import summarize

MERGEKIT: Config = {"search": {"preset": "mergekit-evolve"}}
NO_CONTROLS = {"random": False, "grid": False, "trained": False}
WAYS: Mapping[str, Config] = {
    "bred": {"controls": {"random": True, "grid": True, "trained": True}, "tune": True},
    "search": {"learn": False},
    "mergekit-evolve": MERGEKIT,
    "ten times": MERGEKIT,
}
SCREEN = 32
"""Items that a candidate of the default search is scored on."""
SCORED_ON_ALL = ("mergekit-evolve", "ten times")
USUAL = ("bred", "search", "mergekit-evolve")
SEARCHES = {
    "random": "random",
    "grid": "grid",
    "trained": "trained",
    "tuned": "tuned",
    "tuned_parent": "tuned parent",
}
Scores = Mapping[str, float]


def main() -> None:
    """Run what is missing, then print the tables of all finished runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where runs are or go")
    parser.add_argument("--domains", nargs="+", default=list(DOMAINS), metavar="NAME[@N]")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=USUAL)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--models", type=Path, help="folder of the models that are built first")
    parser.add_argument("--table", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    unknown = {name.partition("@")[0] for name in arguments.domains} - DOMAINS.keys()
    if unknown:
        parser.error(f"--domains: {', '.join(sorted(unknown))} unknown; known are {', '.join(DOMAINS)}")
    work: Path = arguments.work.resolve()
    for seed in [] if arguments.table else arguments.seeds:
        for name in arguments.domains:
            for way in arguments.ways:
                run_way(work, name, seed, way, arguments.models)
    cells = [cell for name in arguments.domains if (cell := Cell.read(work, name)) is not None]
    print_tables(cells)


def config_of(name: str, seed: int, way: str, models: Path | None) -> Config:
    """Return the run.yaml of a way on a domain."""
    domain_name, _, fit = name.partition("@")
    domain = DOMAINS[domain_name]
    config = {
        **domain.config(seed, models, int(fit) if fit else None),
        "controls": NO_CONTROLS,
        **WAYS[way],
    }
    if way == "bred" and not domain.has_adapters:
        config["controls"] = {**config["controls"], "trained": False}
        del config["tune"]
    if way in SCORED_ON_ALL:
        sizes = domain.splits or {"fit": FIT}
        n_fit = int(fit) if fit else sizes["fit"]
        evaluations = domain.candidates * min(SCREEN, n_fit)
        config["budget"] = {"item_evaluations": (10 if way == "ten times" else 1) * evaluations}
    return config


def run_way(work: Path, name: str, seed: int, way: str, models: Path | None) -> None:
    """Run a way on a domain, or go on with it."""
    run = work / name / f"{way}-{seed}"
    if not run.exists():
        run.parent.mkdir(parents=True, exist_ok=True)
        config = config_of(name, seed, way, models)
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
        self.exported: dict[int, float] = {}  # test scores in percent
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
            for search in store.searches():
                winner, title = store.winner(search), SEARCHES.get(search, way)  # the main one is the way's
                if winner is not None:
                    self.scores[seed][title] = store.scores_of(winner.id, "test")
                    self.seconds[seed][title] = seconds_of(store, search)
            if way == "bred":
                for trial in store.trials(BASELINES):
                    self.scores[seed][f"parent {trial.name}"] = store.scores_of(trial.id, "test")
                choice = summarize(store).choice
                assert choice is not None, f"{run} is finished"
                self.exported[seed] = 100 * fmean(store.scores_of(choice.best, "test").values())

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
        found = paired_difference(pairs, [1.0] * len(pairs), groups=groups).interval
        return {"score": found.score, "low": found.low, "high": found.high}


def seconds_of(store: RunStore, search: str) -> float:
    """Return the seconds that a search took on fit, training included."""
    training = read_training(store, search)
    trained = 0.0 if training is None else sum(each.seconds or 0.0 for each in training.settings)
    return trained + sum(seconds for _, seconds in store.costs(search, "fit").values())


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
    """Print means over domains, seconds against bred's, and runs below the best baseline."""
    print("\nAll domains: 0 is the best baseline of a seed, 100 the best that any way reached\n")
    columns = (
        "way",
        "domains",
        "scaled",
        "bred − way",
        "way ≥ bred",
        "seconds / bred's",
        "below the best baseline",
    )
    print_row(columns)
    print_row(["---"] * len(columns))
    for way in ways:
        own = {cell.name: [seed for seed in cell.scores if way in cell.scores[seed]] for cell in cells}
        runs = [(cell, seed) for cell in cells for seed in own[cell.name]]
        scaled = [
            fmean(cell.scaled(seed, way) for seed in own[cell.name]) for cell in cells if own[cell.name]
        ]
        leads = [
            fmean(cell.scaled(seed, "bred") - cell.scaled(seed, way) for seed in own[cell.name])
            for cell in cells
            if own[cell.name]
        ]
        cells_of_row = [
            way,
            str(len(scaled)),
            f"{fmean(scaled):.1f}",
            interval(leads, signed=True),
            str(sum(lead <= 0 for lead in leads)),
            f"{fmean(cell.seconds[seed][way] / cell.seconds[seed]['bred'] for cell, seed in runs):.2f}",
            f"{sum(is_below(cell.mean(seed, way), cell, seed) for cell, seed in runs)} of {len(runs)}",
        ]
        print_row(cells_of_row)
    exported = [(cell, seed) for cell in cells for seed in cell.exported]
    n_below = sum(is_below(cell.exported[seed], cell, seed) for cell, seed in exported)
    print(f"\nexported models below the best baseline: {n_below} of {len(exported)}")


def is_below(score: float, cell: Cell, seed: int) -> bool:
    """Return whether a test score is below that of the best baseline."""
    return score < cell.mean(seed, cell.parent(seed)) - 1e-9


if __name__ == "__main__":
    main()
