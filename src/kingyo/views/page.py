"""The report of a run as files: its view as one HTML page that needs no network, and charts as PNGs."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import yaml

from kingyo.core.io.extras import require_extra
from kingyo.core.io.files import write_together
from kingyo.core.io.units import counted, joined
from kingyo.errors import KingyoError
from kingyo.runs.config import WEIGHT_SEARCH
from kingyo.store import RunStore
from kingyo.views.cards import SHEET_SIDE, card, cards_of_contrast, cards_of_sheet, item_card
from kingyo.views.charts import Chart
from kingyo.views.charts.draw import png, render
from kingyo.views.choice import choice_statements
from kingyo.views.results.genes import SHOWN
from kingyo.views.results.summary import RunSummary
from kingyo.views.results.trials import describe_search, reference_to, sizes, sizes_of
from kingyo.views.run_data import RunData, SearchHistory, read_run_data
from kingyo.views.score_charts import gene_chart, path_chart, score_chart
from kingyo.views.statements import NOT_READ, statements, top_score
from kingyo.views.tables import front_table, page_tables, summary_tables
from kingyo.views.trial_charts import front_charts, progress_chart, slice_charts, trial_rows
from kingyo.views.view import Cards, ItemCard, RunView, Section, Statement, without_places

BEGINS = b"<!doctype html>"
IMAGES = ("bars", "progress", "genes-", "path")
"""Charts that are written as PNG beside the page: how their names begin."""


def write_report(store: RunStore, out: Path | None = None) -> Path:
    """Write the report of a run: finished, under way or interrupted; and charts as images beside it."""
    require_extra("report", "report")
    target = out or store.folder / "report.html"
    try:
        if target.exists() and not _is_report(target):  # a wrong --out must not cost a run's database
            received = "a folder" if target.is_dir() else "a file that is no report"
            expected = "a new file, or an earlier report"
            raise KingyoError(str(target), expected, received, "Name another with --out.")
        view = page_view(read_run_data(store))
        images = {name: chart for name, chart in view.charts.items() if name.startswith(IMAGES)}
        folder = target.parent / "pictures"
        files = {folder / f"{name}.png": png(chart, view.datasets) for name, chart in images.items()}
        write_together({**files, target: render_page(view)})
    except OSError as error:
        expected, received = "a file that can be written", error.strerror or str(error)
        raise KingyoError(str(target), expected, received, "Name another with --out.") from error
    return target


def _is_report(target: Path) -> bool:
    if not target.is_file():
        return False
    with target.open("rb") as stream:
        return stream.read(len(BEGINS)) == BEGINS


def render_page(view: RunView) -> bytes:
    (headline,) = view.said("headline")
    context: dict[str, object] = {
        "title": f"{view.run}: {headline.text}",
        "name": view.run,
        "view": view,
        "datasets": view.datasets,
        "counted": counted,
    }
    return render("views", "run", context)


def summary_view(summary: RunSummary) -> RunView:
    """Return what the summary of a run says: statements and tables."""
    front = {"front": front_table(summary)} if summary.front.points else {}
    path = summary.path.sentences(summary.child_name) if summary.path else ()
    return RunView(
        run=summary.run,
        folder=summary.folder,
        status=summary.status,
        trials=summary.trials,
        statements=(*statements(summary), *(Statement(topic="path", text=text) for text in path)),
        tables={**summary_tables(summary), **front},
    )


def page_view(data: RunData) -> RunView:
    """Return all that is known of a run."""
    view, cards = summary_view(data.summary), dict[str, Cards]()
    if data.sheet is not None:
        cards["sheet"] = cards_of_sheet(data.sheet)
    if data.contrast is not None:
        cards |= cards_of_contrast(data.contrast)
    said = (*view.statements, *_statements(data))
    view = replace(
        view,
        statements=tuple(replace(each, text=without_places(each.text, data.folder)) for each in said),
        tables={**view.tables, **dict(page_tables(data))},
        charts={chart.name: chart for chart in _charts(data)},
        datasets={"trials": trial_rows(data)},
        cards=cards,
        example=_example(data),
        panels=_panels(data.summary),
        source="Every number on this page comes from the run's database, run.db in its folder"
        f"{', or from ratings.db beside it' if data.people else ''}.",
    )
    topics = {each.topic for each in view.statements}
    known = topics | set(view.tables) | set(view.charts) | set(view.cards)
    sections: list[Section] = []
    for section in _sections(data, view):
        found = tuple(each for each in section.blocks if each in known or view.matching(each))
        if found:
            sections.append(replace(section, blocks=found))
    return replace(view, sections=tuple(sections))


def _example(data: RunData) -> tuple[str, ItemCard] | None:
    if data.sheet is not None and data.sheet.rows:
        drawn = card(data.sheet.rows[0], SHEET_SIDE)
        return "A prompt of test, drawn by the bred model", replace(drawn, answers=drawn.answers[:1])
    if data.example is None:
        return None
    of_task = f", task {data.example.task}" if data.example.task else ""
    return f"An item of fit{of_task}", item_card(data.example, side=SHEET_SIDE)


def _panels(summary: RunSummary) -> tuple[Section, ...]:
    whose = "the bred model" if summary.winner else "the best so far"
    good = ("score", "standing", *(["test", "predicted"] if summary.is_tested else []))
    compared = ("compared", "tuned against", *([] if summary.comparisons else ["not compared"]))
    get = ("made of", "export", "recipe")
    return (
        Section(name="good", title=f"How good is {whose}?", blocks=good),
        Section(name="compared", title="Compared with what?", blocks=compared),
        Section(name="get", title="Its recipe, and how to get it", blocks=get),
    )


def _sections(data: RunData, view: RunView) -> Iterator[Section]:
    summary, n_trials = data.summary, len(data.main.points) if data.main else 0
    where = "On the test split" if summary.is_tested else f"On the {data.split} split, so far"
    yield Section(name="scores", title=where, blocks=("bars",), is_open=None)
    title = "The same prompts and seeds, drawn by all models"
    yield Section(name="sheet", title=title, blocks=("sheet",), is_open=None)
    title, hint = "How the sources were chosen", "trial merges of all candidates"
    yield Section(name="choice", title=title, hint=hint, blocks=("choice", "candidates"))
    blocks = ("search", "learned", "progress")
    yield Section(name="progress", title="How the search went", blocks=blocks, is_open=None)
    has_warning = any(each.is_warning for each in view.said("advice"))
    hint = counted(len(data.advice), "note")
    yield Section(name="advice", title="Advice", hint=hint, blocks=("advice",), is_open=has_warning)
    title, hint = "What can be had at once", f"the front of {joined(summary.objectives)}"
    yield Section(
        name="front", title=title, hint=hint, blocks=("about front", "front-*", "front"), is_open=True
    )
    title, hint = "Which genes matter", "the score by one gene"
    yield Section(name="genes", title=title, hint=hint, blocks=("slice-*", "about genes"))
    if data.matrices or summary.path:
        hint = "its path through layers" if summary.path else "its genes"
        blocks = ("made of", "genes-*", "path")
        yield Section(name="model", title="What it is made of", hint=hint, blocks=blocks)
    hint = f"{counted(n_trials, 'trial')} of the main search, sortable"
    yield Section(name="trials", title="All trials", hint=hint, blocks=("trials",))
    if summary.child:
        title, hint = "All scores", "fit, validation and test"
        blocks = ("selection", "scores", "dropped", "sets")
        yield Section(name="selection", title=title, hint=hint, blocks=blocks)
    blocks = ("people", "people on fit", "people on validation", "people on test")
    title, hint = "What people chose", "pairs of images without names"
    yield Section(name="people", title=title, hint=hint, blocks=blocks, is_open=bool(data.unread))
    shown = [item for cards in view.cards.values() if not cards.models for item in cards.items]
    has_images = any(item.images or any(each.image for each in item.answers) for item in shown)
    gained = counted(len(data.contrast.gained), "item") if data.contrast else ""
    hint, blocks = f"{gained} solved by the bred model and by no parent", ("about answers", "gained", "lost")
    title = "Answers side by side"
    yield Section(name="answers", title=title, hint=hint, blocks=blocks, is_open=has_images)
    hint, blocks = "data, cost, versions, run.yaml", ("facts", "run.yaml")
    yield Section(name="basis", title="What this rests on", hint=hint, blocks=blocks)


def _statements(data: RunData) -> Iterator[Statement]:
    summary = data.summary
    score = top_score(summary, data.split)
    if score is not None:
        yield score
    for topic, text in _texts(data):
        if text:
            yield Statement(topic=topic, text=text)
    yield from (each.statement for each in data.advice)
    yield from (Statement(topic="people", text=str(each), is_warning=True) for each in data.unread)
    if summary.child is not None:
        best, child = summary.best, summary.child
        trial = () if best is child else ("--trial", reference_to(child.trial))
        yield Statement(topic="export", text=summary.command("export", "OUT", *trial), is_command=True)
        command = summary.command("recipe", *trial)
        note = (
            f"Its paths are those of the run.yaml. `{command}` prints it with full paths, for `kingyo merge`."
        )
        yield Statement(
            topic="recipe", text=data.recipe, lead="Its recipe as YAML", detail=note, is_command=True
        )
    text = yaml.safe_dump(dict(data.config), sort_keys=False, allow_unicode=True)
    yield Statement(topic="run.yaml", text=text, is_command=True)


def _texts(data: RunData) -> Iterator[tuple[str, str | None]]:
    summary, contrast, front, main = data.summary, data.contrast, data.summary.front, data.main
    yield from (("task", text) for text in _about_task(data))
    yield "made of", _made_of(data)
    yield "not compared", None if summary.comparisons else NOT_READ
    if main is not None and main.points:
        best = (
            f"; the best on fit, {main.best_text}, is trial {main.records[-1][0].number}"
            if main.records
            else ""
        )
        yield "search", f"{counted(len(main.points), 'trial')} by {main.strategy}{best}."
    if front.knee is not None:
        names, n = joined(summary.objectives), len(front.points) + len(front.beaten)
        yield (
            "about front",
            f"{len(front.points)} recipes are on the front of {names}: no other of {n} is as good in all "
            f"of them and better in one. Trial {front.knee.trial.asked.number} is the knee, the compromise; "
            "the ring is the bred model. Blue: parents and controls.",
        )
    if data.genes and main is not None and main.scored:
        yield "about genes", _about_genes(data)
    if contrast is not None:
        yield (
            "about answers",
            f"{len(contrast.gained)} of {counted(contrast.n, 'test item')} are solved by the bred model and "
            f"by none of its {counted(len(contrast.parents), 'parent')}.",
        )


def _about_task(data: RunData) -> list[str]:
    config, task = data.config, data.config.get("task")
    names = list(config.get("tasks") or {})
    if isinstance(task, Mapping) and "name" in task:
        names = [str(cast("Mapping[str, object]", task)["name"])]
    items = joined([f"{n:,} {split}" for split, n in data.summary.items.items()])
    title = f"Task{'' if len(names) < 2 else 's'} {joined(names)}" if names else "Task"
    base = ", on one base" if config.get("base") is not None else ""
    sources = list(config.get("sources") or {})
    return [f"{title}: {items} items.", *([f"Sources: {joined(sources)}{base}."] if sources else [])]


def _made_of(data: RunData) -> str:
    child, path = data.summary.child, data.summary.path
    if child is None:
        return "No trial has succeeded yet."
    number, n_genes = child.trial.asked.number, sum(matrix.size for matrix in data.matrices)
    if path is not None and not n_genes:
        return f"Trial {number}: {counted(len(path.steps), 'hop')}, {path.line}; {path.ends}."
    merges = cast("Mapping[str, Mapping[str, object]]", child.recipe.get("merges") or {"": child.recipe})
    methods = ", ".join(str(recipe.get("merge_method")) for recipe in merges.values())
    return f"Trial {number}: {counted(n_genes, 'gene')}, merged by {methods}."


def about_parents(summary: RunSummary) -> str:
    """Say how the parents were chosen, and how they and their average were scored."""
    frame = None if summary.child is None else summary.child.recipe.get("frame")
    choice = "" if summary.chosen is None else f" {next(choice_statements(summary.chosen))}"
    if frame is None:
        return f"Parents are scored unchanged; uniform is their plain average.{choice}"
    return (
        f"Parents are scored in the frame {frame}: their own weights where candidates are merged, and the "
        f"frame's everywhere else. Uniform is their plain average there.{choice}"
    )


def _about_bars(data: RunData, size: str) -> str:
    summary = data.summary
    parts = [
        f"Bars are {summary.score_name} over {size} items; lines are 95% intervals.",
        about_parents(summary),
    ]
    if "frankenmerge" in summary.baselines:
        parts.append("frankenmerge stacks layers of two of them, as people do by hand.")
    if data.controls:
        budget = "both searches" if WEIGHT_SEARCH in data.others else "the main search"
        named = joined([describe_search(name) for name in data.controls])
        parts.append(f"Controls, with the budget of {budget} and winners picked in the same way: {named}.")
    return " ".join(parts)


def about_progress(main: SearchHistory, n_fit: int) -> str:
    """Say how to read the chart of the search."""
    size = sizes([point.n for point, _ in main.scored], n_fit)
    note = (
        f"{main.unit.measure or 'Scores'} on the fit split ({size}). The search chooses by them, so the best "
        "of many tries is flattered."
    )
    if any(point.is_partial for point in main.points):
        return (
            f"{note} Points are estimates (≈) for all items; baselines are means of the items that they met."
        )
    return note


def _about_genes(data: RunData) -> str:
    n, is_mean = len(data.genes), any(len(gene.places) > 1 for gene in data.genes)
    return (
        f"Each point is a trial; the vertical axis is its {data.summary.unit.title} on fit; the diamond is "
        f"{'the bred model' if data.summary.winner else 'the best so far'}."
        f"{f' {SHOWN} of {n} genes are shown.' if n > SHOWN else ''} Those come first in which the best "
        "quarter of trials differs most from the others."
        f"{' Each is the mean of the genes of all groups of tensors.' if is_mean else ''}"
    )


def _charts(data: RunData) -> Iterator[Chart]:
    bars, main, summary = data.bars(), data.main, data.summary
    if bars:
        size = sizes_of((bar.score for bar in bars), summary.items[data.split])
        yield score_chart(bars, data.split, size, _about_bars(data, size))
    yield from map(gene_chart, data.matrices)
    if main is not None and main.scored:
        yield progress_chart(data, main, about_progress(main, summary.items["fit"]))
        yield from slice_charts(data, main)
    if summary.path is not None:
        yield path_chart(summary.path)
    if summary.front.points:
        yield from front_charts(data)
