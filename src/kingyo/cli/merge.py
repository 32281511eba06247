"""The command ``merge``."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kingyo.cli.console import Console, model_cells, print_lines, print_rows
from kingyo.cli.options import declared
from kingyo.cli.output import echo, errors_beside, print_json
from kingyo.cli.progress import Counts
from kingyo.cli.run import interruptible, note_if_slow
from kingyo.core.io.units import count_text, counted, parse_size, size_text, time_text
from kingyo.errors import listed

if TYPE_CHECKING:
    from kingyo.merging.engine import MergeOptions
    from kingyo.merging.engine.book import PlannedOutput
    from kingyo.merging.engine.preflight import Preflight

_MAX_NAMES = 3  # of tensors or files


@declared("kingyo.merging.engine:MergeOptions", without=("max_shard_bytes", "compiled"))
def merge(
    options: MergeOptions,
    recipe: Path,
    out: Path,
    *,
    max_shard_size: str = "5GB",
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Merge models on disk according to a recipe. After an interruption, rerun the command.

    The flags of mergekit-yaml and mergekit-multi also work.

    Example: `kingyo merge recipe.yaml merged --dry-run`

    Args:
        recipe (RECIPE.yaml): a file with one or several recipes in mergekit's format.
        out: the folder to create.
        max_shard_size: maximum size of a weight file.
        dry_run: print the plan and all problems; write nothing.
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
        print_lines(console, f"{each.level}: {each.error}", style="bold" if each.level == "error" else None)
    if preflight.error is not None:
        sys.exit(1)
    print_lines(console, "Nothing was written. Leave --dry-run out to merge.")


def _print_target(console: Console, preflight: Preflight, output: PlannedOutput) -> None:
    from kingyo.merging.engine.record import common_text, group, heading
    from kingyo.merging.lineage import UNKNOWN

    plan = output.plan
    print_lines(console, output.out, style="bold")
    for step in output.book.steps[:-1]:
        print_lines(console, *(f"{step.name}: {line}" for line in heading(preflight.plans[step.name])))
    print_lines(console, *heading(plan))
    models: list[tuple[str, ...]] = []
    for origin in output.origins:
        licences = "; LoRA: ".join(licence or UNKNOWN for _, licence in origin.licences)
        version = f"@{origin.commit[:12]}" if origin.commit else ""
        cells = model_cells(preflight.models[origin.reference])
        models.append((origin.name, f"{origin.reference}{version}", *cells, licences))
    print_rows(console, ("", "model", "parameters", "dtype", "size", "licence"), models)
    groups = group(plan)
    everywhere = common_text(groups)
    if everywhere:
        print_lines(console, f"with {', '.join(everywhere)}")
    tensors: list[tuple[object, ...]] = []
    for each in groups:
        own = ", ".join(part for part in each.how if part not in everywhere)
        tensors.append((f"{each.count} ×", each.label, list(each.shape), each.dtype, own))
    print_rows(console, ("", "tensors", "shape", "dtype", "with"), tensors)
    print_lines(
        console,
        f"writes {counted(len(plan.jobs), 'tensor')}, {count_text(plan.like.n_parameters)} parameters, "
        f"{size_text(output.n_bytes)} in {counted(len(output.shards), 'file')}",
    )


def _merge(
    recipe: Path, out: Path, options: MergeOptions, record: dict[str, object], *, as_json: bool
) -> None:
    from kingyo.api.merging import ModelWriting, check_and_fetch
    from kingyo.merging.engine.record import diagnostics_record, output_record

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
        with Counts(quiet=as_json) as progress:
            writing = ModelWriting(preflight, output, progress)
            with interruptible(f"Interrupted; nothing is left behind in {output.out}."):
                writing.run()
        nonfinite, tensors = sorted(writing.nonfinite), counted(len(output.plan.jobs), "tensor")
        if nonfinite:
            names = listed(nonfinite, _MAX_NAMES)
            echo(f"Warning: NaN or infinity in {len(nonfinite)} of {tensors}: {names}.", err=True)
        if not as_json:
            how = f"{tensors} by {output.plan.recipe.merge_method}, {size_text(output.n_bytes)}"
            echo(f"Wrote {output.out}: {how} in {time_text(writing.seconds)}.")
        own = {"seconds": round(writing.seconds, 3), "nonfinite": nonfinite}
        written.append({**output_record(output), **own})
