"""A merge that was only looked at, as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from kingyo.cli.console import Console, print_whole, say
from kingyo.engine import Plan
from kingyo.engine.preflight import (
    JobGroup,
    MergeForecast,
    PlannedOutput,
    Preflight,
    common_text,
    group,
    ungrouped,
)
from kingyo.errors import told
from kingyo.io.units import count_text, counted, size_text
from kingyo.lineage.licences import UNKNOWN
from kingyo.vocabulary import Diagnostic

_MOST_FILES = 3
_BROKEN, _LEAST_WIDE = "with", 16  # the column whose lines may be broken, between words


def print_plan(preflight: Preflight, estimated: MergeForecast | None, *, verbose: bool = False) -> None:
    """Print what a merge would do, what it takes, and what is wrong, to standard output.

    Args:
        preflight: what was found.
        estimated: what it will take, if anything can be merged.
        verbose: a line for every tensor.
    """
    console = Console(highlight=False)
    for target in preflight.targets:
        _print_target(console, preflight, target, verbose=verbose)
    if estimated is not None:
        for line in _estimate_lines(estimated):
            say(console, escape(line))
    print_findings(console, preflight.findings)
    if not preflight.of("error"):
        say(console, "Nothing was written. Leave --dry-run out to merge.")


def print_findings(console: Console, findings: Iterable[Diagnostic]) -> None:
    """Print errors, warnings and notes, each on a line."""
    styles = {"error": "bold red", "warning": "yellow", "note": "dim"}
    for each in findings:
        level = f"[{styles[each.level]}]{each.level}[/{styles[each.level]}]"
        say(console, f"{level}: {escape(str(each.error))}")


def _print_target(console: Console, preflight: Preflight, target: PlannedOutput, *, verbose: bool) -> None:
    plan = target.plan
    say(console, f"[bold]{escape(str(target.out))}[/bold]")
    for step in target.book.steps[:-1]:
        _print_step(console, str(step.name), preflight.steps.plans[step.name])
    for line in plan.heading():  # its warnings are among the findings below
        say(console, escape(line))
    print_whole(console, _models(preflight, target), leading=2)
    groups = ungrouped(plan) if verbose else group(plan)
    everywhere = common_text(groups)
    if everywhere:
        say(console, escape(f"with {', '.join(everywhere)}"))
    print_whole(console, _tensors(groups, everywhere), leading=2)
    say(console, escape(_output(target)))
    if preflight.error is None and target.n_kept:
        say(
            console,
            f"kept of an interrupted merge: {counted(target.n_kept, 'file')} of weights, which are complete",
        )


def _print_step(console: Console, name: str, plan: Plan) -> None:
    """A merge that is an input of the one that is written."""
    groups = group(plan)
    everywhere = common_text(groups)
    values = [f"with {', '.join(everywhere)}"] if everywhere else []
    own = [f"{each.label}: {how}" for each in groups if (how := _own(each, everywhere))]
    for line in (*plan.heading(), *values, *own):
        say(console, f"[bold]{escape(name)}[/bold]: {escape(line)}")


def _own(each: JobGroup, everywhere: Sequence[str]) -> str:
    """What is said of a group alone."""
    return ", ".join(part for part in each.how if part not in everywhere)


def _models(preflight: Preflight, target: PlannedOutput) -> Table:
    table = _table("", "model", "numbers", "dtype", "size", "licence")
    for origin in target.origins:
        model = preflight.steps.models[origin.reference]
        dtypes = sorted({info.stored_dtype for info in model.tensors.values()})
        size = sum(info.n_bytes for info in model.tensors.values())
        licences = "; LoRA: ".join(licence or UNKNOWN for _, licence in origin.licences)
        version = f"@{origin.commit[:12]}" if origin.commit else ""
        cells = (
            origin.name,
            f"{origin.reference}{version}",
            count_text(model.n_parameters),
            ", ".join(dtypes),
            size_text(size),
            licences,
        )
        table.add_row(*map(escape, cells))
    return table


def _tensors(groups: Sequence[JobGroup], everywhere: Sequence[str]) -> Table:
    """A line for each group; what is said of all of them stands above."""
    own = [_own(each, everywhere) for each in groups]
    table = _table("", "tensors", "shape", "dtype", *((_BROKEN,) if any(own) else ()))
    table.columns[0].justify = "right"
    for each, how in zip(groups, own, strict=True):
        cells = [f"{len(each.names)} ×", each.label, str(list(each.shape)), each.dtype]
        table.add_row(*map(escape, [*cells, how] if any(own) else cells))
    return table


def _output(target: PlannedOutput) -> str:
    names = [f"{shard.file} ({size_text(shard.n_bytes)})" for shard in target.shards]
    n_numbers = sum(each.n_elements for each in group(target.plan))
    return (
        f"writes {counted(len(target.plan.jobs), 'tensor')}, {count_text(n_numbers)} numbers, "
        f"{size_text(target.n_bytes)} in {counted(len(names), 'file')}: {told(names, _MOST_FILES)}"
    )


def _estimate_lines(found: MergeForecast) -> Sequence[str]:
    memory = ", ".join(f"{name} {size_text(size)}" for name, size in found.memory.items() if size)
    return [
        f"reads {size_text(found.read)} of {counted(found.files, 'file')}, writes "
        f"{size_text(found.written)}; {size_text(found.free)} are free on the disk",
        f"memory: about {size_text(found.peak)} at most ({memory})",
    ]


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in (first, *others):
        is_broken = name == _BROKEN
        table.add_column(name, no_wrap=not is_broken, min_width=_LEAST_WIDE if is_broken else None)
    return table
