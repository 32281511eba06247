"""Tables that only the page of a run shows: all trials, failures, people's choices, what it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kingyo import __version__
from kingyo.io.units import joined, time_text
from kingyo.rating.tables import rating_note, rating_table, rating_title
from kingyo.results.genes import SHOWN
from kingyo.results.summary import BRED
from kingyo.results.trials import describe_search, row_title
from kingyo.results.unit import NONE, percent
from kingyo.run.config import TRAINED
from kingyo.views.history import Point, SearchHistory
from kingyo.views.run_data import RunData
from kingyo.views.tables import cells, front_table, pairs_table, scores_table
from kingyo.views.view import Cell, Row, Table

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
    yield from _failures(data)
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
    yield "facts", pairs_table("What this rests on", _facts(data))


def _rating_cell(cell: str | tuple[str, str]) -> Cell:
    return Cell(cell) if isinstance(cell, str) else Cell(*cell)


def trials_table(data: RunData, main: SearchHistory) -> Table:
    """Return all trials of the main search: numbers to sort by, and texts to show."""
    winner, genes = data.summary.winner, data.genes[:SHOWN]
    finalists = {each.trial: each.together for each in data.summary.finalists}
    rows: list[Row] = []
    for point in main.points:
        together, is_bred = (
            finalists.get(point.number),
            winner is not None and point.trial.id == winner.trial.id,
        )
        raw = point.raw if point.is_partial else None
        values = (gene.value(point.trial.asked.genome) for gene in genes)
        rows.append(
            (
                Cell(f"{point.number} ({BRED})" if is_bred else str(point.number), value=point.number),
                Cell(_score_text(main, point), value=point.score),
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


def _score_text(main: SearchHistory, point: Point) -> str:
    if point.score is None:
        return NONE
    return f"{'≈ ' if point.is_partial else ''}{main.unit.text(point.score)}"


def _failures(data: RunData) -> Iterator[tuple[str, Table]]:
    """Yield how often trials failed, and why."""
    histories = {**({"main": data.main} if data.main else {}), **data.controls}
    rows = [
        cells(reason, name, f"{count:,}")
        for name, history in histories.items()
        for reason, count in history.failures.most_common()
    ]
    head = cells("failure", "search", "trials")
    if rows:
        yield "failures", Table(title="Failed trials", head=head, rows=tuple(rows), has_numbers=False)


def _facts(data: RunData) -> Iterator[tuple[str, str]]:
    """Yield what the run rests on: data, cost, versions."""
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
