"""The command ``merge``."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.as_json import errors_beside, print_json
from kingyo.cli.options import AllowPickle, AsJson, SingleFile
from kingyo.cli.run import interruptible, note_if_slow
from kingyo.cli.terminal import echo
from kingyo.errors import listed
from kingyo.io.units import counted

if TYPE_CHECKING:
    from kingyo.engine import MergeOptions
    from kingyo.engine.book import PlannedOutput
    from kingyo.engine.preflight import Preflight
    from kingyo.recipe import RecipeBook

_MAX_TENSORS = 3  # named in a warning

RecipeFile = Annotated[
    Path,
    typer.Argument(metavar="RECIPE.yaml", help="A file with one or several recipes in mergekit's format."),
]
Seed = Annotated[
    int | None, typer.Option("--seed", min=0, help="Seed of random methods; overrides the recipe.")
]
MaxShardSize = Annotated[str, typer.Option("--max-shard-size", help="Maximum size of a weight file.")]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Number of threads.  \\[default: all cores]")
]
Force = Annotated[bool, typer.Option("--force", help="Replace OUT and everything in it.")]
AllowNonfinite = Annotated[
    bool, typer.Option("--allow-nonfinite", help="Merge even if weights are NaN or infinite.")
]
CopyCode = Annotated[
    bool, typer.Option("--copy-code", help="Copy the Python files of the models. They are not run.")
]
IgnoreLicences = Annotated[
    bool, typer.Option("--ignore-licences", help="Merge even if the licences of the models forbid it.")
]
ComponentName = Annotated[
    str | None,
    typer.Option(
        "--component",
        metavar="NAME",
        help="If the recipe names diffusers pipelines: merge this component of them, such as unet.",
    ),
]
WithPipeline = Annotated[
    bool,
    typer.Option(
        "--pipeline",
        help="Write the full diffusers pipeline around the merged component, not only the component.",
    ),
]
DryRunFlag = Annotated[
    bool, typer.Option("--dry-run", help="Print the plan and all problems; write nothing.")
]
Verbose = Annotated[bool, typer.Option("--verbose", help="With --dry-run: print a line for each tensor.")]


def merge(
    recipe: RecipeFile,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to create.")],
    seed: Seed = None,
    max_shard_size: MaxShardSize = "5GB",
    threads: Threads = None,
    force: Force = False,
    allow_nonfinite: AllowNonfinite = False,
    copy_code: CopyCode = False,
    ignore_licences: IgnoreLicences = False,
    component: ComponentName = None,
    pipeline: WithPipeline = False,
    single_file: SingleFile = False,
    allow_pickle: AllowPickle = False,
    dry_run: DryRunFlag = False,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Merge models on disk according to a recipe. After an interruption, rerun the command.

    The flags of mergekit-yaml and mergekit-multi also work.

    Example: `kingyo merge recipe.yaml merged --dry-run`
    """
    record: dict[str, object] = {"targets": []}
    with errors_beside(record) if as_json else nullcontext():
        from kingyo.engine import MergeOptions
        from kingyo.io.units import parse_size

        options = MergeOptions(
            seed=seed,
            max_shard_bytes=parse_size(max_shard_size, "--max-shard-size"),
            threads=threads,
            force=force,
            allow_nonfinite=allow_nonfinite,
            copy_code=copy_code,
            ignore_licences=ignore_licences,
            component=component,
            pipeline=pipeline,
            single_file=single_file,
            allow_pickle=allow_pickle,
        )
        if dry_run:
            _dry_run(recipe, out, options, record, verbose=verbose, as_json=as_json)
        else:
            _merge(recipe, out, options, record, as_json=as_json)
        if as_json:
            print_json(record)


def _dry_run(
    recipe: Path,
    out: Path,
    options: MergeOptions,
    record: dict[str, object],
    *,
    verbose: bool,
    as_json: bool,
) -> None:
    """Print the plan or add it to the record; exit with code 1 if the merge is not possible."""
    from kingyo.engine.preflight import check_merge
    from kingyo.engine.record import estimate, preflight_record

    note_if_slow()
    preflight = check_merge(recipe, out, options, fetch=False)
    forecast = estimate(preflight) if preflight.outputs else None
    if as_json:
        record.update(preflight_record(preflight, forecast, verbose=verbose))
        if preflight.error is not None:
            raise preflight.error
        return
    from kingyo.cli.merge_plan import print_plan

    print_plan(preflight, forecast, verbose=verbose)
    if preflight.error is not None:
        raise typer.Exit(1)


def _merge(
    recipe: Path, out: Path, options: MergeOptions, record: dict[str, object], *, as_json: bool
) -> None:
    """Merge, and add each model that is written to the targets of the record."""
    from kingyo.engine.record import diagnostics_record

    start = time.monotonic()
    preflight = check_and_fetch(recipe, out, options)
    record.update(diagnostics_record(preflight))
    if preflight.error is not None:
        raise preflight.error
    note_if_slow()
    for warning in preflight.of("warning"):
        echo(f"Warning: {warning.error}", err=True)
    written = list[dict[str, object]]()
    record["targets"] = written
    for output in preflight.outputs:
        written.append(_write(preflight, output, start, quiet=as_json))
        start = time.monotonic()


def check_and_fetch(
    recipe: Path | RecipeBook, out: Path, options: MergeOptions, folder: Path | None = None
) -> Preflight:
    """Check a merge, and download missing weights after everything else is checked."""
    from kingyo.engine.preflight import check_merge

    preflight = check_merge(recipe, out, options, folder=folder, fetch=False)
    if preflight.error is None and preflight.n_missing:
        return check_merge(recipe, out, options, folder=folder)
    return preflight


def _write(preflight: Preflight, output: PlannedOutput, start: float, *, quiet: bool) -> dict[str, object]:
    """Write a model, print a line about it unless quiet, and return its record."""
    from kingyo.cli.progress import MergeProgress
    from kingyo.engine.record import output_record
    from kingyo.engine.write import write
    from kingyo.io.units import size_text, time_text

    with (
        MergeProgress(output.out.name or str(output.out), quiet=quiet) as progress,
        interruptible(lambda: f"Interrupted; nothing is left behind in {output.out}."),
    ):
        write(preflight, output, progress)
    nonfinite, seconds = sorted(progress.nonfinite), time.monotonic() - start
    tensors = counted(len(output.plan.jobs), "tensor")
    if nonfinite:
        names = listed(nonfinite, _MAX_TENSORS)
        echo(f"Warning: NaN or infinity in {len(nonfinite)} of {tensors}: {names}.", err=True)
    if not quiet:
        size, method = size_text(output.n_bytes), output.plan.recipe.merge_method
        echo(f"Wrote {output.out}: {tensors} by {method}, {size} in {time_text(seconds)}.")
    return {**output_record(output), "seconds": round(seconds, 3), "nonfinite": nonfinite}
