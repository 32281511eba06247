"""The tables of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kingyo.evolution import FrontPoint
from kingyo.evolution.objectives import has_item_scores, is_share
from kingyo.evolution.set_measures import SetValue
from kingyo.results.comparisons import PairedComparison
from kingyo.results.model_result import ModelResult
from kingyo.results.summary import RunSummary
from kingyo.results.trials import describe_search, row_title
from kingyo.results.unit import NONE, SHARES, Unit, p_text, percent, sizes_of
from kingyo.run.config import WEIGHT_SEARCH, WEIGHT_SEARCH_LABEL
from kingyo.stats import Interval
from kingyo.types import SPLITS
from kingyo.views.choice import candidates_table
from kingyo.views.view import Cell, Row, Table

SO = {"better": "bred is better", "worse": "bred is worse", "open": "not shown"}
_PAIRED = (
    "Both models answer the same items. “Not shown”: the interval holds 0, and p > 0.05, by McNemar's exact "
    "test for answers that are right or wrong, Gaffke's bounds for other scores, and the same random halves "
    "for measures of all answers. Intervals and p-values are not corrected for the number of comparisons."
)


def cells(*texts: str) -> Row:
    """Return a row of texts."""
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

    On fit they are for all items, estimated where some were scored.

    Args:
        summary: the run.
        models: name of a row -> model.
        comparisons: name of a row -> its comparison with the first model, for another column; then n stands
            in each cell.
        minus: the heading of that column.
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
    """Return the bred model minus each other, on test."""
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
    """Return measures of sets of answers, which are no mean of item scores."""
    models = {} if summary.winner is None else {summary.child_name: summary.winner}
    models |= {**summary.baselines, **{row_title(name): model for name, model in summary.controls.items()}}
    measures = dict.fromkeys((value.task, value.measure) for each in models.values() for value in each.sets)
    splits, decides, rows = summary.set_splits, summary.unit.measure, list[Row]()
    for task, measure in measures:
        for name, model in models.items():
            own = [value for value in model.sets if (value.task, value.measure) == (task, measure)]
            by_split = {value.split: value for value in own}
            title = f"{task}: {measure}" if task else measure
            values = (_set_cell(by_split.get(split)) for split in splits)
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


def _set_cell(value: SetValue | None) -> Cell:
    if value is None or value.value is None or value.low is None or value.high is None:
        return Cell("" if value is None else f"none: {value.failure}")
    return Cell(f"{value.value:.4g}", f"[{value.low:.4g}, {value.high:.4g}]", value.value)


def front_table(summary: RunSummary, models: Mapping[int, ModelResult] | None = None) -> Table:
    """Return the points of the front, the best in the first objective first.

    Args:
        summary: the run.
        models: id of a trial -> its scores, for intervals and validation.
    """
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


def pairs_table(title: str, pairs: Iterable[tuple[str, str]]) -> Table:
    """Return a table of names and texts."""
    return Table(
        title=title,
        head=cells("what", "value"),
        rows=tuple(cells(*pair) for pair in pairs),
        has_numbers=False,
    )
