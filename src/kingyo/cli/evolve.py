"""The command ``evolve``."""

from __future__ import annotations

import shlex
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from kingyo.cli.options import Between, Positive
from kingyo.cli.output import echo, print_json
from kingyo.cli.progress import Counts
from kingyo.cli.run import continued, displayed
from kingyo.cli.scout import keeping, print_choice_plan
from kingyo.cli.show import show
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.api.new_run import NewRun


def evolve(
    config: Path,
    *,
    run: Path | None = None,
    seed: Annotated[int | None, Between(0)] = None,
    seeds: Annotated[int | None, Between(1, 10_000)] = None,
    max_fevals: Positive | None = None,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Search for the best merge of your models. The winner is picked on fit and validation, and tested once.

    Every trial is stored. Stop with Ctrl-C; continue with `kingyo resume`.

    Example: `kingyo evolve run.yaml --dry-run`

    Args:
        config (RUN.yaml): the settings of the run, as `kingyo init` writes them; or a genome file of
            mergekit-evolve.
        run: the run folder. Default: runs/NAME.
        seed: seed; overrides the file.
        seeds: run this many seeds, each in a subfolder of --run, and print the spread.
        max_fevals: genome file only: number of candidates. Default: 100.
        dry_run: check the settings and print the plan and its cost; write nothing.
    """
    from kingyo.store import DATABASE, require_new

    new = _read(config, max_fevals)  # before the slow imports
    new = new if seed is None else new.with_seed(seed)
    folder = run or Path("runs") / new.config.name
    if dry_run:
        if new.asks_scout:
            print_choice_plan(new.request(folder), as_json=as_json)
        else:
            _dry_run(new, as_json)
        return
    if seeds is None:
        require_new(folder)
    elif (folder / DATABASE).exists():
        expected = "a folder for the runs of several seeds"
        raise KingyoError(str(folder), expected, "a single run", "Choose another folder with --run.")
    if not as_json:
        echo(f"Checking models and data of {new.config.name}…", err=True)  # loading libraries takes seconds
    if seeds is not None:
        _run_seeds(new, folder, seeds, quiet=as_json)
    else:
        _begin_and_end(new, folder, None, quiet=as_json)
    show(folder, as_json=as_json)


def _read(file: Path, max_fevals: int | None) -> NewRun:
    from kingyo.api.new_run import NewRun
    from kingyo.core.io.yaml import read_yaml
    from kingyo.runs.config_file import convert_genome_file, is_genome_file, name_from_path

    data = read_yaml(file)
    if "merge_method" in data:
        raise KingyoError(str(file), "a run.yaml", "a recipe", "Merge it with `kingyo merge`.")
    if is_genome_file(data):
        data, unused = convert_genome_file(file, max_fevals)
        if unused:
            echo(f"Note: {', '.join(unused)}: settings of mergekit-evolve without effect here.", err=True)
    elif max_fevals is not None:
        remedy = "Set budget.candidates in the run.yaml."
        raise KingyoError("--max-fevals", "a genome file of mergekit-evolve", str(file), remedy)
    return NewRun.of({"name": name_from_path(file), **data}, file.parent, file, str(file))


def _dry_run(new: NewRun, as_json: bool) -> None:
    """Print the plan of a run. Of models on the Hub, only configs and headers are downloaded."""
    from kingyo.runs.begin import with_default_controls
    from kingyo.runs.dry_run import Speeds, dry_run, dry_run_record, measure_speeds
    from kingyo.runs.run import Run

    with redirect_stdout(sys.stderr):
        plan = dry_run(with_default_controls(Run.open(new.config, new.folder, fetch=False)))
        if not as_json and plan.missing_device is None:
            echo("Measuring the speed…", err=True)
        missing = plan.missing_device
        speeds = measure_speeds(plan.run) if missing is None else Speeds(untimed=missing)
    if as_json:
        print_json(dry_run_record(plan, speeds))
    else:
        from kingyo.cli.dry_run import print_dry_run

        print_dry_run(plan, speeds)


def _begin_and_end(
    new: NewRun, run: Path, seeds: Path | None, *, quiet: bool, command: str | None = None
) -> None:
    from kingyo.api.runs import run_to_end

    measures = keeping(seeds or run) if new.asks_scout else nullcontext()
    with redirect_stdout(sys.stderr), Counts(quiet=quiet) as progress, measures:
        begun = new.begin(run, progress, seeds)
    with begun, displayed(run, quiet=quiet, command=command) as display:
        run_to_end(begun.begun, begun, display)


def _run_seeds(new: NewRun, folder: Path, n: int, *, quiet: bool) -> None:
    from kingyo.api.runs import resume
    from kingyo.runs.seed_runs import PREFIX
    from kingyo.store import DATABASE, RunStore

    command = shlex.join(("kingyo", *sys.argv[1:]))
    for seed in range(new.config.seed, new.config.seed + n):
        run = folder / f"{PREFIX}{seed}"
        if (run / DATABASE).exists():
            with RunStore.read(run) as store:
                is_finished = store.status() == "finished"
            if is_finished:
                echo(f"Seed {seed} is finished: {run}", err=True)
            else:
                with continued(run, quiet=quiet, command=command) as (own, display):
                    resume(own, progress=display)
        else:
            _begin_and_end(new.with_seed(seed), run, folder, quiet=quiet, command=command)
