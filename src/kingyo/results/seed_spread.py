"""Summarize runs that differ only in their seeds: the variance of results due to the search."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kingyo.errors import KingyoError
from kingyo.evolution import MAIN
from kingyo.io.units import counted
from kingyo.results.model_result import ModelResult
from kingyo.results.summarize import summarize
from kingyo.results.summary import RunSummary
from kingyo.run.seed_runs import PREFIX, seed_folders
from kingyo.stats import ROUNDING, Interval, interval_json, mean_of_runs
from kingyo.store import RunStore


@dataclass(frozen=True, kw_only=True)
class SeedSummary:
    """A summary of several runs with the same test items, so that only their searches differ.

    Attributes:
        seeds: seeds of the finished runs.
        bred: the winner's test score in each run, or the set measure that decides.
        mean: mean over the runs, with an interval for the variance between searches.
        ahead: other model -> winner minus it, paired by run.
        predicted_inside: number of runs with the winner's test score within its predicted interval.
        best: the seed whose winner has the best validation score; ties go to the first.
        winner: winner of that seed.
        folder: folder of its run.
        is_best: whether that winner is the best model of its run.
        copied: number of baseline scores that runs copied from another seed.
        extensions: seed -> what was added to its budget, in words.
        renewals: seed -> a note that scores were made with different versions, or again.
        lost: seed -> a note on stored data that could not be found.
        not_compared: which controls the winners were not compared with, and the command that runs them; None
            if there are none.
        decided_by: see ``RunSummary.decided_by``.
    """

    seeds: tuple[int, ...]
    bred: tuple[float, ...]
    mean: Interval
    ahead: Mapping[str, Interval]
    predicted_inside: int
    best: int
    winner: ModelResult
    folder: Path
    is_best: bool = True
    copied: int = 0
    extensions: Mapping[int, str] = field(default_factory=dict[int, str])
    renewals: Mapping[int, str] = field(default_factory=dict[int, str])
    lost: Mapping[int, str] = field(default_factory=dict[int, str])
    not_compared: str | None = None
    decided_by: str | None = None

    @property
    def command(self) -> str:
        """Return the command that exports the best seed's winner."""
        command = f"kingyo export {shlex.quote(str(self.folder))} OUT"
        return command if self.is_best else f"{command} --search {MAIN}"

    def to_json(self) -> dict[str, object]:
        """Return the JSON of ``kingyo evolve --seeds N --json``."""
        return {
            "seeds": list(self.seeds),
            "test": list(self.bred),
            "mean": _numbers(self.mean),
            "ahead": {name: _numbers(each) for name, each in self.ahead.items()},
            "predicted_inside": self.predicted_inside,
            **({} if self.decided_by is None else {"decided_by": self.decided_by}),
            "export": {
                "seed": self.best,
                "run": str(self.folder),
                "command": self.command,
                "validation": interval_json(self.winner.counts_on("validation")),
                "test": interval_json(self.winner.counts_on("test")),
            },
            "copied_baseline_scores": self.copied,
            "extensions": {str(seed): text for seed, text in self.extensions.items()},
            "renewals": {str(seed): text for seed, text in self.renewals.items()},
            "lost": {str(seed): text for seed, text in self.lost.items()},
            "not_compared": self.not_compared,
        }


def read_seed_summary(folder: Path) -> SeedSummary:
    """Read the summary of the finished runs in a folder.

    Raises:
        KingyoError: no run is finished.
    """
    runs: dict[int, RunSummary] = {}
    lost: dict[int, str] = {}
    copied = 0
    for seed, path in sorted(seed_folders(folder).items()):
        with RunStore.read(path) as store:
            summary = summarize(store)
            copied += store.copied_from_elsewhere()
            if store.lost is not None:
                lost[seed] = store.lost
        winner = summary.winner
        if summary.status == "finished" and winner is not None and winner.counts_on("test") is not None:
            runs[seed] = summary
    if not runs:
        raise KingyoError(
            str(folder),
            expected="a folder with at least one finished run",
            received=f"{counted(len(seed_folders(folder)), 'run')}, none finished",
            remedy="Continue with the same `kingyo evolve --seeds N` command.",
        )
    return _summary(folder, runs, lost, copied)


def _summary(
    folder: Path, runs: Mapping[int, RunSummary], lost: Mapping[int, str], copied: int
) -> SeedSummary:
    bred = [_test(summary) for summary in runs.values()]
    decided_by = next(iter(runs.values())).decided_by
    best = max(runs, key=lambda seed: (_validation(runs[seed]), -seed))
    winner = runs[best].winner
    assert winner is not None, "only finished runs are read"
    return SeedSummary(
        seeds=tuple(runs),
        bred=tuple(bred),
        mean=mean_of_runs(bred) if decided_by else mean_of_runs(bred, within=(0, 1)),
        ahead=_ahead(list(runs.values())),
        predicted_inside=sum(map(_is_inside, runs.values())),
        best=best,
        winner=winner,
        folder=folder / f"{PREFIX}{best}",
        is_best=runs[best].best in (winner, None),
        copied=copied,
        extensions={
            seed: " and ".join(map(str, run.extensions)) for seed, run in runs.items() if run.extensions
        },
        renewals={seed: " ".join(map(str, run.renewals)) for seed, run in runs.items() if run.renewals},
        lost=lost,
        not_compared=_not_compared(folder, list(runs.values())),
        decided_by=decided_by,
    )


def _not_compared(folder: Path, runs: Sequence[RunSummary]) -> str | None:
    """Say which controls some seeds lack, with a command that runs the first of them for all seeds."""
    missing = list(dict.fromkeys(name for run in runs for name in run.controls_to_run))
    if not missing:
        return None
    has_control = all(any(name in run.controls for name in ("random", "grid")) for run in runs)
    is_partial = any(name in run.controls for name in missing for run in runs)
    who = "Not all winners were" if is_partial else "The winners were not"
    what = f"a {' or '.join(missing)} search" if has_control else "a search"
    first, *others = missing
    command = f'for run in {shlex.quote(str(folder))}/{PREFIX}*; do kingyo control "$run" {first}; done'
    beside = f" (or {' or '.join(others)})" if others else ""
    return f"{who} compared with {what} of equal cost. To do so: {command}{beside}"


def _ahead(runs: Sequence[RunSummary]) -> dict[str, Interval]:
    within = (-1.0, 1.0) if runs[0].decided_by is None else (-math.inf, math.inf)
    differences: dict[str, list[float]] = {}
    for comparison in (each for run in runs for each in run.comparisons):
        differences.setdefault(comparison.other, []).append(comparison.difference.score)
    # A control that failed in one run cannot be compared over all runs.
    complete = [each.other for each in runs[0].comparisons if len(differences[each.other]) == len(runs)]
    return {name: mean_of_runs(differences[name], within=within) for name in complete}


def _test(summary: RunSummary) -> float:
    value = None if summary.winner is None else summary.winner.counts_on("test")
    assert value is not None, "only finished runs are read"
    return value.score


def _validation(summary: RunSummary) -> float:
    value = None if summary.winner is None else summary.winner.counts_on("validation")
    return 0.0 if value is None else value.score


def _is_inside(summary: RunSummary) -> bool:
    return summary.predicted is not None and summary.predicted.low <= _test(summary) <= summary.predicted.high


def why_unbounded(value: Interval) -> str | None:
    """Say why the mean of runs has no interval; None if it has one.

    Equal runs have no spread to estimate from, and an interval of no width would claim certainty.
    """
    if value.n == 1:
        return "one run: no interval"
    return "all runs equal: no interval" if value.high - value.low <= ROUNDING else None


def _numbers(value: Interval) -> dict[str, object]:
    is_open = why_unbounded(value) is not None
    bounds = {"low": None if is_open else value.low, "high": None if is_open else value.high}
    return {"score": value.score, "n": value.n, **bounds}
