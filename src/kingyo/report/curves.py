"""Charts over the trials of a search: its progress, and where the bred trial came from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from kingyo.report import wording
from kingyo.report.chart import Figure, Json, axis, plain
from kingyo.report.findings import BRED
from kingyo.report.history import History, Point
from kingyo.sizes import counted

LONGEST_NAME = 9  # in the margin beside the lines
CONTROL_LINES = (("@blue", "dash"), ("@ochre", "dashdot"), ("@green", "dot"))


def progress(main: History, controls: Mapping[str, History], baselines: Mapping[str, float]) -> Figure:
    """Draw every trial's fit, the best so far with its interval, batch means, controls and baselines.

    Args:
        main: the search that bred the model.
        controls: the other searches; their best so far.
        baselines: name -> what counts of it on fit.
    """
    unit = main.unit
    last = max(len(history.points) for history in (main, *controls.values()))
    low, top = _range(main, controls, baselines)
    layout: Json = {
        "xaxis": axis("trials") | {"range": [0, last + 1], "showgrid": False},
        "yaxis": axis(f"{unit.title} on fit")
        | {"ticksuffix": unit.suffix, "range": [low - 0.03 * (top - low), top]},
        "shapes": [_baseline(unit.factor * score) for score in baselines.values()],
        "annotations": _labels(main, baselines, 0.05 * (top - low)),
        "showlegend": True,
        "legend": {
            "orientation": "h",
            "y": -0.2,
            "traceorder": "normal",
            "x": 0,
            "yanchor": "top",
            "font": {"size": 12},
        },
        "margin": {"l": 8, "r": 100, "t": 12, "b": 8},
        "hovermode": "closest",
    }
    best = f", the best at {main.records[-1].text}" if main.records else ""
    return Figure(
        name="progress",
        description=f"Progress of the search on the fit split: {counted(len(main.points), 'trial')}{best}.",
        data=_progress_lines(main, controls),
        layout=layout,
        height=440,
    )


def _progress_lines(main: History, controls: Mapping[str, History]) -> list[Json]:
    return [
        _dots(main),
        *_best_band(main),
        _best_line(main, "best so far", ("@accent", "solid", 2.6)),
        *_batch_means(main),
        *(
            _best_line(control, f"{plain(wording.search(name))}, best so far", (colour, dash, 1.8))
            for (name, control), (colour, dash) in zip(controls.items(), CONTROL_LINES, strict=False)
            if control.records
        ),
    ]


def _batch_means(main: History) -> list[Json]:
    means = main.batches()
    if len(means) < 2:
        return []
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "mean of the batch",
            "x": [place for place, _ in means],
            "y": [main.unit.factor * mean for _, mean in means],
            "line": {"color": "@grey", "width": 1.6},
            "hovertemplate": f"mean of the batch {main.unit.hover}<extra></extra>",
        }
    ]


def _dots(main: History) -> Json:
    scored = [point for point in main.points if point.score is not None]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "trial",
        "x": [point.number + 1 for point in scored],
        "y": [main.unit.factor * point.score for point in scored if point.score is not None],
        "marker": {"color": "@dot", "size": 5},
        "customdata": [[point.number, point.n, _measured(point)] for point in scored],
        "hovertemplate": f"trial %{{customdata[0]}}: {main.unit.hover}%{{customdata[2]}}, "
        "n = %{customdata[1]}<extra></extra>",
    }


def _measured(point: Point) -> str:
    """What stands beside the score of a point that is an estimate."""
    return (
        f" estimated, {wording.percent(point.raw)} measured"
        if point.is_partial and point.raw is not None
        else ""
    )


def _steps(history: History) -> list[int]:
    """Where its records are, and the end of the search."""
    return [*(record.number + 1 for record in history.records), len(history.points)]


def _best_band(main: History) -> list[Json]:
    """The intervals of the records; nothing where one of them is an estimate, which has none."""
    fits = main.measured_records
    if not fits:
        return []
    edges: list[Json] = []
    for bound in ("low", "high"):
        values = [main.unit.factor * float(getattr(fit, bound)) for fit in fits]
        edges.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": _steps(main),
                "y": [*values, values[-1]],
                "line": {"width": 0, "shape": "hv", "color": "@accent-band"},
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
    edges[1] |= {
        "fill": "tonexty",
        "fillcolor": "@accent-band",
        "name": "its 95% interval",
        "showlegend": True,
    }
    return edges


def _best_line(history: History, name: str, line: tuple[str, str, float]) -> Json:
    colour, dash, width = line
    values = [history.unit.factor * record.score for record in history.records]
    numbers = [record.number for record in history.records]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": _steps(history),
        "y": [*values, *values[-1:]],
        "line": {"color": colour, "width": width, "dash": dash, "shape": "hv"},
        "customdata": [*numbers, *numbers[-1:]],
        "hovertemplate": f"{name}: {history.unit.hover}, trial %{{customdata}}<extra></extra>",
    }


def _baseline(height: float) -> Json:
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": height,
        "y1": height,
        "line": {"color": "@muted", "width": 1, "dash": "dot"},
        "layer": "below",
    }


def _range(
    main: History, controls: Mapping[str, History], baselines: Mapping[str, float]
) -> tuple[float, float]:
    """The ends of the axis: a little above all that is drawn, 103% at most; of a measure also below it."""
    drawn = [fit.high for fit in main.measured_records]
    drawn += [record.score for each in (main, *controls.values()) for record in each.records]
    drawn += baselines.values()
    if main.unit.measure is None:
        return 0.0, min(103.0, 110 * max([0.05, *drawn]))
    drawn += [point.score for point in main.points if point.score is not None]
    low, high = min(drawn, default=0.0), max(drawn, default=1.0)
    return low, high + 0.1 * ((high - low) or 1.0)


def _labels(main: History, baselines: Mapping[str, float], gap: float) -> list[Json]:
    """Names at the right end of the lines, moved apart where lines are close."""
    ends = [
        (score, f"{plain(name, LONGEST_NAME)} {main.unit.text(score)}", "@muted")
        for name, score in baselines.items()
    ]
    if main.records:
        best = main.records[-1]
        mark = "≈ " if best.fit is None and main.unit.measure is None else ""
        ends.append((best.score, f"<b>best {mark}{main.unit.text(best.score)}</b>", "@accent-text"))
    labels: list[Json] = []
    free = -math.inf
    for score, text, colour in sorted(ends):
        height = max(main.unit.factor * score, free)
        free = height + gap
        labels.append(
            {
                "xref": "paper",
                "x": 1,
                "xanchor": "left",
                "xshift": 6,
                "y": height,
                "yanchor": "middle",
                "showarrow": False,
                "text": text,
                "font": {"size": 11, "color": colour},
            }
        )
    return labels


def descent(main: History, lit: Mapping[int, str], edges: Sequence[tuple[int, int]], child: int) -> Figure:
    """Where the child came from, on the plane of the search: trials across, fit up.

    Args:
        main: the search.
        lit: numbers of the trials that stand out, and what they are to the child.
        edges: parent and child, drawn as lines.
        child: the bred trial's number.
    """
    points = main.by_number
    unit = main.unit
    place = {n: (p.number + 1, unit.factor * p.score) for n, p in points.items() if p.score is not None}
    shown = [number for number in lit if number in place and number != child]
    data: list[Json] = [
        _dots(main),
        _lines(edges, place),
        _lit(shown, place, [f"{lit[number]}: trial {number}" for number in shown], ("@ink", 8), unit.hover),
        _lit([child], place, [f"{BRED}: trial {child}"], ("@accent", 14), unit.hover),
    ]
    layout: Json = {
        "xaxis": axis("trials") | {"showgrid": False},
        "yaxis": axis(f"{unit.title} on fit") | {"ticksuffix": unit.suffix},
        "hovermode": "closest",
    }
    return Figure(
        name="descent",
        description=f"Where trial {child} came from: {len(lit)} of {counted(len(points), 'trial')} "
        "stand out.",
        data=data,
        layout=layout,
        height=360,
    )


def _lit(
    numbers: Sequence[int],
    place: Mapping[int, tuple[float, float]],
    names: Sequence[str],
    look: tuple[str, int],
    hover: str,
) -> Json:
    colour, size = look
    shown = [(place[number], name) for number, name in zip(numbers, names, strict=True) if number in place]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [x for (x, _), _ in shown],
        "y": [y for (_, y), _ in shown],
        "text": [name for _, name in shown],
        "marker": {"color": colour, "size": size, "line": {"color": "@page", "width": 1.5}},
        "hovertemplate": f"%{{text}}, {hover}<extra></extra>",
    }


def _lines(edges: Sequence[tuple[int, int]], place: Mapping[int, tuple[float, float]]) -> Json:
    ends = [(place[parent], place[born]) for parent, born in edges if parent in place and born in place]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [x for (x0, _), (x1, _) in ends for x in (x0, x1, None)],
        "y": [y for (_, y0), (_, y1) in ends for y in (y0, y1, None)],
        "line": {"color": "@accent-line", "width": 1.2},
        "hoverinfo": "skip",
    }
