"""The tables of the report: rows of cells, as text. A pair is a number and what stands small beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from kingyo import __version__
from kingyo.evolution import FrontPoint
from kingyo.evolution.objectives import has_item_scores, is_share
from kingyo.io.units import joined, time_text
from kingyo.report import wording
from kingyo.report.findings import BRED, Findings
from kingyo.report.places import without_places
from kingyo.report.search_history import Point, SearchHistory
from kingyo.results.model_result import ModelResult, set_value_text
from kingyo.results.trials import row_title
from kingyo.run.config import TRAINED
from kingyo.stats import Interval, mean_name
from kingyo.types import SPLITS

Cell = str | tuple[str, str]
Row = tuple[Cell, ...]
NONE = "–"
INTERVALS = (
    "95%: Wilson's for shares of right answers, Gaffke's for other scores, Newcombe's or Gaffke's for "
    "differences, Zou & Donner's for means of several parts, random halves for measures of all answers"
)


def score_cell(value: Interval | None) -> Cell:
    """Return a score with its interval beside it; a dash where there is none."""
    return NONE if value is None else (wording.percent(value.score), wording.bounds(value))


def scores_table(findings: Findings) -> tuple[Row, list[Row]]:
    """Return all models on all splits; on fit for all items, estimated where some were scored."""
    entries = list(findings.models.values())
    head: list[Cell] = ["model"]
    for split in SPLITS:
        scores = [each for entry in entries if (each := entry.on(split)) is not None]
        head.append((split, wording.sizes_of(scores, findings.summary.items[split])))
    return tuple(head), [
        row for name, entry in findings.models.items() for row in _scores(findings, name, entry)
    ]


def _scores(findings: Findings, name: str, entry: ModelResult) -> Iterator[Row]:
    guess = findings.estimates.get(name)
    fit = score_cell(entry.fit)
    if guess is not None:
        fit = (f"≈ {wording.percent(guess.score.score)}", wording.bounds(guess.score))
    yield name, fit, score_cell(entry.validation), score_cell(entry.test)
    for task, own in entry.tasks.items():
        yield f"{name}: {task}", *(score_cell(own.get(split)) for split in SPLITS)


def differences_table(findings: Findings) -> tuple[Row, list[Row]]:
    """Return the bred model minus each other, on test."""
    words = {"better": "bred is better", "worse": "bred is worse", "open": "not shown"}
    rows: list[Row] = []
    for each in findings.summary.comparisons:
        name = each.other if each.other in findings.summary.baselines else wording.search(each.other)
        score, _, bounds = findings.unit.difference(each.difference).replace(" points", "").partition(" ")
        rows.append((name, (score, bounds), wording.p_value(each.p), words[wording.verdict(each)]))
    size = findings.summary.comparisons[0].difference.size if rows else "0"
    unit = findings.unit.measure or "points"
    return ("bred model minus", (unit, f"n = {size}"), "p", "so"), rows


def front_table(findings: Findings) -> tuple[Row, list[Row]]:
    """Return the points of the front, the best in the first objective first."""
    names, mean = findings.summary.objectives, mean_name(findings.summary.weights.values())
    ordered = sorted(findings.front, key=lambda each: each[0].objectives, reverse=True)
    rows: list[Row] = []
    for point, entry in ordered:
        cells = [
            _objective(point, place, _on_task(entry, name))
            if is_share(name)
            else f"{point.objectives[place]:.1f}"
            for place, name in enumerate(names)
        ]
        rows.append((_marked(findings, point), *cells, _with_n(entry.validation)))
    return ("trial", *names, ("validation", mean)), rows


def _marked(findings: Findings, point: FrontPoint) -> str:
    winner, knee = findings.summary.winner, findings.summary.front.knee
    marks = ["knee"] if knee is not None and point.trial.id == knee.trial.id else []
    marks += [BRED] if winner is not None and winner.trial.id == point.trial.id else []
    return " ".join([f"trial {point.trial.asked.number}", *([f"({', '.join(marks)})"] if marks else [])])


def _objective(point: FrontPoint, place: int, measured: Interval | None) -> Cell:
    """Return what the strategy received; beside an estimate stands what was measured."""
    value = wording.percent(point.objectives[place])
    if measured is None:
        return value
    if point.is_partial:
        return f"≈ {value}", f"measured {wording.score(measured)}, n = {measured.size}"
    return _with_n(measured)


def _on_task(entry: ModelResult, objective: str) -> Interval | None:
    if not has_item_scores(objective):
        return None
    return entry.tasks[objective].get("fit") if entry.tasks else entry.fit


def _with_n(value: Interval | None) -> Cell:
    return (
        NONE
        if value is None
        else (wording.percent(value.score), f"{wording.bounds(value)}, n = {value.size}")
    )


def sets_table(findings: Findings) -> tuple[Row, list[Row]]:
    """Return measures of sets of answers, which are no mean of item scores."""
    splits = findings.summary.set_splits
    rows: list[Row] = [
        (measure, model, *(set_value_text(values.get(split)) for split in splits))
        for measure, model, values in findings.summary.set_rows()
    ]
    return ("measure", "model", *splits), rows


def trials_table(findings: Findings) -> list[dict[str, object]]:
    """Return all trials of the main search: numbers to sort by, and texts to show."""
    main, winner = findings.main, findings.summary.winner
    finalists = {each.trial: each.together for each in findings.summary.finalists}
    return [
        {
            "number": point.number,
            "is_bred": winner is not None and point.trial.id == winner.trial.id,
            "score": point.score,
            "text": NONE if point.score is None else _score_text(main, point),
            "raw": point.raw if point.is_partial else None,
            "raw_text": wording.percent(point.raw) if point.is_partial and point.raw is not None else "",
            "n": point.n,
            "batch": point.trial.batch + 1,
            "lesson": point.lesson or "",
            "together": finalists.get(point.number),
            "together_text": findings.unit.text(finalists[point.number]) if point.number in finalists else "",
            "genes": [gene.value(point.trial.asked.genome) for gene in findings.genes[:6]],
            "failure": point.failure,
        }
        for point in (main.points if main else ())
    ]


def _score_text(main: SearchHistory | None, point: Point) -> str:
    unit = wording.PERCENT if main is None else main.unit
    return f"{'≈ ' if point.is_partial else ''}{unit.text(point.score or 0.0)}"


def failures_table(findings: Findings) -> list[Row]:
    """Return how often trials failed, and why."""
    histories = {"main": findings.main} if findings.main else {}
    return [
        (reason, name, f"{count:,}")
        for name, history in {**histories, **findings.controls}.items()
        for reason, count in history.failures.most_common()
    ]


def facts(findings: Findings) -> list[tuple[str, str]]:
    """Return what the run rests on: data, cost, versions."""
    summary, stored = findings.summary, findings.facts
    near, training = summary.near_duplicates, summary.training
    return [
        ("items", joined([f"{n:,} {split}" for split, n in summary.items.items()])),
        *([("near-duplicates", str(near))] if near is not None and near.groups else []),
        *(("budget added", str(each)) for each in summary.extensions),
        ("trials", "none yet" if findings.main is None else _counted(findings.main)),
        *(
            (f"trials, {wording.search(name)}", _counted(history))
            for name, history in findings.controls.items()
        ),
        *([] if training is None else [(row_title(TRAINED), str(training))]),
        *([] if summary.tuning is None else [("tuning", each) for each in summary.tuning.sentences()]),
        ("item evaluations", f"{summary.item_evaluations:,}, all searches and splits"),
        ("scores copied", f"{summary.copied:,}, of trials with the same recipe"),
        ("working time", time_text(summary.seconds)),
        ("intervals", INTERVALS),
        ("versions", f"run by kingyo {stored.get('version')}, report by kingyo {__version__}"),
        ("folder", summary.folder),
        *(("note", each) for each in summary.notes),
    ]


def run_yaml(findings: Findings) -> str:
    """Return the run.yaml as stored, with the last parts of absolute paths."""
    text = yaml.safe_dump(findings.facts.get("config"), sort_keys=False, allow_unicode=True)
    return without_places(text, Path(findings.summary.folder))


def _counted(history: SearchHistory) -> str:
    return f"{len(history.points):,}, {history.failures.total():,} failed ({history.strategy})"
