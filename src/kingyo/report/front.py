"""The section on several objectives: the front of the search as charts, and its points as a table.

It shows what the strategy was told, and beside it what was measured; it finds no front itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from kingyo.evolution import FrontPoint
from kingyo.report import wording
from kingyo.report.chart import Figure, Json, axis, plain
from kingyo.report.findings import BRED, Findings
from kingyo.report.markup import Html, join, table
from kingyo.report.sections import chart, claim, note, section
from kingyo.results.summary import Entry
from kingyo.sizes import counted
from kingyo.space.measures import MEASURES
from kingyo.stats import Interval, mean_name

KNEE = "knee"


def render_front(found: Findings) -> Html | None:
    """Render the front of a run with several objectives; nothing where there is one, or no point yet."""
    summary = found.summary
    knee = summary.front.knee
    if knee is None:
        return None
    n, beaten = len(summary.front.points), len(summary.front.beaten)
    return section(
        "front",
        "What can be had at once",
        claim(
            f"{counted(n, 'recipe')} on the front of {wording.listed(list(summary.objectives))}: no "
            f"other of {n + beaten:,} is as good in all of them and better in one. "
            f"Trial {knee.trial.asked.number} is the knee, the best compromise."
        ),
        join([chart(figure) for figure in front_charts(found)]),
        table(_head(found), _rows(found), label="The front, the best in the first objective first"),
        note(_note(found)),
    )


def front_charts(found: Findings) -> list[Figure]:
    """Draw the front and what it beats: one chart for each two objectives."""
    names = found.summary.objectives
    return [_chart(found, pair) for pair in combinations(range(len(names)), 2)]


def _chart(found: Findings, pair: tuple[int, int]) -> Figure:
    across, up = (found.summary.objectives[i] for i in pair)
    front = found.summary.front
    knee = [point for point in front.points if point is front.knee]
    others = [point for point in front.points if point is not front.knee]
    layout: Json = {
        "xaxis": axis(_title(across)) | {"ticksuffix": "%"},
        "yaxis": axis(_title(up)) | {"ticksuffix": "%"},
        "hovermode": "closest",
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": -0.25, "yanchor": "top", "font": {"size": 12}},
    }
    return Figure(
        name=f"front-{pair[0]}-{pair[1]}",
        description=f"Scatter of {across} and {up}: {counted(len(front.points), 'point')} of the front, and "
        f"{counted(len(front.beaten), 'beaten one')}; the numbers of the front are in the table below.",
        data=[
            _points("beaten", front.beaten, pair, {"color": "@dot", "size": 6}),
            _points("front", others, pair, {"color": "@ink", "size": 9}),
            _points(KNEE, knee, pair, {"color": "@accent", "size": 15, "symbol": "diamond"}),
            *_winner(found, pair),
        ],
        layout=layout,
        height=400,
    )


def _winner(found: Findings, pair: tuple[int, int]) -> Iterator[Json]:
    """A ring around the model that validation picked, which need not be the knee on fit."""
    winner = found.summary.winner
    mine = [] if winner is None else [p for p in found.summary.front.points if p.trial.id == winner.trial.id]
    if mine:
        ring: Json = {"symbol": "circle-open", "size": 22, "color": "@accent", "line": {"width": 2}}
        yield _points(BRED, mine, pair, ring)


def _points(name: str, points: Sequence[FrontPoint], pair: tuple[int, int], marker: Json) -> Json:
    across, up = pair
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [100 * point.objectives[across] for point in points],
        "y": [100 * point.objectives[up] for point in points],
        "customdata": [point.trial.asked.number for point in points],
        "marker": marker,
        "hovertemplate": f"{name}, trial %{{customdata}}: %{{x:.1f}}%, %{{y:.1f}}%<extra></extra>",
    }


def _title(objective: str) -> str:
    return plain(objective if objective in MEASURES else f"{objective}, score on fit")


def _head(found: Findings) -> tuple[str, ...]:
    """What is read off the recipe has no items, so neither n nor interval."""
    return ("trial", *found.summary.objectives, f"validation, {mean_name(found.summary.weights.values())}")


def _rows(found: Findings) -> Iterator[tuple[str, ...]]:
    names, knee, winner = found.summary.objectives, found.summary.front.knee, found.summary.winner
    for point, entry in sorted(found.front, key=lambda each: each[0].objectives, reverse=True):
        marks = [KNEE] if point is knee else []
        marks += [BRED] if winner is not None and winner.trial.id == point.trial.id else []
        said = f" ({', '.join(marks)})" if marks else ""
        cells = [_cell(point, i, _measured(entry, name)) for i, name in enumerate(names)]
        yield f"trial {point.trial.asked.number}{said}", *cells, _with_n(entry.validation)


def _cell(point: FrontPoint, place: int, measured: Interval | None) -> str:
    """What the strategy was told; of an estimate also what was measured, on the items that were met."""
    told = wording.percent(point.objectives[place])
    if measured is None:
        return told
    return f"≈ {told}; met {_with_n(measured)}" if point.is_partial else _with_n(measured)


def _measured(entry: Entry, objective: str) -> Interval | None:
    """The score on fit of the task that an objective is; None for what is read off the recipe."""
    if objective in MEASURES:
        return None
    return entry.tasks[objective].get("fit") if entry.tasks else entry.fit


def _with_n(value: Interval | None) -> str:
    return "–" if value is None else f"{wording.score(value)}, n = {value.n:,}"


def _note(found: Findings) -> str:
    estimated = any(point.is_partial for point in found.summary.front.points)
    said = (
        "Scores on the fit split with 95% intervals: a front is made of the luckiest too, so expect less on "
        "other items. The finalists, points of this front, were scored on validation, which picked the "
        "winner among them. Any point can be exported: kingyo export RUN OUT --pick TRIAL."
    )
    return f"{said} ≈: estimated from the items that were met." if estimated else said
