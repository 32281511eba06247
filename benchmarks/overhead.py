"""What a search costs besides its models: strategy, screen, store, and a resume after thousands of trials.

    python benchmarks/overhead.py                       (the default: item-gp as in the preset fast)
    python benchmarks/overhead.py --strategies ga cma-es --trials 10000
    python benchmarks/overhead.py --zoo                 (what a candidate of the zoo costs)

Each search runs on a real run database; its models are made up and answer at once. Times are seconds of
the processor, without those of the models; a resume, in a process of its own that has imported what it needs,
is timed by the clock as well. The printed table is Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kingyo.core.types import Axis, Evaluation, Genome, Item, ItemScore, Split
from kingyo.merging.recipe import Recipe, Source
from kingyo.search.evolution import MAIN, Event, Journey, Limits, Search, fixed
from kingyo.search.evolution.screens import ScreenSettings
from kingyo.search.evolution.search import run_search
from kingyo.search.evolution.search_log import SearchLog
from kingyo.search.runners import LocalRunner
from kingyo.search.strategies import STRATEGIES, build
from kingyo.store import RunStore

SOURCES = ("ja", "math-en", "math-sym", "poem", "sort")
AXES = tuple(Axis(name=f"weight/{name}", low=0, high=1.5) for name in SOURCES)
PEAK = (0.7, 0.9, 0.4, 0.0, 0.0)
N_ITEMS: Mapping[Split, int] = {"fit": 120, "validation": 20, "test": 20}
SETTINGS: Mapping[str, Mapping[str, object]] = {"grid": {"points": 7}}
WINDOWS = (1000, 5000, 10_000)  # numbers of trials after which the last ones are timed
WINDOW = 500  # how many of them


def main() -> None:
    """Run the searches and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strategies", nargs="+", choices=sorted(STRATEGIES.names()), default=["item-gp"])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=16, help="of 120, that a candidate is scored on")
    parser.add_argument(
        "--candidate-ms", type=float, default=30.0, help="merging and scoring one (see --zoo)"
    )
    parser.add_argument("--zoo", action="store_true", help="measure what a candidate of the zoo costs")
    parser.add_argument("--resume", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.zoo:
        print_zoo(arguments.items)
    elif arguments.resume:
        print(json.dumps(resumed(arguments.resume, arguments.strategies[0], arguments)))
    else:
        print_table(arguments)


def print_table(arguments: argparse.Namespace) -> None:
    """One row per strategy."""
    windows = [each for each in WINDOWS if each < arguments.trials] + [arguments.trials]
    head = [
        "strategy",
        *(f"ms a trial at {each:,}" for each in windows),
        f"share at {arguments.candidate_ms:g} ms a candidate",
        f"resume of {arguments.trials:,}, s (processor)",
        "database, MB",
    ]
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for name in arguments.strategies:
        print("| " + " | ".join(row(name, windows, arguments)) + " |", flush=True)


def row(name: str, windows: Sequence[int], arguments: argparse.Namespace) -> list[str]:
    """Search, resume in another process, and tell what both took."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        watch = searched(run, name, arguments)
        done = subprocess.run(
            [
                *(sys.executable, __file__, "--resume", str(run), "--strategies", name),
                *("--trials", str(arguments.trials), "--items", str(arguments.items)),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        again = json.loads(done.stdout)
        size = sum(path.stat().st_size for path in run.glob("run.db*")) / 2**20
    each = [watch.at(n) for n in windows]
    overhead = watch.seconds(watch.n) / watch.n
    share = overhead / (overhead + arguments.candidate_ms / 1000)
    return [
        name,
        *("-" if ms is None else f"{ms:.2f}" for ms in each),
        f"{share:.1%}",
        f"{again['clock']:.1f} ({again['processor']:.1f})",
        f"{size:.0f}",
    ]


@dataclass(kw_only=True)
class Watch:
    """The models, and the processor's time of all else, by the number of trials told."""

    spent: float = 0.0
    began: float = field(default_factory=time.process_time)
    marks: dict[int, float] = field(default_factory=dict[int, float])
    n: int = 0

    def __call__(self, recipe: Recipe, split: Split, items: Sequence[str]) -> Evaluation:  # noqa: ARG002
        """Answer items, each right with a chance that falls with the distance to a peak."""
        began = time.process_time()
        genes = [float(source.parameters["weight"]) for source in recipe.sources]  # type: ignore[arg-type]
        chance = math.exp(-sum((gene - best) ** 2 for gene, best in zip(genes, PEAK, strict=True)))
        scores = tuple(
            ItemScore(item=item, score=float(_coin(recipe, item) < chance), answer="an answer")
            for item in items
        )
        self.spent += time.process_time() - began
        return Evaluation(scores=scores, build_seconds=0.005, score_seconds=0.025)

    def notify(self, event: Event) -> None:
        """Mark when each trial is told."""
        if event.kind == "told":
            self.n += 1
            self.marks[self.n] = time.process_time() - self.began - self.spent
            if self.n % 1000 == 0:
                print(f"{self.n:,} trials, {self.at(self.n):.2f} ms a trial", file=sys.stderr, flush=True)

    def seconds(self, n: int) -> float:
        """Of the first n trials."""
        return self.marks[n]

    def at(self, n: int) -> float | None:
        """Milliseconds a trial, over the last ones of the first n."""
        before = n - WINDOW
        if n not in self.marks or before not in self.marks:
            return None
        return 1000 * (self.marks[n] - self.marks[before]) / WINDOW


class Weights:
    """Recipes with a weight per source."""

    axes = AXES

    def decode(self, genome: Genome) -> Recipe:
        """As a search on one group does it."""
        sources = zip(SOURCES, genome, strict=True)
        return Recipe(
            merge_method="task_arithmetic",
            base_model="base",
            sources=tuple(Source(model=name, parameters={"weight": gene}) for name, gene in sources),
        )


def searched(run: Path, name: str, arguments: argparse.Namespace) -> Watch:
    """Search from the beginning."""
    watch = Watch()
    with RunStore.create(run) as store:
        items: dict[Split, tuple[Item, ...]] = {
            split: tuple(Item(id=f"{split}{n}", prompt=f"question {n}", answer=str(n)) for n in range(size))
            for split, size in N_ITEMS.items()
        }
        store.begin({"status": "running"}, items)
        _search(store, name, arguments, watch)
    return watch


def resumed(run: Path, name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Open a run that was searched and replay all of it."""
    clock, processor, watch = time.perf_counter(), time.process_time(), Watch()
    with RunStore.open(run) as store:
        _search(store, name, arguments, watch)
    return {"clock": time.perf_counter() - clock, "processor": time.process_time() - processor}


def _search(store: RunStore, name: str, arguments: argparse.Namespace, watch: Watch) -> None:
    search = Search(
        name=MAIN,
        space=Weights(),
        strategy=build(name, AXES, 0, SETTINGS.get(name, {})),
        limits=Limits(candidates=arguments.trials),
        screen=ScreenSettings(items=arguments.items),
        description={"strategy": name},
    )
    runner = LocalRunner(watch)
    evaluator = Journey(
        store=store, runner=runner, baselines={}, stages=[fixed(search)], finalists=1
    ).evaluator
    run_search(SearchLog(search, store, evaluator.items["fit"], watch.notify), evaluator)


def _coin(recipe: Recipe, item: str) -> float:
    return zlib.crc32(f"{recipe.hash}/{item}".encode()) / 2**32


def print_zoo(n_items: int) -> None:
    """Merge and score random candidates of the zoo on some items, and print the mean of 50."""
    from random import Random

    from searching.zoo import SETTINGS as PROBLEMS
    from searching.zoo import Problem

    from kingyo.search.strategies.genes import random_point

    problem, chance = Problem(setting=PROBLEMS["five"], seed=0), Random(0)
    items = [item.id for item in problem.splits["fit"]]
    found: list[float] = []
    for _ in range(60):
        recipe = problem.space.decode(random_point(problem.space.axes, chance))
        asked = chance.sample(items, n_items)
        began = time.process_time()
        problem.evaluate(recipe, "fit", asked)
        found.append(time.process_time() - began)
    kept = found[10:]  # the first ones compile and fill caches
    print(f"n = {len(kept)}, {n_items} items: {1000 * sum(kept) / len(kept):.1f} ms a candidate")


if __name__ == "__main__":
    main()
