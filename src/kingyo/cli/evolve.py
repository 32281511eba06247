"""The command ``evolve``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from kingyo.cli.as_json import print_json
from kingyo.cli.options import AsJson
from kingyo.cli.run import finish, run_to_end
from kingyo.cli.scout_choice import find_candidates, plan_choice
from kingyo.cli.scout_choice import read as read_models
from kingyo.cli.show import print_spread
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.run.config import RunConfig
    from kingyo.run.run import Run
    from kingyo.scout.for_task import ScoutRequest

File = Annotated[
    Path,
    typer.Argument(
        metavar="RUN.yaml",
        help="The settings of the run; `kingyo init` writes this file. A genome file of mergekit-evolve also "
        "works, with the flags of that command.",
    ),
]
RunOption = Annotated[Path | None, typer.Option("--run", help="The run folder.  \\[default: runs/NAME]")]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="Seed; overrides the file.")]
SeedsOption = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        min=1,
        max=10_000,
        help="Run this many seeds, each in a subfolder of --run, and print the spread.",
    ),
]
MaxFevals = Annotated[
    int | None,
    typer.Option("--max-fevals", min=1, help="Genome file only: number of candidates.  \\[default: 100]"),
]
TaskSearchPath = Annotated[
    list[Path] | None,
    typer.Option("--task-search-path", help="Genome file only: a folder with tasks. Repeatable."),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check the settings and print the plan and its cost; write nothing.")
]


def evolve(
    config: File,
    run: RunOption = None,
    seed: SeedOption = None,
    seeds: SeedsOption = None,
    max_fevals: MaxFevals = None,
    task_search_path: TaskSearchPath = None,
    dry_run: DryRunOption = False,
    as_json: AsJson = False,
) -> None:
    """Search for the best merge of your models. The winner is picked on fit and validation, and tested once.

    Every trial is stored. Stop with Ctrl-C; continue with `kingyo resume`.

    Example: `kingyo evolve run.yaml --dry-run`
    """
    from kingyo.run.config_file import asks_scout
    from kingyo.scout.for_task import ScoutRequest

    data = _read(config)
    settings = _load(config, data, max_fevals, task_search_path or [])  # before the slow imports
    changes = {} if seed is None else {"seed": seed}
    folder = run or Path("runs") / settings.name
    if not dry_run:
        _require_free(folder, several=seeds is not None)
    settings = settings.model_copy(update=changes)
    begin: Callable[[int, Path, Path | None], Run] = partial(_begin, config, settings)
    if asks_scout(data):
        data = {"name": settings.name, **data}
        request = ScoutRequest.of({**data, **changes}, config.parent, folder)
        if dry_run:
            plan_choice(read_models(request, show=not as_json), request, as_json=as_json)
            return
        begin = partial(_begin_choice, config, request, quiet=as_json)
    elif dry_run:
        _dry_run(settings, config.parent, as_json)
        return
    if not as_json:
        echo(f"Checking models and data of {settings.name}…", err=True)  # loading libraries takes seconds
    if seeds is not None:
        _run_seeds(begin, settings.seed, folder, seeds, quiet=as_json)
        print_spread(folder, as_json)
        return
    with begin(settings.seed, folder, None) as new:
        finish(new.begun, new, as_json=as_json)


def _read(path: Path) -> dict[str, object]:
    from kingyo.io.yaml import read_yaml

    return dict(read_yaml(path))


def _load(
    path: Path, data: dict[str, object], max_fevals: int | None, task_search_path: list[Path]
) -> RunConfig:
    from kingyo.run.config import parse_config
    from kingyo.run.config_file import BY_SCOUT, asks_scout, load_config, name_from_path
    from kingyo.run.mergekit_evolve import convert_genome_file, is_genome_file

    if "merge_method" in data:
        raise KingyoError(
            str(path),
            expected="a run.yaml",
            received="a recipe",
            remedy=f"Merge it with `kingyo merge {shlex.quote(str(path))} OUT`, or write a run.yaml with "
            "`kingyo init`.",
        )
    if is_genome_file(data):
        converted, unused = convert_genome_file(
            path, max_fevals=max_fevals, task_search_path=task_search_path
        )
        if unused:
            echo(f"Note: {', '.join(unused)}: settings of mergekit-evolve without effect here.", err=True)
        return parse_config(converted, str(path))
    if max_fevals is not None or task_search_path:
        raise KingyoError(
            "--task-search-path" if max_fevals is None else "--max-fevals",
            expected="a genome file of mergekit-evolve",
            received=str(path),
            remedy="Set budget.candidates and task in the run.yaml.",
        )
    sources = data.get("sources")
    if isinstance(sources, dict) and BY_SCOUT in sources:
        from kingyo.scout.for_task import check_rest, require_alone

        require_alone(cast("dict[str, object]", sources), path.parent)
        if asks_scout(data):
            return check_rest({"name": name_from_path(path), **data}, path.parent, str(path))
    return load_config(path, data)


def _require_free(folder: Path, *, several: bool) -> None:
    """Check that a run can be made in a folder; several runs may continue in it."""
    from kingyo.store import DATABASE, require_new

    if not several:
        require_new(folder)
    elif (folder / DATABASE).exists():
        raise KingyoError(
            str(folder),
            expected="a folder for the runs of several seeds",
            received="a single run",
            remedy="Choose another folder with --run.",
        )


def _dry_run(config: RunConfig, folder: Path, as_json: bool) -> None:
    """Print the plan of a run. Of models on the Hub, only configs and headers are downloaded."""
    from kingyo.dry_run import Speeds, dry_run, dry_run_record, measure_speeds
    from kingyo.run.default_controls import with_default_controls
    from kingyo.run.run import Run

    with redirect_stdout(sys.stderr):
        plan = dry_run(with_default_controls(Run.open(config, folder, fetch=False)))
        if not as_json and plan.missing_device is None:
            echo("Measuring the speed of dtypes and threads…", err=True)
        missing = plan.missing_device
        speeds = measure_speeds(plan.run) if missing is None else Speeds(reason=missing, untimed=missing)
    if as_json:
        print_json(dry_run_record(plan, speeds))
    else:
        from kingyo.cli.dry_run import print_dry_run

        print_dry_run(plan, speeds)


def _begin(file: Path, config: RunConfig, seed: int, run: Path, seeds: Path | None) -> Run:
    """Begin a run of a config that was read from a file; ``seeds`` is the folder of several runs."""
    from kingyo.run.begin import begin
    from kingyo.run.run import Run

    with redirect_stdout(sys.stderr):
        opened = Run.open(config.model_copy(update={"seed": seed}), file.parent)
        return begin(opened, run, seeds=seeds, file=file)


def _begin_choice(
    file: Path, request: ScoutRequest, seed: int, run: Path, seeds: Path | None, *, quiet: bool
) -> Run:
    """Begin a run that chooses its sources."""
    asked = replace(request, data={**request.data, "seed": seed})
    candidates = find_candidates(asked, quiet=quiet)
    with redirect_stdout(sys.stderr):
        return candidates.begin(run, seeds=seeds, file=file)


def _run_seeds(
    begin: Callable[[int, Path, Path | None], Run], first: int, folder: Path, n: int, *, quiet: bool
) -> None:
    """Run n seeds one after the other. Finished seeds are skipped."""
    from kingyo.run.seed_runs import PREFIX
    from kingyo.store import DATABASE, RunStore

    command = shlex.join(("kingyo", *sys.argv[1:]))
    for seed in range(first, first + n):
        run = folder / f"{PREFIX}{seed}"
        if (run / DATABASE).exists():
            with RunStore.read(run) as store:
                is_finished = store.status() == "finished"
            if is_finished:
                echo(f"Seed {seed} is finished: {run}", err=True)
                continue
            with RunStore.open(run) as store:
                run_to_end(store, None, quiet=quiet, command=command)
        else:
            with begin(seed, run, folder) as new:
                run_to_end(new.begun, new, quiet=quiet, command=command)
