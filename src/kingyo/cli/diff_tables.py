"""Tables of ``kingyo diff``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.columns import Columns
from rich.markup import escape
from rich.table import Table

from kingyo.cli.console import Console, plain_table, print_table, print_text
from kingyo.core.io.units import count_text, percent
from kingyo.views.compare import TOP, CheckpointComparison, ComparisonSums, letter

LEGEND = (
    "opposed: opposite signs among the parameters that both models changed (50% is chance); by size: the "
    "same, weighted by |δA·δB|; top 10%: share of ‖δ‖² in the largest tenth of each tensor (44% for a "
    "normal distribution)."
)


def print_comparison(comparison: CheckpointComparison) -> None:
    """Print a comparison to standard output."""
    console = Console(highlight=False)
    for i, reference in enumerate(comparison.models):
        print_text(console, f"[bold]{letter(i)}[/bold] = {escape(reference)}")
    if comparison.base is not None:
        print_text(console, f"[bold]δ[/bold] = the change from the base, {escape(comparison.base)}")
        print_table(console, _models(comparison))
    if len(comparison.models) > 2:
        matrices = [_matrix(title, cells) for title, cells in _matrices(comparison).items()]
        console.print(Columns(matrices, padding=(0, 3)))
    print_table(console, _groups(comparison, "kind", {**comparison.kinds, "all": comparison.total}))
    print_table(console, _groups(comparison, "layer", comparison.layers))
    if comparison.base is not None:
        print_text(console, LEGEND, style="dim")
    for line in comparison.notes:
        print_text(console, escape(line))


def _models(comparison: CheckpointComparison) -> Table:
    total = comparison.total
    energy = [f"top {percent(share, '.0f')}" for share in TOP]
    table = plain_table("", "‖δ‖", "of ‖base‖", "unchanged", *energy, title="Task vectors", n_left=1)
    for i in range(len(comparison.models)):
        top_shares = [total.top_share(i, which) for which in (0, 1)]
        shares = [total.change(i), total.unchanged(i), *top_shares]
        table.add_row(letter(i), f"{total.delta_norm(i):.4g}", *(_share(each) for each in shares))
    return table


def _cells(comparison: CheckpointComparison, sums: ComparisonSums) -> dict[str, str]:
    """Return the cells of a group of tensors: heading -> cell. Cells about pairs are means over all pairs."""
    if comparison.base is None:
        return _without_base(sums)
    changes = {f"‖δ{letter(i)}‖": _share(sums.change(i)) for i in range(sums.n_models)}
    if sums.n_models == 1:
        return {**changes, "unchanged": _share(sums.unchanged(0)), "top 10%": _share(sums.top_share(0))}
    return {
        **changes,
        "cosine": _number(_mean(sums, sums.delta_cosine)),
        "opposed": _share(_mean(sums, sums.conflict)),
        "by size": _share(_mean(sums, sums.weighted_conflict)),
    }


def _without_base(sums: ComparisonSums) -> dict[str, str]:
    return {
        **{f"‖{letter(i)}‖": f"{sums.norm(i):.4g}" for i in range(sums.n_models)},
        "‖A − B‖" if sums.n_models == 2 else "gap": f"{_mean(sums, sums.distance) or 0.0:.4g}",
        "relative": _share(_mean(sums, lambda i, j: sums.relative(j, i))),
        "cosine": _number(_mean(sums, sums.cosine)),
        "equal": _share(_mean(sums, sums.equal_share)),
    }


def _mean(sums: ComparisonSums, value: Callable[[int, int], float | None]) -> float | None:
    known = [each for each in (value(i, j) for i, j in sums.pairs()) if each is not None]
    return sum(known) / len(known) if known else None


def _groups(comparison: CheckpointComparison, what: str, groups: Mapping[str, ComparisonSums]) -> Table:
    scale = "" if comparison.base is None else ", ‖δ‖ as a share of ‖base‖"
    means = "" if len(comparison.models) < 3 else "; mean over pairs"
    title = f"By {what}{scale}{means}"
    headings = _cells(comparison, comparison.total)
    table = plain_table(what, "parameters", *headings, title=title, n_left=1)
    for name, sums in groups.items():
        cells = _cells(comparison, sums).values()
        table.add_row(escape(name.removeprefix("block.")), count_text(sums.numbers), *cells)
    return table


def _matrices(comparison: CheckpointComparison) -> dict[str, list[list[str]]]:
    total = comparison.total
    shown: dict[str, Callable[[int, int], str]] = {
        "‖row − column‖/‖row‖": lambda i, j: _share(total.relative(j, i)),
        "Cosine of weights": lambda i, j: _number(total.cosine(i, j)),
    }
    if comparison.base is not None:
        shown["Cosine of task vectors"] = lambda i, j: _number(total.delta_cosine(i, j))
        shown["Opposite signs"] = lambda i, j: _share(total.conflict(i, j))
        shown["Opposite, by size"] = lambda i, j: _share(total.weighted_conflict(i, j))
    places = range(len(comparison.models))
    return {
        title: [["" if i == j else cell(i, j) for j in places] for i in places]
        for title, cell in shown.items()
    }


def _matrix(title: str, cells: Sequence[Sequence[str]]) -> Table:
    names = [letter(i) for i in range(len(cells))]
    table = plain_table("", *names, title=title, n_left=1)
    for name, row in zip(names, cells, strict=True):
        table.add_row(name, *row)
    return table


def _share(value: float | None) -> str:
    """Return a share in percent, with at least two significant digits."""
    if value is None:
        return "–"
    return percent(value) if value >= 0.01 or value == 0 else percent(value, ".2g")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
