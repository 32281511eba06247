"""Charts of a comparison, as a PNG file."""

from collections.abc import Callable, Sequence
from pathlib import Path

from kingyo.core.io.extras import require_extra
from kingyo.errors import KingyoError
from kingyo.views.charts import SERIES, Chart, Rows, Spec, field, layer, layers, legend_of, names, rows, tips
from kingyo.views.compare import CheckpointComparison, ComparisonSums, letter

Value = Callable[[ComparisonSums], float | None]


def check_target(target: Path) -> None:
    """Check that a picture can be drawn into a file; call it before the comparison."""
    if target.suffix.lower() != ".png":
        remedy = "Use a name such as differences.png."
        raise KingyoError("--picture", "a file that ends in .png", str(target), remedy)
    require_extra("--picture", "report")


def draw_png(comparison: CheckpointComparison) -> bytes:
    """Return a PNG of all charts."""
    from kingyo.views.charts.draw import png_of_several

    return png_of_several(charts(comparison), columns=1, title=_title(comparison))


def _title(comparison: CheckpointComparison) -> str:
    models = " · ".join(f"{letter(i)} = {reference}" for i, reference in enumerate(comparison.models))
    return models if comparison.base is None else f"{models} · base = {comparison.base}"


def charts(comparison: CheckpointComparison) -> list[Chart]:
    """Return a chart of each measure by layer."""
    groups = {name.removeprefix("block."): sums for name, sums in comparison.layers.items()}
    found: list[Chart] = []
    for title, values in _measures(comparison).items():
        colours = {name: SERIES[place % len(SERIES)] for place, name in enumerate(values)}
        shown = [
            {"group": group, "name": name, "value": number}
            for group, sums in groups.items()
            for name, value in values.items()
            if (number := value(sums)) is not None
        ]
        spec = _drawn(list(groups), shown, colours) | {"title": title}
        name = f"layer-{len(found)}"
        found.append(Chart(name=name, description=f"{title} by layer.", spec=spec, height=220, width=640))
    return found


def _measures(comparison: CheckpointComparison) -> dict[str, dict[str, Value]]:
    """Return title -> letters of a model or pair -> function that returns its value in a group."""

    def of_models(value: Callable[[ComparisonSums, int], float | None]) -> dict[str, Value]:
        return {letter(i): lambda sums, i=i: value(sums, i) for i in range(len(comparison.models))}

    def of_pairs(value: Callable[[ComparisonSums, int, int], float | None]) -> dict[str, Value]:
        pairs = comparison.total.pairs()
        return {f"{letter(i)}, {letter(j)}": lambda sums, i=i, j=j: value(sums, i, j) for i, j in pairs}

    if comparison.base is None:
        return {"cosine of weights": of_pairs(ComparisonSums.cosine)}
    return {
        "‖task vector‖ / ‖base‖": of_models(ComparisonSums.change),
        **({"cosine of task vectors": of_pairs(ComparisonSums.cosine)} if len(comparison.models) > 1 else {}),
        "energy of the largest 10%": of_models(ComparisonSums.top_share),
    }


def _drawn(order: Sequence[str], shown: Rows, colours: dict[str, str]) -> Spec:
    x = names("group", order, axis={"labelAngle": -90 if len(order) > 16 else 0, "labelOverlap": True})
    colour = {"field": "name", "type": "nominal", **legend_of(colours, 4)}
    tooltip = tips(("name", "model"), ("group", "layer"), ("value", "value"))
    encoding = {"x": x, "y": field("value"), "color": colour, "tooltip": tooltip}
    return layers("layer", None, [layer("line", encoding, point=True)], data=rows(shown))
