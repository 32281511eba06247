"""Print views: statements as lines, tables without borders."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from rich.markup import escape

from kingyo.cli.console import Console, plain_table, print_table, print_text
from kingyo.views.advice import Advice
from kingyo.views.page import summary_view
from kingyo.views.results.summary import RunSummary
from kingyo.views.statements import against
from kingyo.views.view import RunView, Statement, Table

ABOVE = ("best",)
BELOW = ("deciding", "estimated", "dropped", "duplicates", "note")
LAST = ("compared", "test", "predicted", "picked", "learned", "trained", "tuned against", "tuned", "untested")


def print_summary(summary: RunSummary) -> None:
    """Print status, scores with intervals, and comparisons to standard output."""
    console, view = Console(highlight=False), summary_view(summary)
    _print_title(console, view)
    _print_said(console, view.said("cost"))
    _print_tables(console, view, "candidates")
    _print_said(console, view.said("choice"))
    _print_tables(console, view, "scores", "sets")
    _print_said(console, view.said(*BELOW))
    _print_tables(console, view, "front")
    _print_said(console, view.said("path", *LAST, "missing"))
    _print_said(console, view.said("changed"), style="bold")


def print_advice(advice: Iterable[Advice]) -> None:
    """Print advice to standard output, warnings in bold on a terminal."""
    _print_said(Console(highlight=False), [each.statement for each in advice])


def print_some(summary: RunSummary, controls: Collection[str], *topics: str, name: str | None = None) -> None:
    """Print the scores of some controls and of the bred model, then statements.

    Args:
        summary: the run.
        controls: the controls.
        topics: topics of the statements.
        name: a control whose comparison with the bred model is printed first.
    """
    console = Console(highlight=False)
    chosen = {key: each for key, each in summary.controls.items() if key in controls}
    own = replace(summary, baselines={}, controls=chosen, choice=None)
    view, whole = summary_view(own), summary_view(summary)
    _print_title(console, whole)
    _print_tables(console, view, "scores", "sets")
    comparison = summary.comparison(name) if name is not None else None
    said = [against(summary, comparison)] if comparison is not None else []
    _print_said(console, [*view.said("estimated"), *said, *whole.said(*topics)])


def _print_title(console: Console, view: RunView) -> None:
    print_text(console, f"[bold]{escape(view.run)}[/bold] ({escape(view.folder)}): {view.status}")
    _print_said(console, view.said(*ABOVE), style="bold")


def _print_said(console: Console, said: Iterable[Statement], style: str | None = None) -> None:
    for each in said:
        print_text(console, escape(str(each)), style="bold" if each.is_warning else style)


def _print_tables(console: Console, view: RunView, *names: str) -> None:
    for table in (view.tables[name] for name in names if name in view.tables):
        print_rows(console, table)


def print_rows(console: Console, table: Table) -> None:
    """Print a table, its marked row in bold."""
    shown = plain_table(*(escape(str(each)) for each in table.head), title=escape(table.title), n_left=1)
    for row in table.rows:
        style = "bold" if row[0].text == table.marked else None
        shown.add_row(*(escape(str(each).replace("\N{NO-BREAK SPACE}", " ")) for each in row), style=style)
    print_table(console, shown)
