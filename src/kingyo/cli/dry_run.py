"""The plan of a run as text, for ``kingyo evolve --dry-run``."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from kingyo.cli.console import Console, model_cells, print_lines, print_rows
from kingyo.core.io.units import counted, size_text, time_text
from kingyo.core.types import SPLITS, Axis
from kingyo.errors import listed
from kingyo.runs.cost import CostPart, total
from kingyo.runs.dry_run import DryRun, MemoryForecast, Speeds
from kingyo.runs.run import Run
from kingyo.search.evolution import MAIN, Search
from kingyo.search.strategies.combinators import main_batch
from kingyo.views.run_progress import row_name

_MOST_NAMES = 8


def print_dry_run(plan: DryRun, speeds: Speeds) -> None:
    console, run, memory = Console(), plan.run, plan.memory
    print_lines(console, run.config.name, style="bold")
    head = ("", "model", "parameters", "dtype", "size")
    rows = ((name, model.reference, *model_cells(model)) for name, model in run.models.named.items())
    print_rows(console, head, rows)
    print_lines(console, *item_lines(run, plan.prompts), *_search_lines(plan))
    _print_parts(console, plan, speeds)
    print_lines(console, _time_line(plan, speeds), *memory_lines(memory, run.config.device))
    print_lines(console, *(f"note: {note}" for note in plan.notes))
    print_lines(console, *(f"Warning: {warning}." for warning in plan.warnings), style="bold")
    cannot = f"But the run cannot start on this machine: {plan.missing_device}."
    apart = ", apart from the warnings" if plan.warnings else ""
    next_step = "Start the run without --dry-run." if plan.missing_device is None else cannot
    print_lines(console, f"All fits together{apart}. Nothing was written. {next_step}")


def item_lines(run: Run, prompts: Mapping[str, str]) -> Iterator[str]:
    """Yield the number of items; then the first prompts as models read them, and an item."""
    items = ", ".join(f"{len(run.items[split])} {split}" for split in SPLITS)
    near = f"; {run.data.near}" if run.data.near.groups else ""
    unused = f", {run.data.unused:,} not used (see splits)" if run.data.unused else ""
    yield f"items: {items}{unused}; {counted(run.data.duplicates, 'duplicate')} dropped{near}"
    for name, prompt in prompts.items():
        of = f" of {name}" if len(prompts) > 1 else ""
        yield f"the first prompt{of}, as models read it:"
        yield from (f"  {line}" for line in prompt.splitlines())
    item = run.items["fit"][0]
    asked = "its right answer:" if prompts else f"an item: {item.in_a_line()} →"
    if item.answer or not prompts:
        yield f"{asked} {item.answer!r}"


def _search_lines(plan: DryRun) -> Iterator[str]:
    run, config, first = plan.run, plan.run.config, plan.run.settings.first
    main, learning = run.searches[0], plan.learning
    own = next(part for part in plan.cost.parts if (part.name, part.split) == (main.name, "fit"))
    n = "candidates" if own.models is None else counted(own.models, "candidate")
    settings = "".join(f", {key} {value}" for key, value in first.settings.items() if value not in (None, {}))
    yield f"search: {n} by {first.strategy}, {main_batch(main.strategy)} at a time{settings}"
    yield _screen(main, len(run.items["fit"]))
    if config.space != "dataflow":
        dtype = config.merge.dtype or "the models' own dtype"
        yield f"merge: {', '.join(first.methods)} in {dtype}, groups: {first.groups}"
    if learning.weights:
        yield f"weights are learned by gradient: {counted(learning.weights, 'weight')}"
    if learning.reason is not None:
        yield f"weights are not learned by gradient, because of {learning.reason}"
    if plan.paths is not None:
        yield (
            f"paths through layers: {counted(plan.paths.longest, 'layer')} at most, "
            f"{size_text(plan.paths.longest_bytes)} of weights"
        )
    if run.settings.then is not None:
        search = next(each for each in run.all_searches if each.name == MAIN)
        how = f"{counted(len(search.space.axes), 'gene')} by {run.settings.then.strategy}"
        yield f"path search: {how}; {_screen(search, len(run.items['fit']))}"
    yield gene_line(run.axes)


def gene_line(axes: Sequence[Axis]) -> str:
    """Name genes, or families of them with the number of each."""
    families = Counter(axis.family or axis.name for axis in axes)
    names = [name if n == 1 else f"{name} ({n})" for name, n in families.items()]
    return f"{counted(len(axes), 'gene')}: {listed(names, _MOST_NAMES)}"


def _screen(search: Search, n_fit: int) -> str:
    screen = search.screen
    items = f"all {counted(n_fit, 'item')} of fit"
    if screen.items is not None and screen.items < n_fit:
        items = f"{screen.items} of {counted(n_fit, 'item')} of fit ({screen.choose})"
    given = f"after {counted(search.given, 'given point')}, " if search.given else ""
    return f"{given}each candidate is scored on {items}"


def _print_parts(console: Console, plan: DryRun, speeds: Speeds) -> None:
    cost, n_workers = plan.cost, plan.run.config.workers
    parts: dict[str, list[CostPart]] = {}
    for part in cost.parts:
        parts.setdefault(row_name(part.name, part.split), []).append(part)
    seconds = {name: total(speeds.seconds(part, n_workers) for part in own) for name, own in parts.items()}
    seconds["total"] = speeds.run_seconds(cost, n_workers)
    rows: list[list[str]] = []
    for name, own in {**parts, "total": list(cost.parts)}.items():
        items = "" if name == "total" else f"{max(part.items for part in own):,}"
        answers, models = total(part.answers for part in own), total(part.models for part in own)
        rows.append([name, _text(models), items, _text(answers), _text(seconds[name], time_text)])
    print_rows(console, ("part", "models", "items each", "answers", "time"), rows, n_left=1)


def _text(number: float | None, write: Callable[[float], str] = lambda number: f"{number:,.0f}") -> str:
    return "?" if number is None else write(number)


def _time_line(plan: DryRun, speeds: Speeds) -> str:
    config = plan.run.config
    seconds, each = speeds.run_seconds(plan.cost, config.workers), "the limit of the budget"
    if seconds is None:
        return f"time: not measured: {speeds.untimed}; the run shows the time left"
    if speeds.build_seconds is not None and speeds.item_seconds is not None:
        each = f"a merge takes {speeds.build_seconds:.2g} s, an item {speeds.item_seconds:.2g} s"
    without = ", without the training of LoRAs" if config.controls.trained or config.tune else ""
    return f"time: about {time_text(seconds)} ({each}){without}"


def memory_lines(memory: MemoryForecast, device: str) -> Iterator[str]:
    parts = [f"{size_text(memory.live)} for {counted(memory.n_live, 'live model')}"]
    if memory.batch is not None:
        parts.append(f"{_text(memory.batch.bytes, size_text)} for {memory.batch.what}")
    sources = size_text(sum(memory.sources.values()))
    yield f"memory of {device}: {'; '.join(parts)}; plus working memory, and {sources} of mapped source files"
    if memory.missing:
        missing = size_text(sum(memory.missing.values()))
        yield f"downloads first: {missing} of {counted(len(memory.missing), 'model')}"
