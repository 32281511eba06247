"""The tables of a run."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from kingyo import __version__
from kingyo.core.io.units import counted, joined, time_text
from kingyo.core.types import SPLITS
from kingyo.runs.config import TRAINED
from kingyo.search.evolution import FrontPoint
from kingyo.search.evolution.objectives import has_item_scores, is_share
from kingyo.search.evolution.set_measures import READ, SetValue
from kingyo.stats import Interval
from kingyo.views.choice import candidates_table
from kingyo.views.rating.results import SplitRating
from kingyo.views.results.genes import SHOWN
from kingyo.views.results.model_result import ModelResult, PairedComparison
from kingyo.views.results.summary import BRED, RunSummary
from kingyo.views.results.trials import (
    MINUS,
    NONE,
    SHARES,
    Unit,
    describe_search,
    p_text,
    percent,
    row_title,
    sizes_of,
)
from kingyo.views.run_data import RunData, SearchHistory
from kingyo.views.view import Cell, Row, Table


def cells(*texts: str) -> Row:
    return tuple(map(Cell, texts))


def bounded_cell(value: Interval | None, unit: Unit = SHARES, *, has_n: bool = False) -> Cell:
    """Return a number with its interval, and maybe n, beside it; a dash if there is none."""
    if value is None:
        return Cell(NONE)
    n = f", n = {value.size}" if has_n else ""
    return Cell(unit.text(value.score), f"{unit.bounds(value)}{n}", value.score)


def summary_tables(summary: RunSummary) -> dict[str, Table]:
    """Return the tables of the models of a run; none without rows."""
    tables = {
        "scores": scores_table(summary, summary.named_models),
        "sets": _sets(summary),
    }
    if summary.chosen is not None:
        tables["candidates"] = candidates_table(summary.chosen)
    return {name: table for name, table in tables.items() if table.rows}


def scores_table(
    summary: RunSummary,
    models: Mapping[str, ModelResult],
    comparisons: Mapping[str, PairedComparison] | None = None,
    minus: str = "",
) -> Table:
    """Return scores of models on all splits; of several tasks their mean, then each task.

    Comparisons with the first model, by the names of rows, have a column with the heading ``minus``; then n
    stands in each cell.
    """
    head = [Cell("model")]
    for split in SPLITS:
        scores = [model.on(split) for model in models.values()]
        size = sizes_of(scores, summary.items[split]) if any(scores) else ""
        head.append(Cell(split, f"({size})" if size and comparisons is None else ""))
    rows, has_n = list[Row](), comparisons is not None
    for name, model in models.items():
        row = [Cell(name), *(bounded_cell(model.on(split), has_n=has_n) for split in SPLITS)]
        compared = None if comparisons is None else comparisons.get(name)
        if compared is not None:
            score, bounds = compared.difference.score, summary.unit.signed_bounds(compared.difference)
            row.append(Cell(summary.unit.difference(score), f"{bounds}, {p_text(compared.p)}"))
        rows.append(tuple(row) if comparisons is None or compared else (*row, Cell("")))
        for task, own in model.tasks.items():
            of_task = (bounded_cell(own.get(split), has_n=has_n) for split in SPLITS)
            rows.append((Cell(f"{name}: {task}"), *of_task, *([] if comparisons is None else [Cell("")])))
    what = "Mean item scores" if summary.unit.measure else "Scores"
    return Table(
        title=f"{what} [95% interval]",
        head=tuple(head) if comparisons is None else (*head, Cell(minus)),
        rows=tuple(rows),
        marked=rows[0][0].text if rows and summary.child is not None else "",
    )


def _sets(summary: RunSummary) -> Table:
    models = summary.named_models
    measures = dict.fromkeys((value.task, value.measure) for each in models.values() for value in each.sets)
    decides, rows = summary.unit.measure, list[Row]()
    splits = READ if decides is None else SPLITS
    for task, measure in measures:
        for name, model in models.items():
            own = {v.split: v for v in model.sets if (v.task, v.measure) == (task, measure)}
            title = f"{task}: {measure}" if task else measure
            rows += [(*cells(title, name), *(_set_cell(own.get(split)) for split in splits))] if own else []
    note = "These are properties of a set and no means of item scores, so no search saw them."
    if decides:
        note = (
            f"{decides} guided the search and, on validation, picked the winner, so both flatter it; no "
            "search saw the others."
        )
    use = f"; {decides} decides" if decides else ", not used by the search"
    return Table(
        title=f"Measures of all answers together{use} [95% interval]",
        head=cells("measure", "model", *splits),
        rows=tuple(rows),
        note=note,
    )


def _set_cell(value: SetValue | None) -> Cell:
    if value is None or value.value is None:
        return Cell("" if value is None else f"none: {value.failure}")
    return Cell(f"{value.value:.4g}", f"[{value.low:.4g}, {value.high:.4g}]", value.value)


def front_table(summary: RunSummary, models: Mapping[int, ModelResult] | None = None) -> Table:
    """Return the points of the front, the best in the first objective first; ``models`` adds their scores."""
    names, front = summary.objectives, summary.front
    rows: list[Row] = []
    for point in sorted(front.points, key=lambda each: each.objectives, reverse=True):
        model, trial = (models or {}).get(point.trial.id), point.trial
        marks = ["knee"] if front.knee is not None and trial.id == front.knee.trial.id else []
        marks += ["bred"] if summary.winner is not None and summary.winner.trial.id == trial.id else []
        mark = f" ({', '.join(marks)})" if marks else ""
        objectives = (_objective(point, place, name, model) for place, name in enumerate(names))
        rows.append(
            (
                Cell(f"trial {trial.asked.number}{mark}"),
                *objectives,
                *([bounded_cell(model.validation, has_n=True)] if model else []),
            )
        )
    is_estimated = any(point.is_partial for point in front.points)
    return Table(
        title=f"Front on fit{' (≈ estimated; measured on n items)' if is_estimated else ''}",
        head=cells("trial", *names, *(["validation"] if models else [])),
        rows=tuple(rows),
        note="Scores on the fit split with 95% intervals: luck has a part in the best ones, so expect less "
        "on other items. ≈: estimated from the items that were scored. Any point can be exported: "
        "`kingyo export RUN OUT --pick TRIAL`.",
    )


def _objective(point: FrontPoint, place: int, name: str, model: ModelResult | None) -> Cell:
    """Return what the strategy received; beside an estimate stands what was measured."""
    raw, value = point.raw[place] if point.raw else None, point.objectives[place]
    text = percent(value) if is_share(name) else f"{value:.1f}"
    if raw is not None:
        return Cell(f"≈ {text}", f"(measured {percent(raw[0])}, n = {raw[1]})", value)
    if model is None or not has_item_scores(name):
        return Cell(text, value=value)
    return bounded_cell(model.tasks[name].get("fit") if model.tasks else model.fit, has_n=True)


INTERVALS = (
    "95%: Wilson's for shares of right answers, Gaffke's for other scores, Newcombe's or Gaffke's for "
    "differences, Zou & Donner's for means of several parts, random halves for measures of all answers. "
    "Differences are of the same items; no difference is shown where the interval holds 0, and p > 0.05 by "
    "McNemar's exact test or these intervals. Nothing is corrected for the number of comparisons"
)
_PEOPLE_NOTE = (
    "Wins count “as good” half, and depend on which models were compared. Strengths are Bradley and Terry's, "
    "compared with the mean of these models; a difference of 1.1 means preferred in 75% of pairs. Intervals "
    "are 95%; they allow for choices on one prompt being alike, not for people being few. The images of "
    "validation picked the winner, so they flatter it."
)
_TRIALS_NOTE = (
    "Click a column to sort by it. ≈: estimated for all items when the search scored the trial; “measured”: "
    "the mean over its n items. “fit and validation”: what the winner was picked by, of the finalists. "
    "Genes: those first that matter most."
)


def page_tables(data: RunData) -> Iterator[tuple[str, Table]]:
    """Yield the tables of the page, by name, beside those of the summary."""
    summary = data.summary
    if summary.front.points:
        yield "front", front_table(summary, data.front)
    if data.main is not None and data.main.points:
        yield "trials", trials_table(data, data.main)
    for rating in data.people:
        table = people_table(rating)
        note = f"{table.note} {_PEOPLE_NOTE}"
        yield f"people on {rating.split}", replace(table, marked=summary.child_name, note=note)
    facts = tuple(cells(*pair) for pair in _facts(data))
    yield (
        "facts",
        Table(title="What this rests on", head=cells("what", "value"), rows=facts, has_numbers=False),
    )


def people_table(rating: SplitRating) -> Table:
    """Return per model its pairs, wins, strength, and how often it beats the best parent."""
    rival = "" if rating.best_parent is None else f"preferred to {rating.best_parent}"
    rows: list[Row] = []
    for each in rating.models:
        n_prompts = 0 if each.wins is None else each.wins.n_groups
        row = (
            Cell(each.model),
            Cell(f"{each.n:,}", f"on {counted(n_prompts, 'prompt')}" if n_prompts else ""),
            bounded_cell(each.wins),
            Cell(NONE) if each.strength is None else Cell(*_strength(each.strength)),
            bounded_cell(each.over_best_parent),
        )
        rows.append(row if rival else row[:-1])
    names = ", ".join(f"{name} {n}" for name, n in rating.raters.items())
    parts = [
        f"{counted(rating.n, 'choice')} of {counted(len(rating.raters), 'person', 'people')} on "
        f"{counted(rating.prompts, 'prompt')} of {rating.split}",
        f"{rating.as_good} of them “as good”",
        f"{counted(rating.skipped, 'pair')} skipped",
        *([f"{rating.outdated} left out, as their images have changed"] if rating.outdated else []),
    ]
    return Table(
        title=f"Choices of people on {rating.split} [95% interval]",
        head=cells("model", "pairs", "wins", "strength (logits)", *([rival] if rival else [])),
        rows=tuple(rows),
        note=f"{', '.join(parts)}. Choices by person: {names or 'none'}.",
    )


def _strength(value: Interval) -> tuple[str, str]:
    score, low, high = (f"{each:+.2f}".replace("-", MINUS) for each in (value.score, value.low, value.high))
    return score, f"[{low}, {high}]"


def trials_table(data: RunData, main: SearchHistory) -> Table:
    """Return all trials of the main search: numbers to sort by, and texts to show."""
    winner, genes, unit = data.summary.winner, data.genes[:SHOWN], main.unit
    finalists = {each.trial: each.together for each in data.summary.finalists}
    rows: list[Row] = []
    for point in main.points:
        together, mean = finalists.get(point.number), point.mean if point.is_partial else None
        is_bred = winner is not None and point.trial.id == winner.trial.id
        rows.append(
            (
                Cell(f"{point.number} ({BRED})" if is_bred else str(point.number), value=point.number),
                Cell(main.text(point) or NONE, value=point.score),
                _number(mean, percent),
                _number(point.n, str),
                _number(point.trial.batch + 1, str),
                _number(together, unit.text),
                *(_number(gene.value(point.trial.asked.genome), "{:.3f}".format) for gene in genes),
                *([Cell(point.lesson or "")] if main.learned else []),
                Cell(point.failure or ""),
            )
        )
    titles = ("trial", f"{unit.title} on fit", "measured", "n", "batch", "fit and validation")
    names = (*(gene.name for gene in genes), *(["learned"] if main.learned else []), "failure")
    return Table(
        title="Trials",
        head=cells(*titles, *names),
        rows=tuple(rows),
        marked=f"{winner.trial.asked.number} ({BRED})" if winner is not None else "",
        note=_TRIALS_NOTE,
        is_sortable=True,
    )


def _number(value: float | None, text: Callable[[float], str]) -> Cell:
    return Cell("" if value is None else text(value), value=value)


def _facts(data: RunData) -> Iterator[tuple[str, str]]:
    summary = data.summary
    near, training = summary.near_duplicates, summary.training
    yield "items", joined([f"{n:,} {split}" for split, n in summary.items.items()])
    if near is not None and near.groups:
        yield "near-duplicates", str(near)
    yield from (("budget added", str(each)) for each in summary.extensions)
    yield "trials", "none yet" if data.main is None else _counted(data.main)
    for name, history in (*data.others.items(), *data.controls.items()):
        yield f"trials, {describe_search(name)}", _counted(history)
    if training is not None:
        yield row_title(TRAINED), str(training)
    yield "item evaluations", f"{summary.item_evaluations:,}, all searches and splits"
    yield "working time", time_text(summary.seconds)
    yield "intervals", INTERVALS
    yield "versions", f"run by kingyo {data.version}, report by kingyo {__version__}"
    yield "folder", summary.folder
    yield from (("note", each) for each in summary.notes)


def _counted(history: SearchHistory) -> str:
    return f"{len(history.points):,}, {history.failures.total():,} failed ({history.strategy})"
