"""Summarize runs that differ only in their seeds: the variance of results due to the search."""

import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kingyo.core.io.units import counted
from kingyo.core.types import Split
from kingyo.errors import KingyoError
from kingyo.runs.seed_runs import PREFIX, seed_folders
from kingyo.search.evolution import MAIN
from kingyo.stats import ROUNDING, Interval, mean_of_runs
from kingyo.store import RunStore
from kingyo.views.results.model_result import ModelResult
from kingyo.views.results.plain_data import plain_data
from kingyo.views.results.summary import RunSummary, summarize
from kingyo.views.results.trials import Unit


@dataclass(frozen=True, kw_only=True)
class SeedSummary:
    """A summary of several runs with the same test items, so that only their searches differ."""

    folder: Path
    runs: Mapping[int, RunSummary]
    winners: Mapping[int, ModelResult]
    lost: Mapping[int, str]
    copied: int

    @property
    def unit(self) -> Unit:
        return next(iter(self.runs.values())).unit

    @property
    def bred(self) -> tuple[float, ...]:
        """Return the winner's test score in each run, or the set measure that decides."""
        return tuple(_value(winner, "test") for winner in self.winners.values())

    @property
    def mean(self) -> Interval:
        """Return the mean over the runs, with an interval for the variance between searches."""
        return mean_of_runs(self.bred) if self.unit.measure else mean_of_runs(self.bred, within=(0, 1))

    @property
    def ahead(self) -> Mapping[str, Interval]:
        """Return other model -> winner minus it, paired by run; models that some run lacks are left out."""
        within = (-math.inf, math.inf) if self.unit.measure else (-1.0, 1.0)
        differences: dict[str, list[float]] = {}
        for comparison in (each for run in self.runs.values() for each in run.comparisons):
            differences.setdefault(comparison.other, []).append(comparison.difference.score)
        return {
            name: mean_of_runs(scores, within=within)
            for name, scores in differences.items()
            if len(scores) == len(self.runs)
        }

    @property
    def predicted_inside(self) -> int:
        predictions = zip((run.predicted for run in self.runs.values()), self.bred, strict=True)
        return sum(each is not None and each.low <= score <= each.high for each, score in predictions)

    @property
    def best(self) -> int:
        """Return the seed whose winner has the best validation score; ties go to the first."""
        return max(self.runs, key=lambda seed: (_value(self.winners[seed], "validation"), -seed))

    @property
    def best_run(self) -> Path:
        return self.folder / f"{PREFIX}{self.best}"

    @property
    def command(self) -> str:
        command = f"kingyo export {shlex.quote(str(self.best_run))} OUT"
        is_best = self.runs[self.best].best in (self.winners[self.best], None)
        return command if is_best else f"{command} --search {MAIN}"

    def changes(self, kind: Literal["extensions", "renewals"]) -> dict[int, str]:
        """Return seed -> how its run was extended, or continued with other versions."""
        joint = " and " if kind == "extensions" else " "
        found = {seed: joint.join(map(str, getattr(run, kind))) for seed, run in self.runs.items()}
        return {seed: text for seed, text in found.items() if text}

    @property
    def not_compared(self) -> str | None:
        """Say which controls some runs lack, and the command that runs the first of them for all seeds."""
        missing = list(dict.fromkeys(name for run in self.runs.values() for name in run.controls_to_run))
        if not missing:
            return None
        runs = f"{shlex.quote(str(self.folder))}/{PREFIX}*"
        loop = f'for run in {runs}; do kingyo control "$run" {missing[0]}; done'
        others = f" (or {' or '.join(missing[1:])})" if missing[1:] else ""
        return (
            f"Not all winners were compared with a {' or '.join(missing)} search of equal cost. To do so: "
            f"{loop}{others}"
        )

    def sentences(self) -> Iterator[str]:
        """Yield scores, differences, what limits them, and the command that exports the best seed."""

        def with_bounds(score: str, bounds: str, value: Interval) -> str:
            return f"{score} {bounds if (reason := why_unbounded(value)) is None else f'[{reason}]'}"

        unit, n, winner = self.unit, len(self.runs), self.winners[self.best]
        of = f" of {unit.measure}" if unit.measure else ""
        named = f"{counted(n, 'seed')} ({', '.join(map(str, self.runs))})"
        yield f"{named}: the winner {unit.verb} {', '.join(map(unit.text, self.bred))}{of} on test."
        mean = with_bounds(unit.text(self.mean.score), unit.bounds(self.mean), self.mean)
        yield f"Mean {mean}{of} (Student's t over the searches; the test items are the same)."
        for name, each in self.ahead.items():
            lead = with_bounds(unit.difference(each.score), unit.signed_bounds(each), each)
            yield f"bred − {name}: {lead}, paired by seed"
        if unit.measure is None:
            held = f"{self.predicted_inside} of {counted(n, 'run')}"
            yield f"The prediction made before test was read held in {held}."
        if self.copied:
            yield f"{self.copied:,} scores of baselines were copied from another seed, not scored again."
        for seed, more in self.changes("extensions").items():
            yield f"Seed {seed} had {more}, so the seeds differ in cost."
        yield from (f"Seed {seed}: {text}" for seed, text in self.changes("renewals").items())
        yield from (f"Warning: seed {seed}: {warning}" for seed, warning in self.lost.items())
        if self.not_compared is not None:
            yield self.not_compared
        if n == 1:
            yield f"To export its winner: {self.command}"
            return
        yield f"To export the best on validation, seed {self.best}: {self.command}"
        validation, test = (unit.bounded(winner.counts_on(split)) for split in ("validation", "test"))
        yield (
            f"Its {validation} on validation is the best of {n} so it is optimistic; on test it {unit.verb} "
            f"{test}."
        )

    def to_json(self) -> dict[str, object]:
        winner = self.winners[self.best]
        return plain_data(
            {
                "seeds": [*self.runs],
                "test": self.bred,
                "mean": _numbers(self.mean),
                "ahead": {name: _numbers(each) for name, each in self.ahead.items()},
                "predicted_inside": self.predicted_inside,
                **({"decided_by": self.unit.measure} if self.unit.measure else {}),
                "export": {
                    "seed": self.best,
                    "run": str(self.best_run),
                    "command": self.command,
                    "validation": winner.counts_on("validation"),
                    "test": winner.counts_on("test"),
                },
                "copied_baseline_scores": self.copied,
                "extensions": self.changes("extensions"),
                "renewals": self.changes("renewals"),
                "lost": self.lost,
                "not_compared": self.not_compared,
            }
        )


def read_seed_summary(folder: Path) -> SeedSummary:
    """Read the summary of the finished runs in a folder."""
    runs: dict[int, RunSummary] = {}
    winners: dict[int, ModelResult] = {}
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
            runs[seed], winners[seed] = summary, winner
    if not runs:
        expected = "a folder with at least one finished run"
        received = f"{counted(len(seed_folders(folder)), 'run')}, none finished"
        remedy = "Continue with the same `kingyo evolve --seeds N` command."
        raise KingyoError(str(folder), expected, received, remedy)
    return SeedSummary(folder=folder, runs=runs, winners=winners, lost=lost, copied=copied)


def _value(winner: ModelResult, split: Split) -> float:
    value = winner.counts_on(split)
    return 0.0 if value is None else value.score


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
