"""The tables of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from kingyo import __version__
from kingyo.core.io.units import joined, time_text
from kingyo.core.types import SPLITS
from kingyo.runs.config import TRAINED, WEIGHT_SEARCH, WEIGHT_SEARCH_LABEL
from kingyo.search.evolution import FrontPoint
from kingyo.search.evolution.objectives import has_item_scores, is_share
from kingyo.search.evolution.set_measures import READ
from kingyo.stats import Interval
from kingyo.views.choice import candidates_table
from kingyo.views.rating.results import rating_note, rating_table, rating_title
from kingyo.views.results.genes import SHOWN
from kingyo.views.results.model_result import ModelResult, PairedComparison
from kingyo.views.results.summary import BRED, RunSummary
from kingyo.views.results.trials import (
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

SO = {"better": "bred is better", "worse": "bred is worse", "open": "not shown"}
_PAIRED = (
    "Both models answer the same items. “Not shown”: the interval holds 0, and p > 0.05, by McNemar's exact "
    "test for answers that are right or wrong, Gaffke's bounds for other scores, and the same random halves "
    "for measures of all answers. Intervals and p-values are not corrected for the number of comparisons."
)


def cells(*texts: str) -> Row:
    return tuple(map(Cell, texts))


def bounded_cell(value: Interval | None, unit: Unit = SHARES, mark: str = "", note: str = "") -> Cell:
    """Return a number with its interval beside it; a dash if there is none."""
    if value is None:
        return Cell(NONE)
    return Cell(f"{mark}{unit.text(value.score)}", f"{unit.bounds(value)}{note}", value.score)


def summary_tables(summary: RunSummary) -> dict[str, Table]:
    """Return the tables of the models of a run; none without rows."""
    tables = {
        "scores": scores_table(summary, named_models(summary)),
        "sets": _sets(summary),
        "differences": _differences(summary),
    }
    if summary.chosen is not None:
        tables["candidates"] = candidates_table(summary.chosen)
    return {name: table for name, table in tables.items() if table.rows}


def named_models(summary: RunSummary) -> dict[str, ModelResult]:
    """Return the models that are compared, by the names of their rows; the child is first."""
    named: dict[str, ModelResult] = {}
    if summary.child is not None:
        trial = summary.child.trial
        of = f" of {WEIGHT_SEARCH_LABEL}" if trial.search == WEIGHT_SEARCH else ""
        named[f"{summary.child_name} (trial {trial.asked.number}{of})"] = summary.child
    controls = {row_title(name): model for name, model in summary.controls.items()}
    return {**named, **summary.baselines, **controls}


def scores_table(
    summary: RunSummary,
    models: Mapping[str, ModelResult],
    comparisons: Mapping[str, PairedComparison] | None = None,
    minus: str = "",
) -> Table:
    """Return scores of models on all splits; of several tasks their mean, then each task.

    On fit they are for all items, estimated where some were scored. Comparisons with the first model, by the
    names of rows, have a column with the heading ``minus``; then n stands in each cell.
    """
    head = [Cell("model")]
    for split in SPLITS:
        scores = [model.on(split) for model in models.values()]
        size = sizes_of(scores, summary.items[split]) if any(scores) else ""
        head.append(Cell(split, f"({size})" if size and comparisons is None else ""))
    rows, write = list[Row](), bounded_cell if comparisons is None else _with_n
    for name, model in models.items():
        fit = write(model.on_all("fit"), mark="≈ " if model.is_estimated("fit") else "")
        scored = [fit, write(model.validation), write(model.test)]
        rows.append((Cell(name), *scored, *_difference_cells(summary, comparisons, name)))
        for task, own in model.tasks.items():
            of_task = (write(own.get(split)) for split in SPLITS)
            rows.append((Cell(f"{name}: {task}"), *of_task, *_difference_cells(summary, comparisons, "")))
    what = "Mean item scores" if summary.unit.measure else "Scores"
    return Table(
        title=f"{what} [95% interval]",
        head=tuple(head) if comparisons is None else (*head, Cell(minus)),
        rows=tuple(rows),
        marked=rows[0][0].text if rows and summary.child is not None else "",
    )


def _difference_cells(
    summary: RunSummary, comparisons: Mapping[str, PairedComparison] | None, name: str
) -> Iterator[Cell]:
    comparison = None if comparisons is None else comparisons.get(name)
    if comparison is not None:
        score, _, bounds = summary.unit.bounded_difference(comparison.difference).rpartition(" [")
        yield Cell(score, f"[{bounds}, {p_text(comparison.p)}")
    elif comparisons is not None:
        yield Cell("")


def _differences(summary: RunSummary) -> Table:
    rows: list[Row] = []
    for each in summary.comparisons:
        name = each.other if each.other in summary.baselines else describe_search(each.other)
        score, _, bounds = summary.unit.bounded_difference(each.difference).rpartition(" [")
        p = Cell(p_text(each.p).replace(" ", "\N{NO-BREAK SPACE}"))
        rows.append(
            (Cell(name), Cell(score.removesuffix(" points"), f"[{bounds}"), p, Cell(SO[each.verdict]))
        )
    size = summary.comparisons[0].difference.size if rows else "0"
    head = (
        Cell("bred model minus"),
        Cell(summary.unit.measure or "points", f"n = {size}"),
        *cells("p", "so"),
    )
    return Table(title="Differences on test", head=head, rows=tuple(rows), note=_PAIRED)


def decided_table(summary: RunSummary, models: Mapping[str, ModelResult]) -> Table:
    """Return what the run chose by instead of mean item scores."""
    rows = [
        (Cell(name), *(bounded_cell(model.counts_on(split), summary.unit) for split in SPLITS))
        for name, model in models.items()
    ]
    return Table(title=summary.unit.title, head=cells("model", *SPLITS), rows=tuple(rows))


def _sets(summary: RunSummary) -> Table:
    models = {} if summary.winner is None else {summary.child_name: summary.winner}
    models |= {**summary.baselines, **{row_title(name): model for name, model in summary.controls.items()}}
    measures = dict.fromkeys((value.task, value.measure) for each in models.values() for value in each.sets)
    splits, decides, rows = (
        READ if summary.unit.measure is None else SPLITS,
        summary.unit.measure,
        list[Row](),
    )
    for task, measure in measures:
        for name, model in models.items():
            own = [value for value in model.sets if (value.task, value.measure) == (task, measure)]
            by_split = {value.split: value for value in own}
            title = f"{task}: {measure}" if task else measure
            values: list[Cell] = []
            for each in (by_split.get(split) for split in splits):
                if each is None or each.value is None or each.low is None or each.high is None:
                    values.append(Cell("" if each is None else f"none: {each.failure}"))
                else:
                    bounds = f"[{each.low:.4g}, {each.high:.4g}]"
                    values.append(Cell(f"{each.value:.4g}", bounds, each.value))
            rows += [(*cells(title, name), *values)] if own else []
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


def front_table(summary: RunSummary, models: Mapping[int, ModelResult] | None = None) -> Table:
    """Return the points of the front, the best in the first objective first; ``models`` adds their scores."""
    names, front = summary.objectives, summary.front
    rows: list[Row] = []
    for point in sorted(front.points, key=lambda each: each.objectives, reverse=True):
        model, trial = (models or {}).get(point.trial.id), point.trial
        marks = ["knee"] if front.knee is not None and trial.id == front.knee.trial.id else []
        marks += ["bred"] if summary.winner is not None and summary.winner.trial.id == trial.id else []
        objectives = (_objective(point, place, name, model) for place, name in enumerate(names))
        mark = f" ({', '.join(marks)})" if marks else ""
        rows.append(
            (
                Cell(f"trial {trial.asked.number}{mark}"),
                *objectives,
                *([_with_n(model.validation)] if model else []),
            )
        )
    is_estimated = any(point.is_partial for point in front.points)
    return Table(
        title=f"Front on fit{' (≈ estimated; measured on n items)' if is_estimated else ''}",
        head=cells("trial", *names, *(["validation"] if models else [])),
        rows=tuple(rows),
        note=_FRONT_NOTE,
    )


_FRONT_NOTE = (
    "Scores on the fit split with 95% intervals: luck has a part in the best ones, so expect less on other "
    "items. The finalists were scored on validation, which picked the winner among them. ≈: estimated from "
    "the items that were scored. Any point can be exported: `kingyo export RUN OUT --pick TRIAL`."
)


def _objective(point: FrontPoint, place: int, name: str, model: ModelResult | None) -> Cell:
    """Return what the strategy received; beside an estimate stands what was measured."""
    raw, value = point.raw[place] if point.raw else None, point.objectives[place]
    text = percent(value) if is_share(name) else f"{value:.1f}"
    if raw is not None:
        return Cell(f"≈ {text}", f"(measured {percent(raw[0])}, n = {raw[1]})", value)
    if model is None or not has_item_scores(name):
        return Cell(text, value=value)
    return _with_n(model.tasks[name].get("fit") if model.tasks else model.fit)


def _with_n(value: Interval | None, mark: str = "") -> Cell:
    return bounded_cell(value, mark=mark, note=f", n = {value.size}" if value else "")


INTERVALS = (
    "95%: Wilson's for shares of right answers, Gaffke's for other scores, Newcombe's or Gaffke's for "
    "differences, Zou & Donner's for means of several parts, random halves for measures of all answers"
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
    "Genes: the most important ones."
)


def page_tables(data: RunData) -> Iterator[tuple[str, Table]]:
    """Yield the tables of the page, by name, beside those of the summary."""
    summary = data.summary
    if data.models:
        yield "all scores", replace(scores_table(summary, data.models), marked=summary.child_name)
    if summary.front.points:
        yield "front", front_table(summary, data.front)
    if data.main is not None and data.main.points:
        yield "trials", trials_table(data, data.main)
    histories = {**({"main": data.main} if data.main else {}), **data.controls}
    failures = tuple(
        cells(reason, name, f"{count:,}")
        for name, history in histories.items()
        for reason, count in history.failures.most_common()
    )
    if failures:
        head = cells("failure", "search", "trials")
        yield "failures", Table(title="Failed trials", head=head, rows=failures, has_numbers=False)
    for rating in data.people:
        head, rows = rating_table(rating)
        yield (
            f"people on {rating.split}",
            Table(
                title=rating_title(rating),
                head=tuple(map(_rating_cell, head)),
                rows=tuple(tuple(map(_rating_cell, row)) for row in rows),
                marked=summary.child_name,
                note=f"{rating_note(rating)} {_PEOPLE_NOTE}",
            ),
        )
    facts = tuple(cells(*pair) for pair in _facts(data))
    yield (
        "facts",
        Table(title="What this rests on", head=cells("what", "value"), rows=facts, has_numbers=False),
    )


def _rating_cell(cell: str | tuple[str, str]) -> Cell:
    return Cell(cell) if isinstance(cell, str) else Cell(*cell)


def trials_table(data: RunData, main: SearchHistory) -> Table:
    """Return all trials of the main search: numbers to sort by, and texts to show."""
    winner, genes = data.summary.winner, data.genes[:SHOWN]
    finalists = {each.trial: each.together for each in data.summary.finalists}
    rows: list[Row] = []
    for point in main.points:
        together, raw = finalists.get(point.number), point.raw if point.is_partial else None
        is_bred = winner is not None and point.trial.id == winner.trial.id
        score = NONE if point.score is None else main.unit.text(point.score)
        values = (gene.value(point.trial.asked.genome) for gene in genes)
        rows.append(
            (
                Cell(f"{point.number} ({BRED})" if is_bred else str(point.number), value=point.number),
                Cell(
                    f"{'≈ ' if point.is_partial and point.score is not None else ''}{score}",
                    value=point.score,
                ),
                Cell("" if raw is None else percent(raw), value=raw),
                Cell(str(point.n), value=point.n),
                Cell(str(point.trial.batch + 1), value=point.trial.batch + 1),
                Cell("" if together is None else main.unit.text(together), value=together),
                *(Cell(f"{value:.3f}", value=value) for value in values),
                *([Cell(point.lesson or "")] if main.learned else []),
                Cell(point.failure or ""),
            )
        )
    titles = ("trial", f"{main.unit.title} on fit", "measured", "n", "batch", "fit and validation")
    names = (*(gene.name for gene in genes), *(["learned"] if main.learned else []), "failure")
    marked = f"{winner.trial.asked.number} ({BRED})" if winner is not None else ""
    return Table(
        title="Trials",
        head=cells(*titles, *names),
        rows=tuple(rows),
        marked=marked,
        note=_TRIALS_NOTE,
        is_sortable=True,
    )


def _facts(data: RunData) -> Iterator[tuple[str, str]]:
    summary = data.summary
    near, training, tuning = summary.near_duplicates, summary.training, summary.tuning
    yield "items", joined([f"{n:,} {split}" for split, n in summary.items.items()])
    if near is not None and near.groups:
        yield "near-duplicates", str(near)
    yield from (("budget added", str(each)) for each in summary.extensions)
    yield "trials", "none yet" if data.main is None else _counted(data.main)
    for name, history in data.controls.items():
        yield f"trials, {describe_search(name)}", _counted(history)
    if training is not None:
        yield row_title(TRAINED), str(training)
    yield from (("tuning", each) for each in (tuning.sentences() if tuning else ()))
    yield "item evaluations", f"{summary.item_evaluations:,}, all searches and splits"
    yield "scores copied", f"{summary.copied:,}, of trials with the same recipe"
    yield "working time", time_text(summary.seconds)
    yield "intervals", INTERVALS
    yield "versions", f"run by kingyo {data.version}, report by kingyo {__version__}"
    yield "folder", summary.folder
    yield from (("note", each) for each in summary.notes)


def _counted(history: SearchHistory) -> str:
    return f"{len(history.points):,}, {history.failures.total():,} failed ({history.strategy})"
