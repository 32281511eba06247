"""The summary of a run as text and tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rich.markup import escape
from rich.table import Table

from kingyo.cli.console import Console, print_text
from kingyo.cli.scout_tables import print_choice
from kingyo.evolution.objectives import is_share
from kingyo.io.units import counted, percent
from kingyo.results.comparisons import PairedComparison
from kingyo.results.layer_paths import NamedPath
from kingyo.results.model_result import MIXTURES, ModelResult, set_value_text
from kingyo.results.remarks import (
    ahead_on_test,
    better_than_bred,
    dropped_baselines,
    estimated_on_fit,
    how_picked,
    not_compared,
)
from kingyo.results.summary import RunSummary
from kingyo.results.trials import row_title
from kingyo.run.config import (
    RANDOM_SOURCES,
    TRAINED,
    TRAININGS,
    TUNED,
    TUNED_PARENT,
    WEIGHT_SEARCH,
    WEIGHT_SEARCH_LABEL,
)
from kingyo.stats import Interval
from kingyo.types import SPLITS, Split


def score_text(value: Interval | None) -> str:
    """Return a score in percent such as "71.5 [65.0, 77.2]", or a dash without a score."""
    return "–" if value is None else value.in_percent()


def print_summary(summary: RunSummary) -> None:
    """Print status, scores with intervals, and comparisons to standard output."""
    console = Console(highlight=False)
    _print_status(console, summary)
    if summary.chosen is not None:
        print_choice(summary.chosen)
    console.print(_scores(summary, is_narrow=console.width < 80))
    if summary.set_rows():
        console.print(_sets(summary))
    for line in _remarks(summary):
        print_text(console, escape(line))
    if summary.front.points:
        console.print(_front(summary))
    if summary.path is not None:
        print_path(console, summary.path, "bred" if summary.winner is not None else "best so far")
    for line in _conclusions(summary):
        print_text(console, escape(line))
    for renewal in summary.renewals:
        print_text(console, escape(str(renewal)), style="bold")


def print_control(summary: RunSummary, name: str) -> None:
    """Print the scores of a control beside those of the bred model, and how far they differ."""
    console = Console(highlight=False)
    own = replace(summary, baselines={}, controls={name: summary.controls[name]})
    _print_headline(console, summary)
    console.print(_scores(own, is_narrow=console.width < 80))
    if own.set_rows():
        console.print(_sets(own))
    differences = [_sentence(each, summary.decided_by) for each in summary.comparisons if each.other == name]
    training = str(summary.training) if name == TRAINED and summary.training is not None else None
    for line in filter(None, (estimated_on_fit(own), *differences, training, not_compared(summary))):
        print_text(console, escape(line))


def print_tuning(summary: RunSummary) -> None:
    """Print the scores of the bred, the tuned and the trained models, and how far the tuned one differs."""
    console = Console(highlight=False)
    trained = {name: each for name, each in summary.controls.items() if name in TRAININGS}
    own = replace(summary, baselines={}, controls=trained)
    _print_headline(console, summary)
    console.print(_scores(own, is_narrow=console.width < 80))
    if own.set_rows():
        console.print(_sets(own))
    for line in filter(None, (estimated_on_fit(own), *_tuning(summary))):
        print_text(console, escape(line))


def _tuning(summary: RunSummary) -> Iterator[str]:
    """Yield how far the tuned model differs from others, and how it was made."""
    if summary.tuning is not None:
        for each in summary.tuning.comparisons:
            yield _sentence(each, summary.decided_by, TUNED)
        yield from summary.tuning.sentences()


def _print_headline(console: Console, summary: RunSummary) -> None:
    print_text(console, f"[bold]{escape(summary.run)}[/bold] ({escape(summary.folder)}): {summary.status}")
    for remark in (better_than_bred(summary), ahead_on_test(summary)):
        if remark is not None:
            print_text(console, escape(remark), style="bold")


def _print_status(console: Console, summary: RunSummary) -> None:
    _print_headline(console, summary)
    copied = f"{counted(summary.copied, 'score')} copied from the same recipe, " if summary.copied else ""
    print_text(
        console,
        f"{counted(summary.trials, 'trial')}, {counted(summary.failures, 'failure')}; "
        f"{counted(summary.item_evaluations, 'item evaluation')} on all splits, including baselines and "
        f"controls, {copied}{summary.seconds:,.0f} s",
    )


def _remarks(summary: RunSummary) -> Iterator[str]:
    """Yield what to know when reading the table, and warnings from before the run."""
    if summary.decided_by is not None:
        yield f"{summary.decided_by} decides, not the mean item score."
        if summary.winner is None and summary.leader_score is not None:
            yield f"The best so far has {summary.in_words(summary.leader_score)} on fit."
    near = summary.near_duplicates
    items = f"Items: {near}." if near is not None and near.groups else None
    yield from filter(None, (estimated_on_fit(summary), dropped_baselines(summary), items))
    yield from (f"Note: {note}." for note in summary.notes)


def _conclusions(summary: RunSummary) -> Iterator[str]:
    """Yield what the winner gained, what limits that, how it was picked, and what was not compared."""
    yield from (_sentence(each, summary.decided_by) for each in _telling(summary))
    yield from filter(None, (summary.test_note, _prediction(summary), how_picked(summary)))
    if summary.learned is not None:
        yield summary.learned
    if summary.training is not None:
        yield str(summary.training)
    yield from _tuning(summary)
    if summary.winner is not None and not summary.comparisons:
        yield "The test split has not been read yet."
    yield from filter(None, (not_compared(summary),))


def _telling(summary: RunSummary) -> list[PairedComparison]:
    """Return the comparisons with the best parent, the mixtures and the controls: the others follow.

    Tuning has its own.
    """
    parent = summary.best_parent()
    parents = {name for name in summary.baselines if name not in MIXTURES}
    return [
        each
        for each in summary.comparisons
        if each.other not in (TUNED, TUNED_PARENT)
        and (
            each.other not in parents
            or summary.parents_tie
            or (parent is not None and each.other == parent.name)
        )
    ]


def _prediction(summary: RunSummary) -> str | None:
    """Compare the prediction from validation with the test score."""
    winner, predicted = summary.winner, summary.predicted
    if winner is None or predicted is None:
        return None
    prediction = f"Predicted for test from validation (n={predicted.size}): {predicted.in_percent('%')}."
    if winner.test is None:
        return prediction
    inside = "inside" if predicted.low <= winner.test.score <= predicted.high else "OUTSIDE"
    return f"{prediction} It scored {percent(winner.test.score)}: {inside} the interval."


def print_path(console: Console, path: NamedPath, whose: str) -> None:
    """Print a layer path as a line."""
    hops = counted(len(path.steps), "hop")
    print_text(console, f"Path of {whose}: {hops}, {escape(path.ends)}")
    print_text(console, escape(path.line), style="bold")


def _scores(summary: RunSummary, *, is_narrow: bool) -> Table:
    score = "Score" if summary.decided_by is None else "Mean item score"
    table = Table(title=f"{score} in % [95% interval]", title_justify="left")
    table.add_column("model", min_width=7, overflow="fold")
    for split in SPLITS:
        table.add_column(f"{split}{_n(summary, split)}", justify="right", no_wrap=not is_narrow)
    if summary.winner is not None:
        _row(
            summary, table, f"bred (trial {summary.winner.trial.asked.number})", summary.winner, style="bold"
        )
    elif summary.leader is not None:
        trial = summary.leader.trial
        of = f" of {WEIGHT_SEARCH_LABEL}" if trial.search == WEIGHT_SEARCH else ""
        _row(summary, table, f"best so far (trial {trial.asked.number}{of})", summary.leader, style="bold")
    for name, entry in summary.baselines.items():
        _row(summary, table, name, entry)
    for name, entry in summary.controls.items():
        _row(summary, table, row_title(name), entry)
    return table


def _sets(summary: RunSummary) -> Table:
    use = ", not used by the search" if summary.decided_by is None else f"; {summary.decided_by} decides"
    table = Table(title=escape(f"Measures of all answers{use} [95% interval]"), title_justify="left")
    for name in ("measure", "model"):
        table.add_column(name, overflow="fold")
    for split in summary.set_splits:
        table.add_column(split, justify="right", overflow="fold")
    for measure, model, values in summary.set_rows():
        cells = [set_value_text(values.get(split)) for split in summary.set_splits]
        table.add_row(*map(escape, (measure, model, *cells)))
    return table


def _front(summary: RunSummary) -> Table:
    is_estimated = any(point.is_partial for point in summary.front.points)
    title = f"Front on fit (* knee{'; ≈ estimated, and measured on n items' if is_estimated else ''})"
    table = Table(title=title, title_justify="left")
    table.add_column("trial", justify="right")
    for name in summary.objectives:
        table.add_column(f"{name} in %" if is_share(name) else name, justify="right")
    knee = summary.front.knee
    for point in sorted(summary.front.points, key=lambda each: each.objectives, reverse=True):
        is_knee = point is knee
        values = zip(summary.objectives, point.objectives, strict=True)
        numbers = [f"{100 * each if is_share(name) else each:.1f}" for name, each in values]
        for i, raw in enumerate(point.raw):
            if raw is not None:  # the value is an estimate, so also show the measured score
                numbers[i] = f"≈ {numbers[i]} ({100 * raw[0]:.1f}, n={raw[1]})"
        name = f"{'* ' if is_knee else ''}{point.trial.asked.number}"
        table.add_row(name, *numbers, style="bold" if is_knee else None)
    return table


def _row(summary: RunSummary, table: Table, name: str, entry: ModelResult, style: str | None = None) -> None:
    """Add a model to the table; with several tasks, first their mean, then each task."""
    estimate = summary.estimate(entry)
    fit = score_text(entry.fit) if estimate is None else f"≈ {score_text(estimate.score)}"
    table.add_row(name, fit, score_text(entry.validation), score_text(entry.test), style=style)
    for task, own in entry.tasks.items():
        table.add_row(f"  {task}", *(score_text(own.get(split)) for split in SPLITS), style="dim")


def _n(summary: RunSummary, split: Split) -> str:
    """Return the numbers of items behind the scores on a split, and of their groups on a line of its own."""
    scores = sorted(summary.scores_on(split), key=lambda each: each.n)
    if not scores:
        return ""
    ends = dict.fromkeys(each.n for each in (scores[0], scores[-1]))
    groups = scores[-1].of_groups.replace(" items of ", "\nof ")
    return f" (n={'–'.join(map(str, ends))}){groups}"


def _sentence(comparison: PairedComparison, decided_by: str | None, whose: str = "bred") -> str:
    difference = comparison.difference
    other = comparison.other.replace("_", " ") if comparison.other == RANDOM_SOURCES else comparison.other
    if other in (WEIGHT_SEARCH, *TRAININGS):
        other = row_title(other)
    if comparison.is_alike:
        items = "the one item" if difference.n == 1 else f"all {difference.n} items"
        return f"{whose} answers {items} of test as {other} does"
    p = "< 0.001" if comparison.p < 0.001 else f"= {comparison.p:.2g}"
    paired = "paired" if decided_by is None else f"{decided_by}, paired halves"
    return f"{whose} − {other}: {comparison.text()}, {paired}, n={difference.size}, p {p}"
