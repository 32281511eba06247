"""The command ``merge``."""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.options import AsJson, declared
from kingyo.cli.output import echo, errors_beside, print_json
from kingyo.cli.run import interruptible, note_if_slow
from kingyo.core.io.units import counted
from kingyo.errors import listed

if TYPE_CHECKING:
    from kingyo.merging.engine import MergeOptions
    from kingyo.merging.engine.book import PlannedOutput
    from kingyo.merging.engine.preflight import Preflight

_MAX_TENSORS = 3  # named in a warning
_OPTIONS = (
    *("seed", "threads", "force", "allow_nonfinite", "copy_code", "ignore_licences", "component"),
    *("pipeline", "single_file", "allow_pickle"),
)


@declared(
    "kingyo.merging.engine:MergeOptions",
    *_OPTIONS,
    seed={"min": 0},
    threads={"min": 1},
    component={"metavar": "NAME"},
)
def merge(
    options: MergeOptions,
    recipe: Annotated[
        Path,
        typer.Argument(
            metavar="RECIPE.yaml", help="A file with one or several recipes in mergekit's format."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to create.")],
    max_shard_size: Annotated[
        str, typer.Option("--max-shard-size", help="Maximum size of a weight file.")
    ] = "5GB",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and all problems; write nothing.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="With --dry-run: print a line for each tensor.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Merge models on disk according to a recipe. After an interruption, rerun the command.

    The flags of mergekit-yaml and mergekit-multi also work.

    Example: `kingyo merge recipe.yaml merged --dry-run`
    """
    record: dict[str, object] = {"targets": []}
    with errors_beside(record) if as_json else nullcontext():
        from kingyo.core.io.units import parse_size

        options = replace(options, max_shard_bytes=parse_size(max_shard_size, "--max-shard-size"))
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
    from kingyo.merging.engine.preflight import check_merge
    from kingyo.merging.engine.record import estimate, preflight_record

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
    from kingyo.api.merging import check_and_fetch
    from kingyo.merging.engine.record import diagnostics_record

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


def _write(preflight: Preflight, output: PlannedOutput, start: float, *, quiet: bool) -> dict[str, object]:
    from kingyo.api.merging import ModelWriting
    from kingyo.cli.progress import Counts
    from kingyo.core.io.units import size_text, time_text
    from kingyo.merging.engine.record import output_record

    with Counts(quiet=quiet) as progress:
        writing = ModelWriting(preflight, output, progress)
        with interruptible(lambda: f"Interrupted; nothing is left behind in {output.out}."):
            writing.run()
    nonfinite, seconds = sorted(writing.nonfinite), time.monotonic() - start
    tensors = counted(len(output.plan.jobs), "tensor")
    if nonfinite:
        names = listed(nonfinite, _MAX_TENSORS)
        echo(f"Warning: NaN or infinity in {len(nonfinite)} of {tensors}: {names}.", err=True)
    if not quiet:
        size, method = size_text(output.n_bytes), output.plan.recipe.merge_method
        echo(f"Wrote {output.out}: {tensors} by {method}, {size} in {time_text(seconds)}.")
    return {**output_record(output), "seconds": round(seconds, 3), "nonfinite": nonfinite}
