"""Charts of models side by side, and of one model's genes and path."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from kingyo.core.io.units import counted
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
from kingyo.views.results.genes import Matrix, NamedPath, mean_text
from kingyo.views.results.trials import MINUS, SHARES, percent
from kingyo.views.run_data import Bar

FILLS = {"bred": ACCENT, "baseline": GREY, "control": "var(--grey-light)"}
ROOM = 56  # pixels for the number behind the longest bar
ROW, COLUMN = 14, 14  # pixels of a layer, and of a hop, at least
MANY = 24  # rows, beyond which they are lower


def score_chart(bars: Sequence[Bar], split: str, sizes: str, note: str) -> Chart:
    """Draw the scores of all models with their intervals, one bar each; ``sizes`` says on how many items."""
    shown = [
        {
            "name": bar.name,
            "fill": FILLS[bar.role],
            "score": 100 * bar.score.score,
            "low": 100 * bar.score.low,
            "high": 100 * bar.score.high,
            "n": bar.score.size,
            "text": percent(bar.score.score),
        }
        for bar in bars
    ]
    y, ends = names("name", [bar.name for bar in bars]), scale(0, 100)
    x = field("score", scale=ends, axis={"values": [0, 25, 50, 75, 100]})
    tooltip = tips(("name", "model"), ("text", "value"), ("low", "from"), ("high", "to"), ("n", "n"))
    look = {"x": x, "y": y, "color": literal_colour("fill"), "tooltip": tooltip}
    drawn = [
        layer("bar", look, height={"band": 0.62}),
        layer("rule", {"x": field("low", scale=ends), "x2": {"field": "high"}, "y": y}, strokeWidth=1.5),
        layer("text", {"x": field("high"), "y": y, "text": {"field": "text"}}, align="left", dx=6),
    ]
    description = "; ".join(f"{bar.name} {SHARES.bounded(bar.score)}" for bar in bars)
    return Chart(
        name="bars",
        description=f"Scores on {split}, with 95% intervals: {description}.",
        note=note,
        spec=layers(f"score on {split} in %, {sizes}, 95% intervals", None, drawn, data=rows(shown)),
        height=34 * len(bars) + 60,
        right=ROOM,
    )


def gene_chart(matrix: Matrix) -> Chart:
    """Draw the genes of one parameter: sources by groups of layers."""
    reach = max(abs(matrix.low), abs(matrix.high)) or 1.0
    shown = [
        {
            "source": source,
            "group": group.removeprefix("block."),
            "values": mean_text(genes),
            "gene": (gene := fmean(genes)),
            "text": f"{gene:.2f}".replace("-", MINUS),
            "fill": ACCENT if gene >= 0 else "var(--blue)",
            "strength": 0.75 * abs(gene) / reach,
        }
        for (source, group), genes in matrix.genes.items()
    ]
    step = 14 if len(matrix.groups) > MANY else 26
    note = f"Searched between {matrix.low:g} and {matrix.high:g}.".replace("-", MINUS)
    means = ", ".join(f"{source} {mean}" for source, mean in matrix.means.items())
    note += f" Rows are groups of layers; a number is a block. Mean (lowest to highest): {means}."
    texts = "; ".join(f"{row['source']} {row['group']} {row['text']}" for row in shown)
    return Chart(
        name=f"genes-{''.join(each if each.isalnum() else '-' for each in matrix.parameter)}",
        description=f"{matrix.parameter} of the bred model: {texts}.",
        title=matrix.parameter,
        note=note,
        spec=_map(matrix, shown),
        height=step * len(matrix.groups) + 60,
    )


def _map(matrix: Matrix, shown: Rows) -> Spec:
    is_wide = sum(len(source) for source in matrix.sources) > 32
    x = names("source", matrix.sources, axis={"orient": "top", "labelAngle": -90 if is_wide else 0})
    y = names("group", [group.removeprefix("block.") for group in matrix.groups], axis={"labelOverlap": True})
    cells = {
        "x": x,
        "y": y,
        "fill": literal_colour("fill"),
        "fillOpacity": field("strength", scale=None),
        "tooltip": tips(("source", "source"), ("group", "layers"), ("values", matrix.parameter)),
    }
    text = layer("text", {"x": x, "y": y, "text": {"field": "text"}}, fontSize=11)
    numbers = [text] if len(matrix.groups) <= MANY and len(matrix.sources) <= 8 else []
    return layers(None, None, [layer("rect", cells, stroke="var(--rule)"), *numbers], data=rows(shown))


def path_chart(path: NamedPath) -> Chart:
    """Draw a path: hops across, layers up, the last on top; scales as colour."""
    order, hops, steps = list(_places(path)), len(path.steps), list(_steps(path))
    x = field("hop", scale=scale(-0.6, hops + 1.6), axis={"grid": False, "tickMinStep": 1})
    labels = {"labelOverlap": True, "labelFontSize": 11}
    y = names("place", order, scale={"domain": order}, axis=labels)
    ends = [
        {"hop": 0, "place": f"{path.embeddings} embeddings"},
        {"hop": hops + 1, "place": f"{path.head} norm, head"},
    ]
    marks = {
        "x": field("hop"),
        "y": field("place", "nominal"),
        "stroke": literal_colour("edge"),
        "fill": literal_colour("fill"),
        "fillOpacity": field("strength", scale=None),
        "shape": literal_colour("shape"),
        "tooltip": tips(("hop", "hop"), ("place", "layer"), ("scale", "scale"), ("time", "pass")),
    }
    line = [ends[0], *steps, ends[1]]
    drawn = [
        layer("line", {"x": x, "y": y, "order": field("hop")}, data=rows(line), color=GREY, strokeWidth=1.4),
        layer("point", {"x": x, "y": y}, data=rows(ends), filled=True, color=INK, opacity=1, size=55),
        layer("point", marks, data=rows(steps), size=70, strokeWidth=1.4, opacity=1),
    ]
    return Chart(
        name="path",
        description=f"The path of {counted(hops, 'hop')}, {path.line}; {path.ends}.",
        note="Each mark is a hop, from left to right; its height is the layer. Fill: the scale of the stream "
        "that enters the layer, if any differs from 1, blue below and red above. A diamond passes a layer "
        "again.",
        spec=layers("hop", None, drawn),
        height=ROW * len(order) + 50,
        min_width=120 + COLUMN * (hops + 2),
    )


def _places(path: NamedPath) -> Iterator[str]:
    for source, n in path.layers.items():
        if source == path.head:
            yield f"{source} norm, head"
        yield from (f"{source} {k}" for k in reversed(range(n)))
        if source == path.embeddings:
            yield f"{source} embeddings"


def _steps(path: NamedPath) -> Iterator[Mapping[str, object]]:
    colours = {source: SOURCES[number % len(SOURCES)] for number, source in enumerate(path.layers)}
    reach = max((abs(math.log2(step.scale)) for step in path.steps), default=0.0)
    for number, step in enumerate(path.steps):
        power = math.log2(step.scale)
        scaled = ACCENT if power > 0 else "var(--blue)"
        yield {
            "hop": number + 1,
            "place": f"{step.model} {step.layer}",
            "edge": colours[step.model],
            "fill": scaled if reach else colours[step.model],
            "strength": abs(power) / reach if reach else 0.9,
            "shape": "square" if step.time == 1 else "diamond",
            "scale": f"×{step.scale:.3g}",
            "time": step.time,
        }
