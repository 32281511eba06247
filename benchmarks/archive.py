"""Compare quality-diversity with NSGA-II on three tasks of the zoo, at equal item evaluations.

    python benchmarks/archive.py --seeds 5 --out archive.jsonl
    python benchmarks/archive.py --out archive.jsonl --markdown     (the tables of docs/benchmarks-search.md)

Each search merges the five sources on splits drawn by its seed. It knows the same baselines, which count
towards its cost. All candidates go into the same archives, one per task (``illuminating.judge``). Candidates
that hold a cell, and the best ones, are scored again on test items, because the best scores on fit are lucky;
the search does not see these scores, and they are free. Results in the file are not run again.
It needs `pip install -e '.[bench]'` in a clone.
"""

from __future__ import annotations

import argparse
import json
import sys
from multiprocessing import get_context
from pathlib import Path

from illuminating.judge import members, picked
from illuminating.problem import SETTINGS, ThreeTasks
from illuminating.runs import SEARCHES, found_by
from illuminating.tables import render

CANDIDATES = 100
CHECKPOINTS = (25, 50, 100)
"""Numbers of candidates after which the best ones are chosen."""


def main() -> None:
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=["one"])
    parser.add_argument("--searches", nargs="+", choices=SEARCHES, default=list(SEARCHES))
    parser.add_argument("--candidates", type=int, default=CANDIDATES, help="each costs all items of fit")
    parser.add_argument("--quick", action="store_true", help="test only the best candidates")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time")
    parser.add_argument("--out", type=Path, default=Path("archive.jsonl"), help="where results are kept")
    parser.add_argument("--markdown", action="store_true", help="print tables in Markdown, run nothing")
    arguments = parser.parse_args()
    done = read(arguments.out)
    if not arguments.markdown:
        wanted = [
            (setting, name, seed, arguments.candidates, arguments.quick)
            for seed in range(arguments.seeds)
            for setting in arguments.settings
            for name in arguments.searches
        ]
        known = {(each["setting"], each["search"], each["seed"], each["candidates"]) for each in done}
        missing = [each for each in wanted if each[:-1] not in known]
        with get_context("spawn").Pool(arguments.workers) as pool:
            for result in pool.imap_unordered(run, missing):
                with arguments.out.open("a") as file:
                    file.write(json.dumps(result) + "\n")
                print(" ".join(str(result[key]) for key in ("setting", "search", "seed")), file=sys.stderr)
        done = read(arguments.out)
    print(render(done, markdown=arguments.markdown))


def read(path: Path) -> list[dict[str, object]]:
    """Return the results of earlier calls, by search."""
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return sorted(found, key=lambda each: (list(SEARCHES).index(str(each["search"])), int(str(each["seed"]))))


def run(wanted: tuple[str, str, int, int, bool]) -> dict[str, object]:
    """Run a search, then test its best candidates and, unless quick, all that hold a cell."""
    setting, name, seed, candidates, is_quick = wanted
    problem = ThreeTasks(setting=SETTINGS[setting], seed=seed)
    found = found_by(name, problem, candidates * problem.n_items)
    fit = [each.fit for each in found]
    picks = {str(n): picked(fit[:n]) for n in CHECKPOINTS if n <= len(fit)}
    held = members(fit)
    taken = {index for each in picks.values() for index in each.values()}
    tested = sorted(taken if is_quick else taken.union(held))
    return {
        "setting": setting,
        "search": name,
        "seed": seed,
        "candidates": candidates,
        "spent": problem.spent,
        "fit": fit,
        "genomes": [each.genome for each in found],
        "held": held,
        "picks": picks,
        "test": {str(index): problem.tested(found[index].genome) for index in tested},
    }


if __name__ == "__main__":
    main()
