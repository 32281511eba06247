"""Several runs of one run.yaml, one after the other, and what they say together."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

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


def breed_seeds(
    config: RunConfig,
    folder: Path,
    n: int,
    begin: Callable[[RunConfig, Path, Path], Run],
    go: Callable[[RunStore, Run | None], None],
) -> None:
    """Run every seed that is not finished, from the file's on; runs that were stopped go on.

    Args:
        config: the run.yaml; its seed is the first.
        folder: where the runs go, each in a folder of its own.
        n: how many seeds.
        begin: makes a new run from a config, its folder and the folder of all.
        go: goes on to its end with the run of a store, which may be open already.

    Raises:
        KingyoError: the folder holds something else, or runs that differ in more than the seed.
    """
    from kingyo.run.seed_runs import PREFIX, require_same_setup
    from kingyo.run.stored_config import as_fact
    from kingyo.store import DATABASE, RunStore

    if (folder / DATABASE).exists():
        raise KingyoError(
            str(folder),
            expected="a folder for the runs of several seeds",
            received="a run",
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
                go(store, None)
        else:
            with begin(config.model_copy(update={"seed": seed}), run, folder) as new:
                go(new.begun, new)


def same_command(name: str, given: Mapping[str, object]) -> str:
    """Write a command for a shell: its argument ``config``, then the options that were given."""
    words = ["kingyo", name, str(given["config"])]
    for key, value in given.items():
        flag = "--json" if key == "as_json" else f"--{key.replace('_', '-')}"
        if isinstance(value, bool):
            words += [flag] if value else []
        elif key != "config" and value is not None:
            each = cast("Sequence[object]", value) if isinstance(value, list | tuple) else [value]
            words += [word for one in each for word in (flag, str(one))]
    return shlex.join(words)


def print_spread(folder: Path, as_json: bool) -> None:
    """Print the spread over the runs of a folder."""
    from kingyo.results.seed_spread import read_seed_summary

    found = read_seed_summary(folder)
    if as_json:
        print_json(found.to_json())
        return
    for line in _lines(found):
        echo(line)


def _lines(found: SeedSummary) -> list[str]:
    by = found.decided_by
    unit = " %" if by is None else f" of {by}"
    scores = ", ".join(f"{100 * score:.1f}" if by is None else f"{score:.4g}" for score in found.bred)
    lines = [
        f"{counted(len(found.seeds), 'seed')} ({', '.join(map(str, found.seeds))}): "
        f"the winner {'scores' if by is None else 'has'} {scores}{unit} on test.",
        f"Mean {_points(found.mean, is_share=by is None, sign='')}{unit} (Student's t over the searches; "
        "the test items are the same).",
    ]
    points = " points" if by is None else ""
    lines += [
        f"bred − {name}: {_points(each, is_share=by is None)}{points}, paired by seed"
        for name, each in found.ahead.items()
    ]
    if by is None:
        lines.append(
            f"Predictions before test was read held in {found.predicted_inside} of "
            f"{counted(len(found.seeds), 'run')}."
        )
    if found.copied:
        scores, verb = counted(found.copied, "score"), "was" if found.copied == 1 else "were"
        lines.append(f"{scores} of baselines {verb} copied from another seed, not scored again.")
    lines += [
        f"Seed {seed} had {more}, so the seeds differ in cost." for seed, more in found.extensions.items()
    ]
    lines += [f"Seed {seed}: {said}" for seed, said in found.renewals.items()]
    lines += [f"Warning: seed {seed}: {text}" for seed, text in found.lost.items()]
    missing = [] if found.not_compared is None else [found.not_compared]
    return [*lines, *missing, *_choice(found)]


def _choice(found: SeedSummary) -> list[str]:
    """Which seed to export: the best on validation, since test must not choose."""
    from kingyo.results.set_values import interval_in_words

    validation, test = (
        interval_in_words(found.winner.counts_on(split), found.decided_by) for split in ("validation", "test")
    )
    if len(found.seeds) == 1:
        return [f"To export its winner: {found.command}"]
    return [
        f"To export the best on validation, seed {found.best}: {found.command}",
        f"Its {validation} on validation is the best of {len(found.seeds)}, which flatters it; on test, "
        f"which did not choose it, it {'scores' if found.decided_by is None else 'has'} {test}.",
    ]


def _points(value: Interval, *, is_share: bool, sign: Literal["", "+"] = "+") -> str:
    from kingyo.results.seed_spread import why_unbounded

    why = why_unbounded(value)
    if why is not None:
        return f"{100 * value.score:{sign}.1f} [{why}]" if is_share else f"{value.score:{sign}.4g} [{why}]"
    return value.in_percent(sign=sign) if is_share else value.plain(sign)
