"""The plan of a merge as text, for ``kingyo merge --dry-run``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from kingyo.cli.console import Console, plain_table, print_table, print_text
from kingyo.core.io.units import count_text, counted, size_text
from kingyo.errors import listed
from kingyo.merging.checkpoints import Checkpoint
from kingyo.merging.engine import Plan
from kingyo.merging.engine.book import PlannedOutput
from kingyo.merging.engine.preflight import Preflight
from kingyo.merging.engine.record import JobGroup, MergeForecast, common_text, group, heading, ungrouped
from kingyo.merging.lineage import UNKNOWN

STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
_MAX_FILES = 3
_MAX_GROUPS = 40
_MIN_WIDTH = 16  # of the column whose cells may be wrapped


def print_plan(preflight: Preflight, forecast: MergeForecast | None, *, verbose: bool = False) -> None:
    console = Console(highlight=False)
    for output in preflight.outputs:
        _print_target(console, preflight, output, verbose=verbose)
    if forecast is not None:
        for line in _cost_lines(forecast):
            print_text(console, escape(line))
    for each in preflight.diagnostics:
        style = STYLES[each.level]
        print_text(console, f"[{style}]{each.level}[/{style}]: {escape(str(each.error))}")
    if not preflight.of("error"):
        print_text(console, "Nothing was written. Leave --dry-run out to merge.")


def _print_target(console: Console, preflight: Preflight, output: PlannedOutput, *, verbose: bool) -> None:
    plan = output.plan
    print_text(console, f"[bold]{escape(str(output.out))}[/bold]")
    for step in output.book.steps[:-1]:
        _print_step(console, str(step.name), preflight.plans[step.name])
    for line in heading(plan):
        print_text(console, escape(line))
    print_table(console, _models(preflight, output), leading=2)
    groups = ungrouped(plan) if verbose else group(plan)
    everywhere = common_text(groups)
    if everywhere:
        print_text(console, escape(f"with {', '.join(everywhere)}"))
    shown = groups if verbose else groups[:_MAX_GROUPS]
    print_table(console, _tensors(shown, everywhere), leading=2)
    if len(groups) > len(shown):
        print_text(console, f"  and {len(groups) - len(shown)} more lines; --verbose lists all tensors")
    print_text(console, escape(_output(output)))


def _print_step(console: Console, name: str, plan: Plan) -> None:
    groups = group(plan)
    everywhere = common_text(groups)
    values = [f"with {', '.join(everywhere)}"] if everywhere else []
    own = [f"{each.label}: {text}" for each in groups if (text := _own(each, everywhere))]
    for line in (*heading(plan), *values, *own):
        print_text(console, f"[bold]{escape(name)}[/bold]: {escape(line)}")


def _own(each: JobGroup, everywhere: Sequence[str]) -> str:
    return ", ".join(part for part in each.how if part not in everywhere)


def _models(preflight: Preflight, output: PlannedOutput) -> Table:
    table = plain_table("", "model", "parameters", "dtype", "size", "licence")
    for origin in output.origins:
        model = preflight.models[origin.reference]
        licences = "; LoRA: ".join(licence or UNKNOWN for _, licence in origin.licences)
        version = f"@{origin.commit[:12]}" if origin.commit else ""
        cells = (origin.name, f"{origin.reference}{version}", *model_cells(model), licences)
        table.add_row(*map(escape, cells))
    return table


def model_cells(model: Checkpoint) -> tuple[str, str, str]:
    """Return cells with the number of parameters, the dtypes and the size of a model."""
    dtypes = sorted({info.stored_dtype for info in model.tensors.values()})
    size = sum(info.n_bytes for info in model.tensors.values())
    return count_text(model.n_parameters), ", ".join(dtypes), size_text(size)


def _tensors(groups: Sequence[JobGroup], everywhere: Sequence[str]) -> Table:
    own = [_own(each, everywhere) for each in groups]
    table = plain_table("", "tensors", "shape", "dtype")
    table.columns[0].justify = "right"
    if any(own):
        table.add_column("with", min_width=_MIN_WIDTH)
    for each, values in zip(groups, own, strict=True):
        cells = [f"{each.count} ×", each.label, str(list(each.shape)), each.dtype]
        table.add_row(*map(escape, [*cells, values] if any(own) else cells))
    return table


def _output(output: PlannedOutput) -> str:
    names = [f"{shard.file} ({size_text(shard.n_bytes)})" for shard in output.shards]
    n_parameters = output.plan.like.n_parameters
    return (
        f"writes {counted(len(output.plan.jobs), 'tensor')}, {count_text(n_parameters)} parameters, "
        f"{size_text(output.n_bytes)} in {counted(len(names), 'file')}: {listed(names, _MAX_FILES)}"
    )


def _cost_lines(forecast: MergeForecast) -> Sequence[str]:
    return [
        f"reads {size_text(forecast.read_bytes)} of {counted(forecast.read_files, 'file')}, writes "
        f"{size_text(forecast.written_bytes)}; {size_text(forecast.free_bytes)} are free on the disk",
    ]
