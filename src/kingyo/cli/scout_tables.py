"""Tables of ``kingyo scout``: candidates, what their weights show, and the chosen sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from kingyo.cli.console import Console, plain_table, print_table, print_text
from kingyo.core.io.units import count_text, percent, size_text

if TYPE_CHECKING:
    from kingyo.runs.choice import ChosenSources
    from kingyo.scout import Candidate, Catalogue, Group, Structure

_COLUMNS = ("model", "architecture", "dtype", "licence", "languages", "date", "parameters", "size")
_N_LEFT = 6
_MOST_LANGUAGES = 3
_UNKNOWN = "–"


_MEASURES = ("model", "remark", "closest other", "change", "cosine", "sign conflict")
_N_NAMES = 3
_MEASURES_LEGEND = (
    "change: ‖δ‖ / ‖base‖, where δ is the difference from the base; cosine: of δ with that of the closest "
    "other; sign conflict: opposite signs among the numbers that both change (50% is chance), mean over the "
    "others."
)


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
    print_text(console, escape(found.in_words))


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


def print_structures(measured: Catalogue, before: Catalogue) -> None:
    """Print a table for each group, and the candidates that the weights exclude."""
    console = Console(highlight=False)
    shown = [(group, group.structure) for group in measured.groups if group.structure is not None]
    for group, structure in shown:
        print_text(console, escape(_measured_text(group, structure)))
        print_table(console, _structure_table(structure))
    if shown:
        print_text(console, _MEASURES_LEGEND)
    known = {each.reference for each in before.excluded}
    for each in measured.excluded:
        if each.reference not in known:
            print_text(console, escape(f"{each.reference} is excluded: {each.exclusion}"))


def _measured_text(group: Group, structure: Structure) -> str:
    """Return what was measured."""
    share = structure.measured_share
    part = "all weights" if share == 1 else f"{percent(share)} of the weights, within --max-bytes"
    if group.base is None:
        return f"Measured {part}. There is no base: δ is the difference from the mean of these models."
    return f"Measured {part} against {group.base}."


def _structure_table(structure: Structure) -> Table:
    table = plain_table(*_MEASURES, n_left=_N_NAMES)
    for i, each in enumerate(structure.members):
        closest = structure.closest(i)
        remark = "; ".join(each.findings(has_base=structure.base is not None))
        other = "–" if closest is None else structure.members[closest[0]].reference
        cosine = "–" if closest is None else f"{closest[1]:.3f}"
        conflict = structure.mean_conflict(i)
        numbers = (_share(each.change), cosine, _share(conflict))
        table.add_row(*map(escape, (each.reference, remark or "–", other, *numbers)))
    return table


def _share(share: float | None) -> str:
    return "–" if share is None else percent(share)


def print_choice(choice: ChosenSources) -> None:
    """Print the chosen sources with reasons, and the best of the others."""
    from kingyo.views.choice import choice_statements, gain_text

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
