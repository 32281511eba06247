"""A comparison as charts, by layer and by kind: a PNG, or a page that needs no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kingyo.charts import Chart, Rows, Spec, require
from kingyo.charts.colours import SERIES
from kingyo.charts.marks import field, layer, layers, legend_of, names, rows, tips
from kingyo.compare.comparison_sums import CheckpointComparison, ComparisonSums
from kingyo.compare.method_advice import advise, letter
from kingyo.errors import KingyoError

Value = Callable[[ComparisonSums], float | None]


def drawer(target: Path) -> Callable[[CheckpointComparison], bytes]:
    """Return what draws a file of this name, before anything is compared.

    Raises:
        KingyoError: the name ends neither in .png nor in .html, or the extra is not installed.
    """
    known = {".png": draw_png, ".html": draw_page}
    if target.suffix.lower() not in known:
        raise KingyoError(
            "--picture",
            expected="a file that ends in .png or .html",
            received=str(target),
            remedy="Name it such as differences.png.",
        )
    require("--picture")
    return known[target.suffix.lower()]


def draw_png(found: CheckpointComparison) -> bytes:
    """Draw all charts below one another: layers to the left, kinds to the right."""
    from kingyo.charts.draw import png_of_several

    return png_of_several(charts(found), columns=2, title=_title(found))


def draw_page(found: CheckpointComparison) -> bytes:
    """Write all charts as one HTML file."""
    from kingyo.charts.page import render

    context: dict[str, object] = {
        "title": "kingyo diff",
        "name": "diff",
        "datasets": {},
        "lines": (_title(found), *found.notes, *advise(found)),
        "charts": charts(found),
    }
    return render("charts", "charts", context)


def _title(found: CheckpointComparison) -> str:
    models = " · ".join(f"{letter(i)} = {reference}" for i, reference in enumerate(found.models))
    return models if found.base is None else f"{models} · base = {found.base}"


def charts(found: CheckpointComparison) -> list[Chart]:
    """Return two charts for each measure: by layer, and by kind of tensor."""
    return [
        chart
        for number, (title, values) in enumerate(_measures(found).items())
        for chart in _charts(found, number, title, values)
    ]


def _measures(found: CheckpointComparison) -> dict[str, dict[str, Value]]:
    """Return title -> model or pair of models, by their letters -> its value in a group of tensors."""
    if found.base is None:
        return {
            "‖difference‖ / ‖first‖": _of_pairs(found, lambda sums, i, j: sums.relative(j, i)),
            "cosine of weights": _of_pairs(found, ComparisonSums.cosine),
        }
    shared = {
        "cosine of task vectors": _of_pairs(found, ComparisonSums.delta_cosine),
        "opposite signs, by magnitude": _of_pairs(found, ComparisonSums.weighted_conflict),
    }
    return {
        "‖task vector‖ / ‖base‖": _of_models(found, ComparisonSums.change),
        **(shared if len(found.models) > 1 else {}),
        "energy of the largest 10 %": _of_models(found, ComparisonSums.top_share),
    }


def _of_models(
    found: CheckpointComparison, value: Callable[[ComparisonSums, int], float | None]
) -> dict[str, Value]:
    return {letter(i): lambda sums, i=i: value(sums, i) for i in range(len(found.models))}


def _of_pairs(
    found: CheckpointComparison, value: Callable[[ComparisonSums, int, int], float | None]
) -> dict[str, Value]:
    pairs = found.total.pairs()
    return {f"{letter(i)}, {letter(j)}": lambda sums, i=i, j=j: value(sums, i, j) for i, j in pairs}


def _charts(found: CheckpointComparison, number: int, title: str, values: dict[str, Value]) -> list[Chart]:
    colours = {name: SERIES[place % len(SERIES)] for place, name in enumerate(values)}
    groups = {
        "layer": {name.removeprefix("block."): sums for name, sums in found.layers.items()},
        "kind": found.kinds,
    }
    return [
        Chart(
            name=f"{what}-{number}",
            description=f"{title} by {what}.",
            spec=_drawn(what, list(own), _rows(own, values), colours) | {"title": title},
            height=220,
            width=640 if what == "layer" else 300,
        )
        for what, own in groups.items()
    ]


def _rows(groups: Mapping[str, ComparisonSums], values: Mapping[str, Value]) -> Rows:
    """Return one row for each group and series that has a value."""
    return [
        {"group": group, "name": name, "value": number}
        for group, sums in groups.items()
        for name, value in values.items()
        if (number := value(sums)) is not None
    ]


def _drawn(what: str, order: Sequence[str], shown: Rows, colours: dict[str, str]) -> Spec:
    x = names("group", order, axis={"labelAngle": -90 if len(order) > 16 else 0, "labelOverlap": True})
    colour = {"field": "name", "type": "nominal", **legend_of(colours, 4)}
    tooltip = tips(("name", "model"), ("group", what), ("value", "value"))
    encoding = {"x": x, "y": field("value"), "color": colour, "tooltip": tooltip}
    if what == "kind":
        bars = encoding | {"xOffset": {"field": "name", "sort": list(colours)}}
        return layers(what, None, [layer("bar", bars)], data=rows(shown))
    return layers(what, None, [layer("line", encoding, point=True)], data=rows(shown))
