"""Run a run.yaml and its controls with several seeds, and print a Markdown table as in docs/results.md.

The page omits columns that are equal in all rows (best parent, uniform). Finished runs are read, stopped runs
are resumed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

DEMO = Path(__file__).parent.parent / "examples" / "demo" / "run.yaml"
SEEDS = (1, 2, 3, 4, 5)


def main() -> None:
    """Run each seed, then print one row per seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=DEMO, help="the run.yaml; the demo's by default")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the run folders are or go")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    arguments = parser.parse_args()
    name = "demo" if arguments.config == DEMO else arguments.config.stem
    runs = {seed: arguments.runs / f"{name}-seed-{seed}" for seed in arguments.seeds}
    rows = [row(seed, bred(arguments.config, run, seed)) for seed, run in runs.items()]
    columns = (
        "seed",
        "bred",
        "best parent",
        "uniform",
        "grid",
        "random",
        "bred − best parent",
        "bred − uniform",
        "bred − grid",
        "bred − random",
    )
    print_row(columns)
    print_row(["---"] * len(columns))
    for each in rows:
        print_row(each)


def bred(config: Path, run: Path, seed: int) -> dict[str, Any]:
    """Run or resume, run the controls, and return the output of ``kingyo show --json``."""
    command = ["evolve", str(config), "--seed", str(seed), "--run", str(run)]
    if run.exists():
        command = ["resume", str(run)]
    missing = json.loads(kingyo(*command, "--json"))["controls_to_run"]
    for name in missing:
        kingyo("control", str(run), name, "--json")
    return json.loads(kingyo("show", str(run), "--json"))


def kingyo(*arguments: str) -> str:
    """Run a command and return its standard output."""
    code = "from kingyo.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def row(seed: int, shown: dict[str, Any]) -> list[str]:
    """Return a row of the table, all on the test split."""
    parents = {name: scores for name, scores in shown["baselines"].items() if name != "uniform"}
    best = max(parents, key=lambda name: parents[name]["test"]["score"])
    comparisons = shown["comparisons"]
    return [
        str(seed),
        percent(shown["winner"]["test"]),
        f"{best} {percent(parents[best]['test'])}",
        percent(shown["baselines"]["uniform"]["test"]),
        *(percent(shown["controls"][name]["test"]) for name in ("grid", "random")),
        *(points(comparisons[name]) for name in (best, "uniform", "grid", "random")),
    ]


def percent(value: dict[str, float]) -> str:
    """Return a score with its interval, in percent."""
    return f"{100 * value['score']:.1f} [{100 * value['low']:.1f}, {100 * value['high']:.1f}]"


def points(value: dict[str, float]) -> str:
    """Return a paired difference with its interval, in points."""
    return f"{100 * value['score']:+.1f} [{100 * value['low']:+.1f}, {100 * value['high']:+.1f}]"


def size(value: dict[str, float]) -> str:
    """Return the number of items of a score, and of their groups if some belong together."""
    return f"{value['n']} items of {value['groups']} groups" if "groups" in value else str(value["n"])


def print_test_scores(run: Path) -> None:
    """Print what a finished run has measured on test: baselines, the bred model, and the controls."""
    shown = json.loads(kingyo("show", str(run), "--json"))
    models = {**shown["baselines"], "bred": shown["winner"]}
    models |= {f"{name}, same cost": each for name, each in shown["controls"].items()}
    for name, scores in models.items():
        print_row([name, percent(scores["test"]), size(scores["test"])])


def print_row(cells: list[str] | tuple[str, ...]) -> None:
    """Print a Markdown row."""
    print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
