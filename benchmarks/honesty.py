"""Measure how often a run's prediction holds: 50 short runs with different splits and searches.

    python benchmarks/honesty.py --runs 50 --out honesty.jsonl
    python benchmarks/honesty.py --out honesty.jsonl --markdown      (the table of docs/benchmarks-search.md)

Before test is read, a run predicts the winner's test score with a 95% interval. The table counts how often
the interval contains the test score, and compares three numbers with it: the winner's mean on its fit items,
its score on validation, and the prediction. Runs in the file are not run again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from searching.zoo import DEMO, SETTINGS, run_data

from kingyo.runs.begin import begin
from kingyo.runs.config import parse_config
from kingyo.runs.resume import journey_of
from kingyo.runs.run import Run
from kingyo.search.evolution.types import ignore_events
from kingyo.stats import wilson
from kingyo.views.results.summary import summarize

SPLITS = {"fit": 60, "validation": 100, "test": 300}
BUDGET = 480  # item evaluations of a search: thirty trials of the default
GAPS = {"fit": "its items of fit", "validation": "validation", "predicted": "predicted"}
"""A candidate is scored on some fit items, mostly informative ones; their mean estimates nothing."""
Result = Mapping[str, object]


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=["four", "five"])
    parser.add_argument("--out", type=Path, default=Path("honesty.jsonl"), help="where results are kept")
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown, run nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    done = _read(arguments.out)
    if not arguments.markdown:
        known = {(each["setting"], each["seed"]) for each in done}
        for seed in range(arguments.runs):
            setting = arguments.settings[seed % len(arguments.settings)]
            if (setting, seed) not in known:
                result = run(setting, seed)
                with arguments.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(result) + "\n")
                print(result, file=sys.stderr, flush=True)
        done = _read(arguments.out)
    print("\n".join(_table(done, arguments.settings)))


def run(setting: str, seed: int) -> dict[str, object]:
    """Run the default search from its baselines to test."""
    data = run_data(SETTINGS[setting], {**SPLITS, "seed": seed})
    config = parse_config({**data, "seed": seed, "budget": {"item_evaluations": BUDGET}}, "benchmark")
    with (
        tempfile.TemporaryDirectory() as folder,
        begin(Run.open(config, DEMO), Path(folder) / "run") as begun,
    ):
        journey_of(begun, ignore_events).run()
        found = summarize(begun.begun)
    winner, predicted = found.winner, found.predicted
    assert winner is not None, "a zoo run has a winner"
    assert predicted is not None, "its finalists were scored on validation"
    assert winner.fit and winner.validation and winner.test, "a finished run has scored its winner"
    return {
        "setting": setting,
        "seed": seed,
        "fit": winner.fit.score,
        "validation": winner.validation.score,
        "test": winner.test.score,
        "predicted": predicted.score,
        "low": predicted.low,
        "high": predicted.high,
    }


def _read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def _table(results: Sequence[Result], settings: Sequence[str]) -> list[str]:
    head = (
        "setting",
        "runs",
        "prediction holds [95%]",
        "half-width",
        *(f"{each} − test" for each in GAPS.values()),
    )
    rows = [_row(name, [each for each in results if each["setting"] == name]) for name in settings]
    lines = [head, ["---"] * len(head), *rows, _row("all", results)]
    return [f"| {' | '.join(line)} |" for line in [*lines[:2], *filter(None, lines[2:])]]


def _row(name: str, results: Sequence[Result]) -> tuple[str, ...]:
    if not results:
        return ()
    held = sum(_number(each, "low") <= _number(each, "test") <= _number(each, "high") for each in results)
    share = wilson(held, len(results))
    half = statistics.mean((_number(each, "high") - _number(each, "low")) / 2 for each in results)
    gaps = [
        statistics.mean(_number(each, split) - _number(each, "test") for each in results) for split in GAPS
    ]
    held_text = f"{held} ({100 * share.score:.0f}% [{100 * share.low:.0f}, {100 * share.high:.0f}])"
    return (name, str(len(results)), held_text, f"{100 * half:.1f}", *(f"{100 * gap:+.1f}" for gap in gaps))


def _number(result: Result, key: str) -> float:
    return float(str(result[key]))


if __name__ == "__main__":
    main()
