"""Tables of ``kingyo scout``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from kingyo.cli.console import Console, plain_table, print_table, print_text
from kingyo.io.units import count_text, counted, percent, size_text

if TYPE_CHECKING:
    from kingyo.run.choice import ChosenSources
    from kingyo.scout import Candidate, Catalogue

_COLUMNS = ("model", "architecture", "dtype", "licence", "languages", "date", "parameters", "size")
_N_LEFT = 6
_MOST_LANGUAGES = 3
_UNKNOWN = "–"


def print_catalogue(found: Catalogue) -> None:
    """Print the candidates that can be merged, the others with their reasons, and the counts."""
    console = Console(highlight=False)
    for group in found.groups:
        base = "No base" if group.base is None else f"Base: [bold]{escape(group.base)}[/bold]"
        print_text(console, f"{base}{':' if group.base is None else ','} {group.why}.")
        _print_members(console, group.members)
    if found.excluded:
        print_text(console, "Excluded:")
        for line in _excluded(found.excluded):
            print_text(console, escape(line))
    for base, problem in found.unread.items():
        print_text(console, escape(f"The base {base} cannot be read: {problem}"))
    print_text(console, escape(counts_text(found)))


def _print_members(console: Console, members: Sequence[Candidate]) -> None:
    """Print a table of candidates, and above it what all of them have in common."""
    rows = [_cells(each) for each in members]
    shared = [i for i in range(1, len(_COLUMNS)) if len(rows) > 1 and len({row[i] for row in rows}) == 1]
    facts = [f"{_COLUMNS[i]} {rows[0][i]}" for i in shared if rows[0][i] != _UNKNOWN]
    if facts:
        print_text(console, escape(f"All have {'; '.join(facts)}."))
    kept = [i for i in range(len(_COLUMNS)) if i not in shared]
    table = plain_table(*(_COLUMNS[i] for i in kept), n_left=sum(i < _N_LEFT for i in kept))
    for row in rows:
        table.add_row(*(escape(row[i]) for i in kept))
    print_table(console, _foldable(console, table))


def _foldable(console: Console, table: Table) -> Table:
    """Let long cells of the first column take several lines on a terminal, as paths have no spaces."""
    if console.is_terminal:
        column = table.columns[0]
        column.no_wrap, column.overflow = False, "fold"
        column.max_width = min(console.width // min(3, len(table.columns)), console.width - 4)
    return table


def _cells(candidate: Candidate) -> tuple[str, ...]:
    facts = candidate.facts
    texts = (candidate.reference, facts.architecture, facts.dtype, _licence(candidate), _languages(candidate))
    n = None if facts.n_parameters is None else count_text(facts.n_parameters)
    size = None if facts.n_bytes is None else size_text(facts.n_bytes)
    return tuple(text or _UNKNOWN for text in (*texts, candidate.card.date, n, size))


def _excluded(candidates: Iterable[Candidate]) -> Iterator[str]:
    """Yield a line for each reason with the candidates that it excludes."""
    names: dict[str, list[str]] = {}
    for each in candidates:
        names.setdefault(str(each.exclusion), []).append(each.reference)
    for reason, own in names.items():
        yield f"- {', '.join(own)}: {reason}"


def _licence(candidate: Candidate) -> str:
    """Return the licence and, unless the name says it, its kind."""
    if candidate.licence is None:
        return "not stated"
    kinds = [kind for kind in candidate.licence_kinds if kind not in (None, "notice")]
    return f"{candidate.licence} ({', '.join(map(str, kinds))})" if kinds else candidate.licence


def _languages(candidate: Candidate) -> str:
    names = candidate.card.languages
    more = f" +{len(names) - _MOST_LANGUAGES}" if len(names) > _MOST_LANGUAGES else ""
    return ", ".join(names[:_MOST_LANGUAGES]) + more


def counts_text(found: Catalogue) -> str:
    """Return how many candidates can be merged, and how many are excluded for each reason."""
    total = counted(found.n_mergeable + len(found.excluded), "candidate")
    one, all_ = ("fits the base", "fit the base") if found.base else ("can be merged", "can be merged")
    if not found.n_mergeable:
        fits = f"none of them {one}{'' if found.base else ' with another'}"
    else:
        fits = f"{found.n_mergeable} {one if found.n_mergeable == 1 else all_}"
        fits += f" in {len(found.groups)} groups" if len(found.groups) > 1 else ""
    return f"{total}: {fits}; {found.excluded_in_words}."


def print_choice(choice: ChosenSources) -> None:
    """Print the chosen sources with reasons, and the best of the others."""
    from kingyo.results.choice import choice_statements, gain_text

    console = Console(highlight=False)
    table = plain_table("source", "alone", "gain when added", "in the final set", title="Chosen", n_left=1)
    added = {step.added: step for step in choice.steps if step.added is not None}
    for name in choice.chosen:
        i = choice.sources.index(name)
        last = choice.contributions.get(name)
        cells = (
            name,
            percent(choice.alone[name].score) if name in choice.alone else "–",
            gain_text(added[i].gains[i]) if i in added else "–",
            "–" if last is None else gain_text(last),
        )
        table.add_row(*map(escape, cells))
    if choice.chosen:
        print_table(console, table)
    for text in choice_statements(choice):
        print_text(console, escape(text))
