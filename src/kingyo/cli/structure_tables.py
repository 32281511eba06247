"""Tables of what the weights of candidates show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from kingyo.cli.console import Console, plain_table, print_table, print_text
from kingyo.io.units import percent

if TYPE_CHECKING:
    from kingyo.scout import Catalogue, Group, Structure

_COLUMNS = ("model", "remark", "closest other", "change", "cosine", "sign conflict")
_N_LEFT = 3
_LEGEND = (
    "change: ‖δ‖ / ‖base‖, where δ is the difference from the base; cosine: of δ with that of the closest "
    "other; sign conflict: opposite signs among the numbers that both change (50% is chance), mean over the "
    "others."
)


def print_structures(measured: Catalogue, before: Catalogue) -> None:
    """Print a table for each group, and the candidates that the weights exclude."""
    console = Console(highlight=False)
    shown = [(group, group.structure) for group in measured.groups if group.structure is not None]
    for group, structure in shown:
        print_text(console, escape(_heading(group, structure)))
        print_table(console, _table(structure))
    if shown:
        print_text(console, _LEGEND)
    known = {each.reference for each in before.excluded}
    for each in measured.excluded:
        if each.reference not in known:
            print_text(console, escape(f"{each.reference} is excluded: {each.exclusion}"))


def _heading(group: Group, structure: Structure) -> str:
    """Return what was measured."""
    share = structure.measured_share
    part = "all weights" if share == 1 else f"{percent(share)} of the weights, within --max-bytes"
    if group.base is None:
        return f"Measured {part}. There is no base: δ is the difference from the mean of these models."
    return f"Measured {part} against {group.base}."


def _table(structure: Structure) -> Table:
    table = plain_table(*_COLUMNS, n_left=_N_LEFT)
    for i, each in enumerate(structure.members):
        closest = structure.closest(i)
        remark = "; ".join(each.findings(has_base=structure.base is not None))
        other = "–" if closest is None else structure.members[closest[0]].reference
        cosine = "–" if closest is None else f"{closest[1]:.3f}"
        conflict = structure.mean_conflict(i)
        numbers = (_percent(each.change), cosine, _percent(conflict))
        table.add_row(*map(escape, (each.reference, remark or "–", other, *numbers)))
    return table


def _percent(share: float | None) -> str:
    return "–" if share is None else percent(share)
