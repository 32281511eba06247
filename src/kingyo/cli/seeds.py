"""Run several seeds of one run.yaml, and print the spread of their results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kingyo.cli.as_json import print_json
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError
from kingyo.io.units import counted

if TYPE_CHECKING:
    from kingyo.results.seed_spread import SeedSummary
    from kingyo.run.config import RunConfig
    from kingyo.run.run import Run
    from kingyo.stats import Interval
    from kingyo.store import RunStore


def run_seeds(
    config: RunConfig,
    folder: Path,
    n: int,
    begin: Callable[[RunConfig, Path, Path], Run],
    complete: Callable[[RunStore, Run | None], None],
) -> None:
    """Run n seeds one after the other. Finished seeds are skipped, and interrupted ones continue.

    Args:
        config: the run.yaml; its seed is the first.
        folder: the folder with a subfolder for each run.
        n: number of seeds.
        begin: begins a run from its config, its folder and the folder of all runs.
        complete: completes the run of a store, given the opened run or None.

    Raises:
        KingyoError: the folder holds a single run, or runs that differ in more than the seed.
    """
    from kingyo.run.seed_runs import PREFIX, require_same_setup
    from kingyo.run.stored_config import as_fact
    from kingyo.store import DATABASE, RunStore

    if (folder / DATABASE).exists():
        raise KingyoError(
            str(folder),
            expected="a folder for the runs of several seeds",
            received="a single run",
            remedy="Choose another folder with --run.",
        )
    require_same_setup(folder, {"config": as_fact(config)})
    for seed in range(config.seed, config.seed + n):
        run = folder / f"{PREFIX}{seed}"
        if (run / DATABASE).exists():
            with RunStore.read(run) as store:
                if store.status() == "finished":
                    echo(f"Seed {seed} is finished: {run}", err=True)
                    continue
            with RunStore.open(run) as store:
                complete(store, None)
        else:
            with begin(config.model_copy(update={"seed": seed}), run, folder) as new:
                complete(new.begun, new)


def print_spread(folder: Path, as_json: bool) -> None:
    """Print the spread over the runs of a folder."""
    from kingyo.results.seed_spread import read_seed_summary

    spread = read_seed_summary(folder)
    if as_json:
        print_json(spread.to_json())
        return
    for line in (*_score_lines(spread), *_remarks(spread), *_choice(spread)):
        echo(line)


def _score_lines(spread: SeedSummary) -> Iterator[str]:
    by = spread.decided_by
    is_share, unit, points = by is None, " %" if by is None else f" of {by}", " points" if by is None else ""
    scores = ", ".join(f"{100 * score:.1f}" if is_share else f"{score:.4g}" for score in spread.bred)
    yield (
        f"{counted(len(spread.seeds), 'seed')} ({', '.join(map(str, spread.seeds))}): "
        f"the winner {'scores' if is_share else 'has'} {scores}{unit} on test."
    )
    yield (
        f"Mean {_points(spread.mean, is_share=is_share, sign='')}{unit} (Student's t over the searches; the "
        "test items are the same)."
    )
    for name, each in spread.ahead.items():
        yield f"bred − {name}: {_points(each, is_share=is_share)}{points}, paired by seed"


def _remarks(spread: SeedSummary) -> Iterator[str]:
    if spread.decided_by is None:
        yield (
            f"The prediction made before test was read held in {spread.predicted_inside} of "
            f"{counted(len(spread.seeds), 'run')}."
        )
    if spread.copied:
        scores, verb = counted(spread.copied, "score"), "was" if spread.copied == 1 else "were"
        yield f"{scores} of baselines {verb} copied from another seed instead of scored again."
    for seed, more in spread.extensions.items():
        yield f"Seed {seed} had {more}, so the seeds differ in cost."
    for seed, renewal in spread.renewals.items():
        yield f"Seed {seed}: {renewal}"
    for seed, warning in spread.lost.items():
        yield f"Warning: seed {seed}: {warning}"
    if spread.not_compared is not None:
        yield spread.not_compared


def _choice(spread: SeedSummary) -> Iterator[str]:
    """Suggest the seed to export: the best on validation, since test must not choose."""
    from kingyo.results.model_result import interval_in_words

    if len(spread.seeds) == 1:
        yield f"To export its winner: {spread.command}"
        return
    validation, test = (
        interval_in_words(spread.winner.counts_on(split), spread.decided_by)
        for split in ("validation", "test")
    )
    yield f"To export the best on validation, seed {spread.best}: {spread.command}"
    yield (
        f"Its {validation} on validation is the best of {len(spread.seeds)} so it is optimistic; on test "
        f"it {'scores' if spread.decided_by is None else 'has'} {test}."
    )


def _points(value: Interval, *, is_share: bool, sign: Literal["", "+"] = "+") -> str:
    from kingyo.results.seed_spread import why_unbounded

    reason = why_unbounded(value)
    if reason is not None:
        score = f"{100 * value.score:{sign}.1f}" if is_share else f"{value.score:{sign}.4g}"
        return f"{score} [{reason}]"
    return value.in_percent(sign=sign) if is_share else value.plain(sign)
