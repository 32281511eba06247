"""Benchmark paths through layers: parity, speed and export; strategies; the defaults of the search; and
complete runs of paths, of weights and of both on the zoo.

    python benchmarks/dataflow.py --out dataflow.jsonl
    python benchmarks/dataflow.py --out dataflow.jsonl --markdown  (as in docs/benchmarks-dataflow.md)

Results in the file are not measured again. `KINGYO_MERGEKIT` names a virtual environment with mergekit 0.1.5,
for the frankenmerge; without it that row is left out. Everything runs on one thread.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from flowing.mechanics import PARTS
from flowing.outcomes import SETTINGS, WAYS, run
from flowing.searching import DEFAULTS, STRATEGIES, Course
from flowing.tables import render

Row = dict[str, object]
RUNS = (
    ("three", "paths"),
    ("three", "paths-once"),
    *((setting, way) for setting in ("two", "five") for way in ("weights", "both")),
)


def main() -> None:
    """Measure what is missing, then print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=[*MEASURES], default=[*MEASURES])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--evaluations", type=int, default=300, help="of each strategy")
    parser.add_argument("--evaluations-of-defaults", type=int, default=120, help="of each changed default")
    parser.add_argument(
        "--runs", nargs="+", default=[f"{a} {b}" for a, b in RUNS], help="SETTING WAY, in quotes"
    )
    parser.add_argument("--out", type=Path, default=Path("dataflow.jsonl"), help="where results are kept")
    parser.add_argument("--markdown", action="store_true", help="print tables in Markdown, measure nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for part in [] if arguments.markdown else arguments.parts:
        for row in MEASURES[part](arguments, read(arguments.out)):
            with arguments.out.open("a") as file:
                file.write(json.dumps({"part": part, **row}) + "\n")
            print(part, json.dumps(row)[:100], file=sys.stderr)
    print(render(read(arguments.out)))


def read(path: Path) -> list[Row]:
    """Results of earlier calls."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def mechanics(_: argparse.Namespace, done: list[Row]) -> Iterator[Row]:
    """Measure each part whose first row is not there."""
    known = {str(each["of"]) for each in done if each["part"] == "mechanics"}
    for name, part in PARTS.items():
        if name not in known:
            for row in part():
                yield {"of": name, **row}


def strategies(arguments: argparse.Namespace, done: list[Row]) -> Iterator[Row]:
    """Let each strategy search, seed by seed."""
    yield from _searches("strategies", STRATEGIES, arguments.evaluations, arguments, done)


def defaults(arguments: argparse.Namespace, done: list[Row]) -> Iterator[Row]:
    """Let the preset search, a GA, and each with one change."""
    names = [name for block in DEFAULTS.values() for name in block]
    yield from _searches("defaults", names, arguments.evaluations_of_defaults, arguments, done)


def _searches(
    part: str, names: Iterable[str], evaluations: int, arguments: argparse.Namespace, done: list[Row]
) -> Iterator[Row]:
    """Run those searches of a part that are not there."""
    known = {(each["name"], each["seed"], each["evaluations"]) for each in done if each["part"] == part}
    course: Course | None = None
    for seed in _seeds(arguments):
        for name in names:
            if (name, seed, evaluations) not in known:
                course = course or Course()
                found = course.run(name, seed, evaluations)
                yield {"name": name, "seed": seed, "evaluations": evaluations, **asdict(found)}


def outcomes(arguments: argparse.Namespace, done: list[Row]) -> Iterator[Row]:
    """Breed, seed by seed."""
    known = {(each["setting"], each["way"], each["seed"]) for each in done if each["part"] == "outcomes"}
    for seed in _seeds(arguments):
        for named in arguments.runs:
            setting, way = named.split()
            if setting not in SETTINGS or way not in WAYS:
                raise SystemExit(
                    f"--runs: one of {', '.join(SETTINGS)}, then one of {', '.join(WAYS)}: {named}"
                )
            if (setting, way, seed) not in known:
                yield run(setting, way, seed)


def _seeds(arguments: argparse.Namespace) -> range:
    return range(arguments.first_seed, arguments.first_seed + arguments.seeds)


MEASURES: dict[str, Callable[[argparse.Namespace, list[Row]], Iterator[Row]]] = {
    "mechanics": mechanics,
    "strategies": strategies,
    "defaults": defaults,
    "outcomes": outcomes,
}

if __name__ == "__main__":
    main()
