"""The sections with charts: scores, progress, what the winner is made of, where it came from, selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from kingyo.report import wording
from kingyo.report.ancestry import Family
from kingyo.report.chart import Figure
from kingyo.report.composition import Matrix
from kingyo.report.curves import descent, progress
from kingyo.report.figures import bars, heat_map
from kingyo.report.findings import BRED, Findings
from kingyo.report.history import History, Point
from kingyo.report.markup import Html, element, join, json_text, table
from kingyo.results.measured import set_value_text
from kingyo.results.summary import Entry, minus_test
from kingyo.run.config import FRANKENMERGE
from kingyo.sizes import counted
from kingyo.types import SPLITS, Split


def section(anchor: str, title: str, *content: Html | None) -> Html:
    """Build one section with its heading."""
    return element(
        "section",
        element("h2", title, id=f"{anchor}-title"),
        *content,
        id=anchor,
        aria_labelledby=f"{anchor}-title",
    )


def claim(text: str) -> Html:
    """The sentence that a section exists for."""
    return element("p", text, class_="claim")


def note(text: str) -> Html:
    """How to read what stands above."""
    return element("p", text, class_="note")


def chart(figure: Figure) -> Html:
    """Build the place where the page's script draws a figure, and the figure's data."""
    drawing = element(
        "div",
        class_="chart",
        role="img",
        aria_label=figure.description,
        data_figure=figure.name,
        style=f"min-height:{figure.height}px;min-width:{figure.min_width}px",
    )
    return element(
        "figure",
        element("div", drawing, class_="scroll") if figure.min_width else drawing,
        element("script", json_text(figure.to_json()), type="application/json", id=f"figure-{figure.name}"),
    )


def render_scores(found: Findings) -> Html | None:
    """Render the bar chart of all models on the farthest split."""
    shown = found.bars()
    if not shown:
        return None
    sizes = wording.sizes([bar.score.n for bar in shown], found.items[found.split])
    test_note = found.summary.test_note
    if found.is_tested and test_note is not None:
        title, said = "On the test split", f"Every model answered the same items. {test_note}"
    elif found.is_tested:
        title, said = "On the test split", "Every model answered the same items, which no choice had seen."
    else:
        title = f"On the {found.split} split, so far"
        by = found.summary.decided_by or "these scores"
        chosen = f" “{found.child_name}” was chosen by {by}, the baselines were not."
        said = f"The test split is not read yet.{chosen if found.child else ''}"
    return section(
        "scores",
        title,
        claim(said),
        chart(bars(shown, found.split)),
        note(
            f"Bars are {found.summary.score_name} over {sizes} items; lines are "
            "95% intervals. Parents are scored as they are; uniform is their plain average."
            f"{_STACKED if FRANKENMERGE in found.summary.baselines else ''}"
            f"{_CONTROLS if found.controls else ''}"
        ),
    )


_STACKED = " frankenmerge stacks layers of two of them, as people do by hand."
_CONTROLS = (
    " The control searches may cost what the main search did (a grid ends with its last point), "
    "and their winners were picked in the same way."
)


def render_progress(found: Findings) -> Html | None:
    """Render every trial of the search, with the controls and baselines."""
    main = found.main
    if main is None or not main.points:
        return None
    fits = {name: each.counts_on("fit") for name, each in found.summary.baselines.items()}
    baselines = {name: fit.score for name, fit in fits.items() if fit is not None}
    best = found.summary.best_parent()
    wanted = ("base", "uniform", best.name if best else "")
    lines = {name: score for name, score in baselines.items() if name in wanted}
    return section(
        "progress",
        "How the search went",
        claim(_progress_claim(main)),
        chart(progress(main, found.controls, lines)),
        note(_progress_note(found, main, list(lines))),
    )


def _progress_note(found: Findings, main: History, lines: Sequence[str]) -> str:
    size = wording.sizes(main.sizes, found.items["fit"])
    said = (
        f"{main.unit.measure or 'Scores'} on the fit split ({size}), which the search chooses by: the best "
        f"so far is the best of many tries, and so flattered. Dotted lines: {wording.listed(lines)}"
    )
    if main.measured_records or not main.records:
        return f"{said}. The band is the 95% interval of the best trial."
    if main.unit.measure is not None:
        return f"{said}."
    return f"{said}, each its mean on the items that it answered. ≈: estimated for all items from those."


def _progress_claim(main: History) -> str:
    if not main.records:
        return f"{counted(len(main.points), 'trial')}, and none succeeded."
    best = main.records[-1]
    batches = len({point.trial.batch for point in main.points})
    return (
        f"{counted(len(main.points), 'trial')} in {counted(batches, 'batch', 'batches')} by "
        f"{main.strategy}; the best on fit, {best.text}, is trial {best.number}."
    )


def render_advice(found: Findings) -> Html | None:
    """Render what to know of the run and what to do about it, warnings first."""
    if not found.advice:
        return None
    entries = [
        element(
            "li", element("b", "Warning: ") if each.level == "warning" else None, *_with_commands(each.text)
        )
        for each in found.advice
    ]
    return section("advice", "What to know, and what to do", element("ul", *entries))


def _with_commands(text: str) -> list[Html | str]:
    """Set what stands between backticks as code."""
    return [element("code", part) if place % 2 else part for place, part in enumerate(text.split("`"))]


def render_composition(found: Findings) -> Html | None:
    """Render the genome of the bred model."""
    if found.child is None or not found.matrices:
        return None
    number = found.child.trial.asked.number
    genes = sum(cell is not None for matrix in found.matrices for row in matrix.cells for cell in row)
    parts = [_matrix(matrix, f"genes-{i}") for i, matrix in enumerate(found.matrices)]
    return section(
        "genes",
        "What it is made of",
        claim(f"Trial {number}: {counted(genes, 'gene')}{_method(found, found.child)}."),
        *parts,
    )


def _method(found: Findings, child: Entry) -> str:
    """How it was merged; of a path what is merged is one of the models whose layers it passes."""
    merges = cast("Mapping[str, Mapping[str, object]]", child.recipe.get("merges") or {})
    if merges:
        said = [f"{name}, merged by {recipe['merge_method']}" for name, recipe in merges.items()]
        return f" of {wording.listed(said)}"
    return "" if found.main is None else f", merged by {found.main.description.get('method', 'its method')}"


def _matrix(matrix: Matrix, name: str) -> Html:
    head = ("source" if matrix.grouped else "parameter", *matrix.columns)
    rows = [
        (row, *("–" if cell is None else f"{cell:.3f}".replace("-", wording.MINUS) for cell in cells))
        for row, cells in zip(matrix.rows, matrix.cells, strict=True)
    ]
    return join(
        [
            element("h3", matrix.parameter),
            note(_matrix_note(matrix)),
            chart(heat_map(matrix, name)),
            element(
                "details",
                element("summary", "As a table"),
                table(head, rows, label=f"{matrix.parameter} of the bred model"),
            ),
        ]
    )


def _matrix_note(matrix: Matrix) -> str:
    said = f"Searched between {matrix.low:g} and {matrix.high:g}.".replace("-", wording.MINUS)
    return f"{said} Columns are groups of layers; a number is a block." if matrix.grouped else said


def render_descent(found: Findings) -> Html | None:
    """Render the family tree, or where the trial came from when the strategy records no parents."""
    if found.child is None or found.main is None:
        return None
    if found.family is not None:
        return _family(found.main, found.family)
    return _batch(found.main, found.child)


def _family(main: History, family: Family) -> Html:
    kept = family.inheritance
    lit = {point.number: "ancestor" for point in family.members}
    lit |= dict.fromkeys(kept.parents, "parent") | {family.child: BRED}
    founders = family.founders
    ancestors = counted(len(family.members) - 1, "ancestor")
    return section(
        "family",
        "Its family tree",
        claim(
            f"Trial {family.child} descends from {ancestors}, up to {counted(family.depth, 'step')} "
            f"back to {counted(len(founders), 'trial')} without parents."
        ),
        chart(descent(main, lit, family.edges, family.child)),
        note("Each point is a trial; lines run from parent to child. Other trials are faint."),
        table(
            ("parent", f"{main.unit.title} on fit", "n", "genes from it"),
            [
                (f"trial {number}", _fit(main, number), f"{main.by_number[number].n:,}", str(own))
                for number, own in zip(kept.parents, kept.from_each, strict=True)
            ],
            label="The parents of the bred model",
        ),
        note(
            f"{counted(kept.shared, 'gene')} equal in both parents, {kept.new} new by mutation."
            if len(kept.parents) > 1
            else f"{counted(kept.new, 'gene')} new by mutation."
        ),
    )


def _batch(main: History, child: Entry) -> Html:
    number, batch = child.trial.asked.number, main.batch_of(child.trial)
    lit = {point.number: "same batch" for point in batch} | {number: BRED}
    came = f"{main.strategy} records no parents: it draws each batch from all that it has learned."
    if number < main.given:
        given = counted(min(main.given, len(main.points)), "path")
        came = f"It was given: the search began with {given}, and bred none better."
    return section(
        "family",
        "Where it came from",
        claim(f"{came} Trial {number} is of batch {child.trial.batch + 1}."),
        chart(descent(main, lit, (), number)),
        note(
            f"Dark points: its batch, {counted(len(batch), 'trial')}, mean {_mean(batch, main.unit)}. "
            "Other trials are faint."
        ),
    )


def _mean(batch: Sequence[Point], unit: wording.Unit) -> str:
    """The mean score on fit of a batch that is not all failures; of estimates also what was measured."""
    scores = [point.score for point in batch if point.score is not None]
    mean, n = unit.text(sum(scores) / len(scores)), counted(batch[0].n, "item")
    raw = [point.raw for point in batch if point.is_partial and point.raw is not None]
    if not raw:
        return f"{mean} on fit (n = {n})"
    return f"≈ {mean} on fit ({wording.percent(sum(raw) / len(raw))} of the {n} they met)"


def _fit(main: History, number: int) -> str:
    point = main.by_number[number]
    if point.score is None:
        return "–"
    is_estimate = point.is_partial and point.raw is not None
    return (
        wording.estimated(point.score, point.raw or 0.0, point.n)
        if is_estimate
        else main.unit.text(point.score)
    )


def render_selection(found: Findings) -> Html | None:
    """Render all scores on all splits, and by how much picking the best flattered the winner."""
    child = found.child
    if child is None:
        return None
    entries = [(found.child_name, child), *found.summary.baselines.items()]
    entries += [(wording.search(name), entry) for name, entry in found.summary.controls.items()]
    rows = [row for name, entry in entries for row in _rows(name, entry)]
    dropped = found.summary.dropped()
    head = ("model", *(_split_head(found, split, [entry for _, entry in entries]) for split in SPLITS))
    return section(
        "selection",
        "How much picking flattered it",
        claim(_selection_claim(child, found) if found.summary.decided_by is None else _undecided(found)),
        table(
            head,
            rows,
            label="Scores of all models on all splits, with 95% intervals",
            marked=found.child_name,
        ),
        None if dropped is None else note(dropped),
        *(note(each(found)) for each in _NOTES if found.summary.decided_by is None),
    )


def _undecided(found: Findings) -> str:
    """Say that a measure picked the winner, and not the scores of the table."""
    return (
        f"These are mean item scores. {found.summary.decided_by} guided the search and picked the winner in "
        "their place, and stands among the measures of all answers."
    )


def render_sets(found: Findings) -> Html | None:
    """Render measures of sets of answers, which are no mean of item scores."""
    splits, decided_by = found.summary.set_splits, found.summary.decided_by
    rows = [
        (row.measure, row.model, *(set_value_text(row.values.get(split)) for split in splits))
        for row in found.summary.set_rows()
    ]
    if not rows:
        return None
    said = "These are properties of a set and no means of item scores, so no search saw them."
    if decided_by is not None:
        said = (
            f"These are properties of a set and no means of item scores. {decided_by} guided the search and, "
            "on validation, picked the winner, so both flatter it; no search saw the others."
        )
    return section(
        "sets",
        "Measures of all answers together",
        claim(said),
        table(("measure", "model", *splits), rows, label="Measures of sets, with 95% intervals"),
        note("Intervals are percentiles of 1,000 sets drawn anew from the same answers (bootstrap)."),
    )


def _split_head(found: Findings, split: Split, entries: Sequence[Entry]) -> str:
    scores = [entry.on(split) for entry in entries]
    return f"{split}, {wording.sizes([each.n for each in scores if each is not None], found.items[split])}"


def _rows(name: str, entry: Entry) -> list[tuple[str, ...]]:
    """The scores of a model on all splits; with several tasks their mean, then each of them."""
    mean = (name, *(wording.score(each) for each in (entry.fit, entry.validation, entry.test)))
    tasks = [
        (f"{name}: {task}", *(wording.score(own.get(split)) for split in SPLITS))
        for task, own in entry.tasks.items()
    ]
    return [mean, *tasks]


def _selection_claim(child: Entry, found: Findings) -> str:
    if child.test is None or child.fit is None:
        return "Fit minus test of the winner is known once the test split is read."
    said = found.summary.estimate_beside_test() or _drop("Fit", child, "fit")
    return said if child.validation is None else f"{said} {_drop('Validation', child, 'validation')}"


def _drop(name: str, child: Entry, split: Split) -> str:
    drop, chosen = minus_test(child, split), child.on(split)
    assert drop is not None and chosen is not None and child.test is not None, "it was scored on both"
    return (
        f"{name} minus test of the winner: {wording.points(drop)} "
        f"(n = {chosen.n:,} and {child.test.n:,} different items)."
    )


def _predicted_note(found: Findings) -> str:
    predicted = found.summary.predicted
    if predicted is None:
        return "The winner's test score is predicted once its finalists were scored on validation."
    return (
        f"Predicted for test, from {counted(predicted.n, 'validation item')} of the finalists that met "
        f"all of them, before test was read: {wording.score(predicted)}. The best of several "
        "validation scores is drawn towards their mean, as far as their differences may be luck; the luck of "
        "the test items is part of the interval."
    )


def _selection_note(found: Findings) -> str:
    said = "Fit guided the search, and fit and validation together picked the winner, so both flatter it. "
    said += (
        "The test split is the fairest comparison."
        if found.summary.test_note
        else "The test split was read once, at the end, and is the fair comparison."
    )
    if found.expected_bias is None or found.main is None:
        return said
    return (
        f"{said} Picking the best of {counted(len(found.main.points), 'trial')} on fit alone is "
        f"expected to overrate it by {100 * found.expected_bias:.1f} points, estimated by splitting the fit "
        "items at random again and again. That counts the "
        "last pick only: the search has also adapted to these items, so a larger drop is no surprise."
    )


_NOTES = (_predicted_note, _selection_note)
