"""The plan of a run as text, for ``kingyo evolve --dry-run``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.markup import escape
from rich.table import Table

from kingyo.cli.console import Console, plain_table, print_table, print_text
from kingyo.cli.merge_plan import model_cells
from kingyo.cli.run_progress import row_name
from kingyo.dry_run import Cost, CostPart, DryRun, ImageForecast, MemoryForecast, PathCosts, Speeds, total
from kingyo.errors import listed
from kingyo.evolution import MAIN, Search
from kingyo.evolution.screens import ScreenSettings
from kingyo.io.units import counted, percent, size_text, time_text
from kingyo.run.settings import RunSettings
from kingyo.strategies.initial_points import main_batch
from kingyo.types import SPLITS, Axis

_MAX_LINES = 40
_MAX_GENES = 12


def print_dry_run(plan: DryRun, speeds: Speeds) -> None:
    """Print the models, search, cost, speed and first recipe of a run to standard output."""
    console = Console(highlight=False)
    run = plan.run
    print_text(console, f"[bold]{escape(plan.run.config.name)}[/bold]")
    print_table(console, _models(plan), leading=2)
    for line in _search_lines(plan):
        print_text(console, escape(line))
    print_table(console, _genes(run.axes), leading=2)
    if len(run.axes) > _MAX_GENES:
        print_text(console, f"  and {len(run.axes) - _MAX_GENES} more; --json lists all")
    print_table(console, _parts(plan.cost), leading=2)
    costs = [
        *_cost_lines(plan.cost),
        *_memory_lines(plan.memory, run.config.device),
        *speed_lines(speeds),
    ]
    if plan.images is not None:
        costs.append(_images_line(plan.images, run.config.workers))
    for line in costs:
        print_text(console, escape(line))
    for name, prompt in plan.prompts.items():
        of = f" of {name}" if len(plan.prompts) > 1 else ""
        print_text(console, escape(f"the first prompt{of}, as models read it:"))
        for line in prompt.splitlines():
            print_text(console, escape(f"  {line}"))
    for note in plan.notes:
        print_text(console, f"[dim]note[/dim]: {escape(note)}")
    print_text(console, "the recipe with every gene at its start:")
    lines = run.first.to_yaml().splitlines()
    for line in lines[:_MAX_LINES]:
        print_text(console, escape(f"  {line}"))
    if len(lines) > _MAX_LINES:
        print_text(console, f"  and {len(lines) - _MAX_LINES} more lines; --json has all")
    for warning in plan.warnings:
        print_text(console, f"[bold]Warning: {escape(warning)}.[/bold]")
    cannot = f"But the run cannot start on this machine: {plan.missing_device}."
    apart = ", apart from the warnings" if plan.warnings else ""
    print_text(
        console,
        f"All fits together{apart}. Nothing was written. "
        + ("Start the run without --dry-run." if plan.missing_device is None else escape(cannot)),
    )


def _models(plan: DryRun) -> Table:
    models, table = plan.run.models, plain_table("", "model", "parameters", "dtype", "size", "to download")
    base = {} if models.base is None else {"base": models.base}
    for name, model in {**models.sources, **base}.items():
        missing = size_text(model.n_missing) if model.n_missing else ""
        table.add_row(*map(escape, (name, model.reference, *model_cells(model), missing)))
    return table


def _search_lines(plan: DryRun) -> Iterator[str]:
    run, config, first = plan.run, plan.run.config, plan.run.settings.first
    items = ", ".join(f"{len(run.items[split])} {split}" for split in SPLITS)
    near = f"; {run.data.near}" if run.data.near.groups else ""
    unused = f", {run.data.unused:,} not used (see splits)" if run.data.unused else ""
    yield f"items: {items}{unused}; {counted(run.data.duplicates, 'duplicate')} dropped{near}"
    example = run.items["fit"][0]
    answer = f" → {example.answer!r}" if example.answer else ""
    yield f"an item: {example.in_a_line()}{answer}"
    settings = "".join(f", {key} {value}" for key, value in first.settings.items() if value is not None)
    main = run.searches[0]
    preset = f" (preset {config.search.preset})" if config.search.preset is not None else ""
    yield (
        f"search: {first.strategy}{preset}, generations of {counted(main_batch(main.strategy), 'candidate')}"
        f"{settings}{_given(main)}"
    )
    if config.space != "dataflow":
        dtype = config.merge.dtype or "the models' own dtype"
        yield f"merge: {', '.join(first.methods)}, groups {first.groups}, {dtype}"
    yield from _path_lines(run.settings, plan.paths)
    yield f"screen: {_screen(first.screen, len(run.items['fit']))}"
    if run.settings.then is not None:
        yield _path_search(plan)
    yield f"genes: {len(run.axes)}"


def _screen(screen: ScreenSettings, n_fit: int) -> str:
    items = "all items of fit"
    if screen.items is not None and screen.items < n_fit:
        items = f"{counted(screen.items, 'item')} of fit, {screen.chooses}"
    return f"{items}; {'all candidates' if screen.rule == 'none' else screen.rule}"


def _path_search(plan: DryRun) -> str:
    main = next(each for each in plan.run.all_searches if each.name == MAIN)
    screen = _screen(main.screen, len(plan.run.items["fit"]))
    return f"path search: {counted(len(main.space.axes), 'gene')}{_given(main)}; screen: {screen}"


def _given(search: Search) -> str:
    return f", after {counted(search.given, 'given point')}" if search.given else ""


def _path_lines(settings: RunSettings, paths: PathCosts | None) -> Iterator[str]:
    wanted, then = settings.paths, settings.then
    if paths is None or wanted is None:
        return
    strategy = "" if then is None else f", then searched by {then.strategy} (preset {then.preset.name})"
    yield (
        f"paths through layers{strategy}: order {wanted.order}, repetitions {wanted.repetitions}, "
        f"scales {wanted.scales}"
    )
    yield (
        f"the longest path: {counted(paths.longest, 'layer')}, {size_text(paths.longest_bytes)} of "
        f"weights; the search begins at {counted(paths.own, 'layer')}, {size_text(paths.own_bytes)}"
    )


def _genes(axes: tuple[Axis, ...]) -> Table:
    table = plain_table("", "gene", "from", "to", "start", "kind")
    for axis in axes[:_MAX_GENES]:
        kind = f"one of {listed(axis.choices, 6)}" if axis.choices else axis.kind
        table.add_row(
            "", escape(axis.name), f"{axis.low:g}", f"{axis.high:g}", f"{axis.first:g}", escape(kind)
        )
    return table


def _parts(cost: Cost) -> Table:
    """Return the table of what each part scores. Validation and test of all searches are one row each."""
    rows: dict[str, list[CostPart]] = {}
    for part in cost.parts:
        rows.setdefault(row_name(part.name, part.split), []).append(part)
    has_times = any(part.seconds is not None for part in cost.parts)
    columns = ("part", "models", "items each", "answers", "share", *(("time",) if has_times else ()))
    table = plain_table(*columns, n_left=1)
    every = cost.answers()
    for name, parts in {**rows, "total": list(cost.parts)}.items():
        items = "" if name == "total" else f"{max(part.items for part in parts):,}"
        answers = total(part.answers for part in parts)
        share = "?" if answers is None or not every else percent(answers / every, ".0f")
        seconds = _text(total(part.seconds for part in parts), time_text)
        models = _text(total(part.models for part in parts))
        cells = [name, models, items, _text(answers), share, seconds]
        table.add_row(*cells[: len(columns)])
    return table


def _text(number: float | None, write: Callable[[float], str] = lambda number: f"{number:,.0f}") -> str:
    return "?" if number is None else write(number)


def _cost_lines(cost: Cost) -> Iterator[str]:
    every, share = cost.answers(), cost.share("search")
    if every is None or share is None:
        yield "answers to grade: limited by the minutes of the budget; the run shows the time left"
    else:
        yield (
            f"answers to grade: {every:,} at most, {percent(share, '.0f')} of them in the search itself; the "
            "run measures its speed and shows the time left"
        )


def _memory_lines(memory: MemoryForecast, device: str) -> Iterator[str]:
    live = "the live model" if memory.n_live == 1 else f"{memory.n_live} live models"
    batch = (
        "" if memory.batch is None else f"{_text(memory.batch.bytes, size_text)} for {memory.batch.what}; "
    )
    yield f"memory of {device}: {size_text(memory.live)} for {live}; {batch}plus working memory"
    sources = size_text(sum(memory.sources.values()))
    yield f"sources: {sources} of memory-mapped files, which the system can reclaim"
    if memory.missing:
        missing = size_text(sum(memory.missing.values()))
        yield f"downloads first: {missing} of {counted(len(memory.missing), 'model')}"


def speed_lines(speeds: Speeds) -> Iterator[str]:
    """Say what was measured, and which settings are clearly faster than the run's own."""
    if speeds.measured:
        own, better, by_threads = speeds.measured[0], speeds.better, dict[int, list[str]]()
        for each in speeds.measured:
            rate = f"{each.dtype} {each.answers_per_second:.3g}"
            by_threads.setdefault(each.threads, []).append(rate)
        rates = [f"{', '.join(by_threads[n])} with {counted(n, 'thread')}" for n in by_threads]
        new = speeds.new_tokens
        short = "" if new is None else f" with at most {counted(new, 'new token')} each"
        items = counted(speeds.items, "item")
        yield f"answers per second, measured on {items}{short}: {'; '.join(rates)}"
        if better is not None:
            dtype = f"merge.dtype: {better.dtype}" if better.dtype != own.dtype else ""
            threads = f"threads: {better.threads}" if better.threads != own.threads else ""
            rounds = f", but {better.dtype} rounds all weights" if dtype and own.dtype == "float32" else ""
            ratio = better.answers_per_second / own.answers_per_second
            settings = " and ".join(filter(None, (dtype, threads)))
            yield f"{settings} would be about {ratio:.1f} times as fast{rounds}"
    if speeds.reason is not None:
        yield f"speed {'of other settings ' if speeds.measured else ''}not measured: {speeds.reason}"


def _images_line(images: ImageForecast, n_workers: int) -> str:
    encodings = "image encodings" if images.encodings is None else f"{images.encodings:,} image encodings"
    if images.merged:
        are = f"{' and '.join(images.merged)} {'is' if len(images.merged) == 1 else 'are'}"
        share = images.encoder_share
        compute = (
            ""
            if share is None
            else (
                f"; that is about {percent(share, '.0f')} of the compute of reading a prompt, estimated from "
                "parameters, patches and tokens"
            )
        )
        return (
            f"images: every candidate encodes its images anew, as {are} merged: {encodings} at most{compute}"
        )
    places = {
        "in memory": images.memory_bytes,
        "in a temporary file in the run folder": images.file_bytes,
        f"beyond the limit, encoded for every candidate ({encodings} at most)": images.excess_bytes,
    }
    sizes = "; ".join(f"{size_text(size)} {where}" for where, size in places.items() if size)
    each = f", in each of {n_workers} workers" if n_workers > 1 else ""
    return f"image features, computed once for {counted(images.prompts, 'prompt')}{each}: {sizes}"
