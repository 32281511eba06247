"""The plan of a run as text, for ``kingyo evolve --dry-run``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from kingyo.cli.console import Console, model_cells, print_lines, print_rows
from kingyo.cli.live_display import row_name
from kingyo.core.io.units import counted, size_text, time_text
from kingyo.core.types import SPLITS, Axis
from kingyo.errors import listed
from kingyo.runs.cost import Cost, CostPart, total
from kingyo.runs.dry_run import DryRun, MemoryForecast
from kingyo.runs.run import Run
from kingyo.runs.speed import Speeds
from kingyo.search.evolution import MAIN, Search
from kingyo.search.evolution.screens import ScreenSettings
from kingyo.search.strategies.combinators import main_batch
from kingyo.tasks import single_tasks

_MAX_GENES = 8
_CHOOSES = {
    "informative": "mostly those that tell good candidates apart",
    "random": "drawn at random",
    "in turn": "in turn",
}


def print_dry_run(plan: DryRun, speeds: Speeds) -> None:
    console, run, memory = Console(), plan.run, plan.memory
    workers = run.config.workers
    print_lines(console, run.config.name, style="bold")
    head = ["", "model", "parameters", "dtype", "size", *(["to download"] if memory.missing else [])]
    rows = [
        [name, model.reference, *model_cells(model), size_text(model.n_missing) if model.n_missing else ""]
        for name, model in run.models.named.items()
    ]
    print_rows(console, head, [row[: len(head)] for row in rows], leading=2)
    print_lines(console, *item_lines(run, plan.prompts), *_search_lines(plan))
    _print_parts(console, plan.cost, speeds, workers)
    print_lines(
        console,
        *_time_lines(plan, speeds),
        *memory_lines(memory, run.config.device),
        *(f"note: {note}" for note in plan.notes),
    )
    print_lines(console, *(f"Warning: {warning}." for warning in plan.warnings), style="bold")
    cannot = f"But the run cannot start on this machine: {plan.missing_device}."
    apart = ", apart from the warnings" if plan.warnings else ""
    next_step = "Start the run without --dry-run." if plan.missing_device is None else cannot
    print_lines(console, f"All fits together{apart}. Nothing was written. {next_step}")


def item_lines(run: Run, prompts: Mapping[str, str]) -> Iterator[str]:
    """Yield the number of items; then the first prompts as models read them, or else an item."""
    items = ", ".join(f"{len(run.items[split])} {split}" for split in SPLITS)
    near = f"; {run.data.near}" if run.data.near.groups else ""
    unused = f", {run.data.unused:,} not used (see splits)" if run.data.unused else ""
    yield f"items: {items}{unused}; {counted(run.data.duplicates, 'duplicate')} dropped{near}"
    if not prompts:
        item = run.items["fit"][0]
        yield f"an item: {item.in_a_line()}{f' → {item.answer!r}' if item.answer else ''}"
    tasks = dict(zip(run.config.specs, single_tasks(run.task), strict=True))
    for name, prompt in prompts.items():
        of = f" of {name}" if len(prompts) > 1 else ""
        yield f"the first prompt{of}, as models read it:"
        yield from (f"  {line}" for line in prompt.splitlines())
        if answer := tasks[name].items("fit")[0].answer:
            yield f"its right answer: {answer!r}"


def _search_lines(plan: DryRun) -> Iterator[str]:
    run, config, first = plan.run, plan.run.config, plan.run.settings.first
    main, n_fit = run.searches[0], len(run.items["fit"])
    own = next(part for part in plan.cost.parts if (part.name, part.split) == (main.name, "fit"))
    n = "candidates" if own.models is None else counted(own.models, "candidate")
    preset = f" (preset {config.search.preset})" if config.search.preset is not None else ""
    settings = "".join(f", {key} {value}" for key, value in first.settings.items() if value not in (None, {}))
    batch = main_batch(main.strategy)
    yield f"search: {n} by {first.strategy}{preset}, {batch} at a time{settings}{_given(main)}"
    yield _screen(first.screen, n_fit)
    if config.space != "dataflow":
        dtype = config.merge.dtype or "the models' own dtype"
        yield f"merge: {', '.join(first.methods)} in {dtype}, groups: {first.groups}"
    learning = plan.learning
    if learning.weights:
        yield (
            f"weights are learned by gradient: {counted(learning.weights, 'weight')}, where right answers "
            "promise a gain"
        )
    if learning.reason is not None:
        yield f"weights are not learned by gradient, because of {learning.reason}"
    wanted, then, paths = run.settings.paths, run.settings.then, plan.paths
    if paths is not None and wanted is not None:
        strategy = "" if then is None else f", then searched by {then.strategy} (preset {then.preset.name})"
        limits = f"order {wanted.order}, repetitions {wanted.repetitions}, scales {wanted.scales}"
        yield f"paths through layers{strategy}: {limits}"
        size = size_text(paths.longest_bytes)
        yield f"the longest path: {counted(paths.longest, 'layer')}, {size} of weights"
    if then is not None:
        search = next(each for each in run.all_searches if each.name == MAIN)
        genes = counted(len(search.space.axes), "gene")
        yield f"path search: {genes}{_given(search)}; {_screen(search.screen, n_fit)}"
    yield gene_line(run.axes)


def _screen(screen: ScreenSettings, n_fit: int) -> str:
    items = f"{'all ' if n_fit > 1 else ''}{counted(n_fit, 'item')} of fit"
    if screen.items is not None and screen.items < n_fit:
        items = f"{screen.items} of {counted(n_fit, 'item')} of fit, {_CHOOSES[screen.choose]}"
    return f"each candidate is scored on {items}"


def _given(search: Search) -> str:
    return f", after {counted(search.given, 'given point')}" if search.given else ""


def gene_line(axes: tuple[Axis, ...]) -> str:
    alike: dict[tuple[str, str], list[str]] = {}
    for axis in axes:
        values = f"one of {listed(axis.choices, 6)}" if axis.choices else f"{axis.low:g} to {axis.high:g}"
        alike.setdefault((axis.name.partition("/")[0], values), []).append(axis.name)
    kinds = [
        f"{own[0] if len(own) == 1 else f'{len(own)} named {name}/…'}, {values}"
        for (name, values), own in alike.items()
    ]
    more = f" and {len(kinds) - _MAX_GENES} more ranges" if len(kinds) > _MAX_GENES else ""
    every = f"{len(axes)}: " if len(kinds) > 1 else ""
    return f"genes: {every}{'; '.join(kinds[:_MAX_GENES])}{more}; --json has them, and the first recipe"


def _print_parts(console: Console, cost: Cost, speeds: Speeds, n_workers: int) -> None:
    """Print what each part scores."""
    parts: dict[str, list[CostPart]] = {}
    for part in cost.parts:
        parts.setdefault(row_name(part.name, part.split), []).append(part)
    seconds = {name: total(speeds.seconds(part, n_workers) for part in own) for name, own in parts.items()}
    seconds["total"] = speeds.run_seconds(cost, n_workers)
    has_times = any(each is not None for each in seconds.values())
    head = ("part", "models", "items each", "answers", *(("time",) if has_times else ()))
    rows: list[list[str]] = []
    for name, own in {**parts, "total": list(cost.parts)}.items():
        items = "" if name == "total" else f"{max(part.items for part in own):,}"
        answers, models = total(part.answers for part in own), total(part.models for part in own)
        cells = [name, _text(models), items, _text(answers), _text(seconds[name], time_text)]
        rows.append(cells[: len(head)])
    print_rows(console, head, rows, n_left=1)


def _text(number: float | None, write: Callable[[float], str] = lambda number: f"{number:,.0f}") -> str:
    return "?" if number is None else write(number)


def _time_lines(plan: DryRun, speeds: Speeds) -> Iterator[str]:
    config = plan.run.config
    seconds, each = speeds.run_seconds(plan.cost, config.workers), "the limit of the budget"
    if speeds.build_seconds is not None and speeds.item_seconds is not None:
        merge = f"a merge takes {speeds.build_seconds:.2g} s, " if speeds.build_seconds else ""
        each = f"{merge}an item {speeds.item_seconds:.2g} s"
    without = ", without the training of LoRAs" if config.controls.trained or config.tune else ""
    if seconds is None:
        yield f"time: not measured: {speeds.untimed}; the run shows the time left"
    else:
        yield f"time: {_about(seconds)} ({each}){without}"


def _about(seconds: float) -> str:
    if seconds < 60:
        return "less than a minute"
    minutes = round(seconds / 60)
    return f"about {counted(minutes, 'minute') if minutes < 120 else f'{minutes / 60:.0f} hours'}"


def memory_lines(memory: MemoryForecast, device: str) -> Iterator[str]:
    live = "the live model" if memory.n_live == 1 else f"{memory.n_live} live models"
    parts = [f"{size_text(memory.live)} for {live}"]
    if memory.batch is not None:
        parts.append(f"{_text(memory.batch.bytes, size_text)} for {memory.batch.what}")
    sources = size_text(sum(memory.sources.values()))
    yield (
        f"memory of {device}: {'; '.join(parts)}; plus working memory; {sources} of source files are mapped, "
        "which the system can reclaim"
    )
    if memory.missing:
        missing = size_text(sum(memory.missing.values()))
        yield f"downloads first: {missing} of {counted(len(memory.missing), 'model')}"
