"""The command ``merge``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from kingyo.cli.console import Console, model_cells, print_lines, print_rows, print_text
from kingyo.cli.options import AsJson, declared
from kingyo.cli.output import echo, errors_beside, print_json
from kingyo.cli.run import interruptible, note_if_slow
from kingyo.core.io.units import count_text, counted, parse_size, size_text, time_text
from kingyo.errors import listed

if TYPE_CHECKING:
    from kingyo.merging.engine import MergeOptions
    from kingyo.merging.engine.book import PlannedOutput
    from kingyo.merging.engine.preflight import Preflight
    from kingyo.merging.engine.record import JobGroup

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
_MAX_NAMES = 3  # of tensors or files
_MAX_GROUPS = 40
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
    as_json: AsJson = False,
) -> None:
    """Merge models on disk according to a recipe. After an interruption, rerun the command.

    The flags of mergekit-yaml and mergekit-multi also work.

    Example: `kingyo merge recipe.yaml merged --dry-run`
    """
    record: dict[str, object] = {"targets": []}
    with errors_beside(record) if as_json else nullcontext():
        options = replace(options, max_shard_bytes=parse_size(max_shard_size, "--max-shard-size"))
        if dry_run:
            _dry_run(recipe, out, options, record, as_json=as_json)
        else:
            _merge(recipe, out, options, record, as_json=as_json)
        if as_json:
            print_json(record)


def _dry_run(
    recipe: Path, out: Path, options: MergeOptions, record: dict[str, object], *, as_json: bool
) -> None:
    """Print the plan or add it to the record; exit with code 1 if the merge is not possible."""
    from kingyo.merging.engine.preflight import check_merge
    from kingyo.merging.engine.record import preflight_record

    note_if_slow()
    preflight = check_merge(recipe, out, options, fetch=False)
    if as_json:
        record.update(preflight_record(preflight))
        if preflight.error is not None:
            raise preflight.error
        return
    console = Console()
    for output in preflight.outputs:
        _print_target(console, preflight, output)
    for each in preflight.diagnostics:
        style = _STYLES[each.level]
        print_text(console, f"[{style}]{each.level}[/{style}]: {escape(str(each.error))}")
    if preflight.error is not None:
        raise typer.Exit(1)
    print_lines(console, "Nothing was written. Leave --dry-run out to merge.")


def _print_target(console: Console, preflight: Preflight, output: PlannedOutput) -> None:
    from kingyo.merging.engine.record import common_text, group, heading
    from kingyo.merging.lineage import UNKNOWN

    plan = output.plan
    print_lines(console, output.out, style="bold")
    for step in output.book.steps[:-1]:
        for line in (*heading(preflight.plans[step.name]), *_values(group(preflight.plans[step.name]))):
            print_lines(console, f"{step.name}: {line}")
    print_lines(console, *heading(plan))
    models: list[tuple[str, ...]] = []
    for origin in output.origins:
        licences = "; LoRA: ".join(licence or UNKNOWN for _, licence in origin.licences)
        version = f"@{origin.commit[:12]}" if origin.commit else ""
        cells = model_cells(preflight.models[origin.reference])
        models.append((origin.name, f"{origin.reference}{version}", *cells, licences))
    print_rows(console, ("", "model", "parameters", "dtype", "size", "licence"), models, leading=2)
    groups = group(plan)
    everywhere = common_text(groups)
    if everywhere:
        print_lines(console, f"with {', '.join(everywhere)}")
    shown = groups[:_MAX_GROUPS]
    values = [", ".join(part for part in each.how if part not in everywhere) for each in shown]
    head = ("", "tensors", "shape", "dtype", *(("with",) if any(values) else ()))
    tensors = [
        (f"{each.count} ×", each.label, list(each.shape), each.dtype, own)[: len(head)]
        for each, own in zip(shown, values, strict=True)
    ]
    print_rows(console, head, tensors, leading=2)
    if len(groups) > len(shown):
        print_lines(console, f"  and {len(groups) - len(shown)} more lines; --json has all")
    names = [f"{shard.file} ({size_text(shard.n_bytes)})" for shard in output.shards]
    print_lines(
        console,
        f"writes {counted(len(plan.jobs), 'tensor')}, {count_text(plan.like.n_parameters)} parameters, "
        f"{size_text(output.n_bytes)} in {counted(len(names), 'file')}: {listed(names, _MAX_NAMES)}",
    )


def _values(groups: Sequence[JobGroup]) -> Iterator[str]:
    """Yield the values of a step's parameters: those of all tensors, and of groups that have their own."""
    from kingyo.merging.engine.record import common_text

    everywhere = common_text(groups)
    if everywhere:
        yield f"with {', '.join(everywhere)}"
    for each in groups:
        own = ", ".join(part for part in each.how if part not in everywhere)
        if own:
            yield f"{each.label}: {own}"


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
    from kingyo.merging.engine.record import output_record

    with Counts(quiet=quiet) as progress:
        writing = ModelWriting(preflight, output, progress)
        with interruptible(lambda: f"Interrupted; nothing is left behind in {output.out}."):
            writing.run()
    nonfinite, seconds = sorted(writing.nonfinite), time.monotonic() - start
    tensors = counted(len(output.plan.jobs), "tensor")
    if nonfinite:
        names = listed(nonfinite, _MAX_NAMES)
        echo(f"Warning: NaN or infinity in {len(nonfinite)} of {tensors}: {names}.", err=True)
    if not quiet:
        size, method = size_text(output.n_bytes), output.plan.recipe.merge_method
        echo(f"Wrote {output.out}: {tensors} by {method}, {size} in {time_text(seconds)}.")
    return {**output_record(output), "seconds": round(seconds, 3), "nonfinite": nonfinite}
