"""Paths through layers: the child's, hop by hop, and how many paths of the search pass each layer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from kingyo.core.io.units import counted
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.store import RunStore
from kingyo.views.charts import (
    ACCENT,
    GREY,
    INK,
    SOURCES,
    Chart,
    Rows,
    Spec,
    field,
    layer,
    layers,
    literal_colour,
    names,
    rows,
    scale,
    tips,
)
from kingyo.views.history import Point, SearchHistory
from kingyo.views.results.genes import NamedPath, PathStep, read_run_layers, with_passed_layers

MAX_GROUPS = 30  # columns of the chart of a search
MIN_TRIALS = 8  # of a group: the share of fewer says little
ROW, COLUMN = 14, 14  # pixels of a layer, and of a hop or group, at least
_PATH_NOTE = (
    "Each mark is a hop, from left to right; its height is the layer. Fill: the scale of the stream that "
    "enters the layer, if any differs from 1, blue below and red above. A diamond passes a layer again."
)


@dataclass(frozen=True, kw_only=True)
class TrialGroup:
    """Trials that follow one another."""

    first: int
    last: int
    n: int
    passing: Mapping[tuple[str, int], int]


@dataclass(frozen=True, kw_only=True)
class Routes:
    """The paths of a run."""

    path: NamedPath | None
    layers: Mapping[str, int]
    groups: tuple[TrialGroup, ...]


def read_routes(store: RunStore, main: SearchHistory | None, path: NamedPath | None) -> Routes | None:
    """Read the paths of a run's main search; None where no recipe has one. ``path`` is the child's."""
    atlas = read_run_layers(store)
    points = [point for point in (main.points if main else ()) if '"path"' in point.trial.recipe]  # cheap
    pairs = [(point, atlas.read(read_recipe(point.trial))) for point in points]
    paths = [(point, each.steps) for point, each in pairs if each is not None]
    steps = [step for _, own in paths for step in own] + [*(path.steps if path else ())]
    if not steps:
        return None
    n = max(1, min(MAX_GROUPS, len(paths) // MIN_TRIALS))
    borders = [round(i * len(paths) / n) for i in range(n + 1)]
    return Routes(
        path=path,
        layers=with_passed_layers(atlas.layers, steps),
        groups=tuple(_group(paths[first:end]) for first, end in pairwise(borders) if end > first),
    )


def _group(paths: Sequence[tuple[Point, tuple[PathStep, ...]]]) -> TrialGroup:
    passing = Counter(place for _, steps in paths for place in {(step.source, step.layer) for step in steps})
    return TrialGroup(first=paths[0][0].number, last=paths[-1][0].number, n=len(paths), passing=passing)


def path_chart(path: NamedPath) -> Chart:
    """Draw a path: hops across, layers up, the last on top; scales as colour."""
    order = list(_places(path.layers, path))
    hops = len(path.steps)
    x = field("hop", scale=scale(-0.6, hops + 1.6), axis={"grid": False, "tickMinStep": 1})
    y = _rows_of(order)
    ends = [
        {"hop": 0, "place": f"{path.embeddings} embeddings"},
        {"hop": hops + 1, "place": f"{path.head} norm, head"},
    ]
    steps = list(_steps(path))
    line = [ends[0], *steps, ends[1]]
    drawn = [
        layer("line", {"x": x, "y": y, "order": field("hop")}, data=rows(line), color=GREY, strokeWidth=1.4),
        layer("point", {"x": x, "y": y}, data=rows(ends), filled=True, color=INK, opacity=1, size=55),
        _marks(steps),
    ]
    return Chart(
        name="path",
        description=f"The path of {path}.",
        note=_PATH_NOTE,
        spec=layers("hop", None, drawn),
        height=ROW * len(order) + 50,
        min_width=120 + COLUMN * (hops + 2),
    )


def usage_chart(routes: Routes, child: str) -> Chart:
    """Draw how many paths of each group pass each layer: groups across, layers up."""
    order = list(_places(routes.layers, None))
    columns = [str(group.first) for group in routes.groups] + ([child] if routes.path else [])
    x, y = names("group", columns, axis={"labelAngle": 0, "labelOverlap": True}), _rows_of(order)
    shown = [row for group in routes.groups for row in _shares(group, routes.layers)]
    tooltip = tips(("place", "layer"), ("title", "paths"), ("text", "passed by"))
    share = {"field": "share", "type": "quantitative", "scale": None}
    cells = {"x": x, "y": y, "fillOpacity": share, "tooltip": tooltip}
    places = dict.fromkeys(_place(step) for step in (routes.path.steps if routes.path else ()))
    own = [{"group": child, "place": place} for place in places]
    look: Spec = {"shape": "square", "filled": True, "color": INK, "opacity": 1, "size": 50}
    drawn = [
        layer("rect", cells, data=rows(shown), fill=ACCENT, stroke="var(--page)"),
        layer("point", {"x": x, "y": y}, data=rows(own), **look),
    ]
    return Chart(
        name="path-layers",
        description=f"Share of paths that pass a layer, by {counted(len(routes.groups), 'group')} of trials.",
        title="Which layers the search came to",
        note="The share of paths that pass a layer at least once, by groups of trials in their order, as the "
        f"strength of the colour.{f' At the right: the layers of “{child}”.' if routes.path else ''}",
        spec=layers("trials from", None, drawn),
        height=ROW * len(order) + 50,
        min_width=120 + COLUMN * len(columns),
    )


def _places(layers: Mapping[str, int], path: NamedPath | None) -> Iterator[str]:
    for source, n in layers.items():
        if path is not None and source == path.head:
            yield f"{source} norm, head"
        yield from (f"{source} {k}" for k in reversed(range(n)))
        if path is not None and source == path.embeddings:
            yield f"{source} embeddings"


def _place(step: PathStep) -> str:
    return f"{step.source} {step.layer}"


def _rows_of(order: Sequence[str]) -> Spec:
    return names(
        "place", order, scale={"domain": list(order)}, axis={"labelOverlap": True, "labelFontSize": 11}
    )


def _steps(path: NamedPath) -> Iterator[dict[str, object]]:
    colours = {source: SOURCES[number % len(SOURCES)] for number, source in enumerate(path.layers)}
    reach = max((abs(math.log2(step.scale)) for step in path.steps), default=0.0)
    for number, step in enumerate(path.steps):
        power = math.log2(step.scale)
        scaled = ACCENT if power > 0 else "var(--blue)"
        yield {
            "hop": number + 1,
            "place": _place(step),
            "edge": colours[step.source],
            "fill": scaled if reach else colours[step.source],
            "strength": abs(power) / reach if reach else 0.9,
            "shape": "square" if step.time == 1 else "diamond",
            "scale": f"×{step.scale:.3g}",
            "cumulative": f"×{step.cumulative:.3g}",
            "time": step.time,
        }


def _marks(steps: Rows) -> Spec:
    tooltip = tips(
        ("hop", "hop"), ("place", "layer"), ("scale", "scale"), ("cumulative", "product"), ("time", "pass")
    )
    encoding = {
        "x": field("hop"),
        "y": field("place", "nominal"),
        "stroke": literal_colour("edge"),
        "fill": literal_colour("fill"),
        "fillOpacity": {"field": "strength", "type": "quantitative", "scale": None},
        "shape": literal_colour("shape"),
        "tooltip": tooltip,
    }
    return layer("point", encoding, data=rows(steps), size=70, strokeWidth=1.4, opacity=1)


def _shares(group: TrialGroup, layers: Mapping[str, int]) -> Iterator[dict[str, object]]:
    for source, n in layers.items():
        for k in range(n):
            passing = group.passing.get((source, k), 0)
            yield {
                "group": str(group.first),
                "place": f"{source} {k}",
                "title": f"trials {group.first} to {group.last}",
                "share": passing / group.n,
                "text": f"{passing} of {group.n}",
            }
