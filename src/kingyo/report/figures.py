"""Charts of scores and genes: the bars of all models, and the heat map of a genome."""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.report import wording
from kingyo.report.chart import Figure, Json, axis, names_axis, plain
from kingyo.report.composition import Matrix
from kingyo.report.findings import Bar

FILLS = {"bred": "@accent", "parent": "@grey", "mixture": "@grey", "control": "@grey-light"}
OUTLINES = {"control": "@grey"}
LONGEST_NAME = 20  # of a label beside a chart, so that a phone has room for the chart
CELLS_WITH_TEXT = 14  # columns; beyond them numbers would overlap


def bars(found: Sequence[Bar], split: str) -> Figure:
    """Draw the scores of all models with their intervals, one horizontal bar each."""
    places = list(range(len(found)))
    names = [f"<b>{bar.name}</b>" if bar.role == "bred" else plain(bar.name, LONGEST_NAME) for bar in found]
    percents: Json = {"range": [0, 118], "tickvals": [0, 25, 50, 75, 100]}
    layout: Json = {
        "xaxis": axis(f"score on {split}") | percents | {"ticktext": ["0%", "25%", "50%", "75%", "100%"]},
        "yaxis": names_axis(names) | {"autorange": "reversed"},
    }
    said = "; ".join(f"{bar.name} {wording.score(bar.score)}" for bar in found)
    return Figure(
        name="bars",
        description=f"Bar chart of the scores on {split}, with 95% intervals: {said}.",
        data=[_bars(found, places), _bar_labels(found, places)],
        layout=layout,
        height=38 * len(found) + 76,
    )


def _bars(found: Sequence[Bar], places: Sequence[int]) -> Json:
    return {
        "type": "bar",
        "orientation": "h",
        "x": [100 * bar.score.score for bar in found],
        "y": places,
        "width": 0.62,
        "marker": {
            "color": [FILLS[bar.role] for bar in found],
            "line": {"width": 1, "color": [OUTLINES.get(bar.role, FILLS[bar.role]) for bar in found]},
        },
        "error_x": {
            "type": "data",
            "array": [100 * (bar.score.high - bar.score.score) for bar in found],
            "arrayminus": [100 * (bar.score.score - bar.score.low) for bar in found],
            "color": "@ink",
            "thickness": 1.4,
            "width": 4,
        },
        "hovertext": [f"{plain(b.name)}: {wording.score(b.score)}<br>n = {b.score.n}" for b in found],
        "hoverinfo": "text",
    }


def _bar_labels(found: Sequence[Bar], places: Sequence[int]) -> Json:
    return {
        "type": "scatter",
        "mode": "text",
        "x": [100 * bar.score.high for bar in found],
        "y": places,
        "text": [f"  {wording.percent(bar.score.score)}" for bar in found],
        "textposition": "middle right",
        "textfont": {"color": "@ink", "size": 13},
        "hoverinfo": "skip",
        "cliponaxis": False,
    }


def heat_map(matrix: Matrix, name: str) -> Figure:
    """Draw the winner's genes of one parameter: sources down, groups of layers across."""
    columns = [plain(column.removeprefix("block."), LONGEST_NAME) for column in matrix.columns]
    rows = [plain(row, LONGEST_NAME) for row in matrix.rows]
    layout: Json = {
        "xaxis": names_axis(columns) | {"side": "top"},
        "yaxis": names_axis(rows) | {"autorange": "reversed"},
    }
    return Figure(
        name=name,
        description=f"Heat map of {matrix.parameter} in the bred model; its numbers are in the table below.",
        data=[_cells(matrix)],
        layout=layout,
        height=max(104, 36 * len(rows) + 60),
        min_width=60 + 7 * max(len(row) for row in rows) + _cell_width(matrix) * len(columns),
    )


def _cell_width(matrix: Matrix) -> int:
    return 34 if len(matrix.columns) <= CELLS_WITH_TEXT else 15


def _cells(matrix: Matrix) -> Json:
    reach = max(abs(matrix.low), abs(matrix.high))
    signed = [[0, "@heat-low"], [0.5, "@heat-zero"], [1, "@heat-high"]]
    drawn: Json = {
        "type": "heatmap",
        "z": [list(row) for row in matrix.cells],
        "zmin": -reach if matrix.is_signed else matrix.low,
        "zmax": reach if matrix.is_signed else matrix.high,
        "xgap": 2,
        "ygap": 2,
        "colorscale": signed if matrix.is_signed else [[0, "@heat-zero"], [1, "@heat-high"]],
        "colorbar": {
            "thickness": 10,
            "outlinewidth": 0,
            "tickfont": {"color": "@muted", "size": 11},
            "nticks": 5,
            "x": 1.01,
        },
        "showscale": matrix.grouped,
        "hovertext": _cell_texts(matrix),
        "hoverinfo": "text",
    }
    if len(matrix.columns) <= CELLS_WITH_TEXT:
        drawn |= {"texttemplate": "%{z:.2f}", "textfont": {"size": 11}}
    return drawn


def _cell_texts(matrix: Matrix) -> list[list[str]]:
    return [
        [
            f"{plain(row)}, {plain(column)}: {'none' if cell is None else f'{cell:.3f}'}"
            for column, cell in zip(matrix.columns, cells, strict=True)
        ]
        for row, cells in zip(matrix.rows, matrix.cells, strict=True)
    ]
