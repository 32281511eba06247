"""The main charts as PNG files, for READMEs and slides: always light, labels of plain names only."""

# matplotlib's own types leave **kwargs unknown.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kingyo.report import wording
from kingyo.report.composition import Matrix
from kingyo.report.findings import Findings
from kingyo.report.history import History
from kingyo.report.palette import ACCENT, GREY, INK, MUTED, POSITIVE, RULE, SIGNED
from kingyo.report.path_pictures import path_pictures

FILLS = {"bred": ACCENT, "parent": GREY, "mixture": GREY, "control": "#cdcecf"}
CONTROL_LINES = (("#0072b2", "--"), ("#b07400", "-."), ("#00795a", ":"))
DPI = 160


def draw_pictures(found: Findings) -> dict[str, bytes]:
    """Draw all pictures for which there are numbers: file name -> PNG."""
    drawn: dict[str, bytes] = {}
    if found.bars():
        drawn["bars.png"] = _png((7.2, 0.42 * len(found.bars()) + 1.1), lambda ax: _bars(ax, found))
    if found.main is not None and found.main.points:
        main = found.main
        drawn["progress.png"] = _png((7.2, 4.2), lambda ax: _progress(ax, found, main))
    for matrix in found.matrices:
        size = (min(14.0, 0.62 * len(matrix.columns) + 2.2), 0.5 * len(matrix.rows) + 1.2)
        name = "".join(each if each.isalnum() else "-" for each in matrix.parameter)
        drawn[f"genes-{name}.png"] = _png(size, lambda ax, shown=matrix: _heat_map(ax, shown))
    if found.routes is not None:
        for name, (size, draw) in path_pictures(found.routes, found.child_name):
            drawn[name] = _png(size, draw)
    return drawn


def _png(size: tuple[float, float], draw: Callable[[Axes], None]) -> bytes:
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, labelsize=9, labelcolor=MUTED)
    draw(axes)
    target = BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()


def _bars(axes: Axes, found: Findings) -> None:
    bars = found.bars()
    for place, bar in enumerate(bars):
        score, low, high = (100 * each for each in (bar.score.score, bar.score.low, bar.score.high))
        edge = FILLS["parent"] if bar.role == "control" else FILLS[bar.role]
        axes.barh(place, score, height=0.62, color=FILLS[bar.role], edgecolor=edge, lw=0.8)
        axes.errorbar(score, place, xerr=[[score - low], [high - score]], color=INK, capsize=2.5, lw=1.1)
        axes.text(high + 1.2, place, wording.percent(bar.score.score), va="center", fontsize=9, color=INK)
    axes.set_yticks(range(len(bars)), [bar.name for bar in bars], color=INK)
    axes.invert_yaxis()
    axes.set_xlim(0, 112)
    axes.set_xticks([0, 25, 50, 75, 100], ["0%", "25%", "50%", "75%", "100%"])
    axes.set_xlabel(f"score on {found.split}, n = {bars[0].score.n}, 95% intervals", fontsize=9, color=MUTED)


def _progress(axes: Axes, found: Findings, main: History) -> None:
    unit = main.unit
    scored = [
        (point.number + 1, unit.factor * point.score) for point in main.points if point.score is not None
    ]
    axes.scatter(*zip(*scored, strict=True), s=9, color=MUTED, alpha=0.3, lw=0, label="trial")
    label = "best so far, 95% interval" if main.measured_records else "best so far"
    _best(axes, main, (ACCENT, "-", 2.2), label, band=True)
    for (name, control), (colour, dash) in zip(found.controls.items(), CONTROL_LINES, strict=False):
        _best(axes, control, (colour, dash, 1.5), f"{wording.search(name)}, best so far", band=False)
    means = main.batches()
    if len(means) > 1:
        axes.plot(*_columns(means, unit.factor), color=GREY, lw=1.3, label="mean of the batch")
    for name, score in _lines(found, unit.factor).items():
        axes.axhline(score, color=MUTED, lw=0.8, ls=":")
        axes.annotate(f" {name}", (1, score), xycoords=("axes fraction", "data"), fontsize=8, color=MUTED)
    if unit.measure is None:
        axes.set_ylim(0, 100)
    axes.grid(axis="y", color=RULE, lw=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel("trials", fontsize=9, color=MUTED)
    what = "score on fit in %" if unit.measure is None else f"{unit.measure} on fit"
    axes.set_ylabel(f"{what}, {wording.sizes(main.sizes, found.items['fit'])}", fontsize=9, color=MUTED)
    figure = axes.figure
    figure.legend(frameon=False, fontsize=8, labelcolor=INK, loc="outside lower center", ncols=3)


def _best(axes: Axes, history: History, look: tuple[str, str, float], label: str, *, band: bool) -> None:
    if not history.records:
        return
    colour, dash, width = look
    places = [*(record.number + 1 for record in history.records), len(history.points)]
    scores = [history.unit.factor * record.score for record in history.records]
    axes.step(places, [*scores, scores[-1]], where="post", color=colour, ls=dash, lw=width, label=label)
    if band and history.measured_records:
        low, high = (
            [history.unit.factor * value for value in (*values, values[-1])]
            for values in zip(*((fit.low, fit.high) for fit in history.measured_records), strict=True)
        )
        axes.fill_between(places, low, high, step="post", color=colour, alpha=0.12, lw=0)


def _lines(found: Findings, factor: float) -> Mapping[str, float]:
    best = found.summary.best_parent()
    wanted = ("uniform", best.name if best else "")
    known = {name: each.counts_on("fit") for name, each in found.summary.baselines.items()}
    return {name: factor * fit.score for name, fit in known.items() if fit is not None and name in wanted}


def _columns(means: list[tuple[float, float]], factor: float) -> tuple[list[float], list[float]]:
    return [place for place, _ in means], [factor * mean for _, mean in means]


def _heat_map(axes: Axes, matrix: Matrix) -> None:
    reach = max(abs(matrix.low), abs(matrix.high))
    low, high = (-reach, reach) if matrix.is_signed else (matrix.low, matrix.high)
    cells = [[float("nan") if cell is None else cell for cell in row] for row in matrix.cells]
    axes.imshow(cells, cmap=SIGNED if matrix.is_signed else POSITIVE, vmin=low, vmax=high, aspect="auto")
    columns = [column.removeprefix("block.") for column in matrix.columns]
    axes.set_xticks(range(len(columns)), columns, rotation=0 if len(columns) <= 8 else 90, color=INK)
    axes.set_yticks(range(len(matrix.rows)), list(matrix.rows), color=INK)
    axes.set_title(matrix.parameter, fontsize=10, color=INK, loc="left")
    for y, row in enumerate(cells if len(columns) <= 14 else []):
        for x, cell in enumerate(row):
            strong = matrix.is_signed and abs(cell) > 0.6 * reach
            axes.text(
                x,
                y,
                f"{round(cell, 2) + 0.0:.2f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if strong else INK,
            )
