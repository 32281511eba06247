"""Charts of models side by side, of the importance of genes, and of one model's genes and path."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from kingyo.core.io.units import counted
from kingyo.stats import Interval
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
from kingyo.views.results.genes import Gene, Matrix, NamedPath, mean_text
from kingyo.views.results.trials import MINUS, SHARES, percent
from kingyo.views.run_data import Bar

FILLS = {"bred": ACCENT, "baseline": GREY, "control": "var(--grey-light)"}
ROOM = 56  # pixels for the number behind the longest bar
MAX_GENES = 12  # of the chart of importance
ROW, COLUMN = 14, 14  # pixels of a layer, and of a hop, at least
MANY = 24  # rows, beyond which they are lower


def score_chart(bars: Sequence[Bar], split: str, sizes: str, note: str) -> Chart:
    """Draw the scores of all models with their intervals, one bar each; ``sizes`` says on how many items."""
    shown = [_bar(bar.name, FILLS[bar.role], bar.score, percent(bar.score.score)) for bar in bars]
    description = "; ".join(f"{bar.name} {SHARES.bounded(bar.score)}" for bar in bars)
    return Chart(
        name="bars",
        description=f"Scores on {split}, with 95% intervals: {description}.",
        note=note,
        spec=_bars(shown, f"score on {split} in %, {sizes}, 95% intervals", [0, 25, 50, 75, 100], 100),
        height=34 * len(bars) + 60,
        right=ROOM,
    )


def importance_chart(genes: Sequence[Gene]) -> Chart:
    """Draw how much each gene decided between good and bad trials."""
    known = [(gene.name, gene.importance) for gene in genes if gene.importance is not None][:MAX_GENES]
    shown = [_bar(name, GREY, share, f"{100 * share.score:.0f}%") for name, share in known]
    description = "; ".join(f"{name} {percent(share.score)}" for name, share in known)
    return Chart(
        name="importance",
        description=f"Importance of genes, with 95% intervals: {description}.",
        title="Importance",
        note=f"How far the best quarter of the {known[0][1].n} trials lies from all trials, gene by gene, as "
        "a share of the sum (PED-ANOVA); lines are 95% bootstrap intervals over trials. The search chose "
        "where to look, so read it as a hint.",
        spec=_bars(shown, "importance in %", None, 100 * max(share.high for _, share in known)),
        height=28 * len(shown) + 60,
        right=ROOM,
    )


def _bar(name: str, fill: str, value: Interval, text: str) -> dict[str, object]:
    ends = {"score": 100 * value.score, "low": 100 * value.low, "high": 100 * value.high}
    return {"name": name, "fill": fill, **ends, "n": value.size, "text": text}


def _bars(shown: Rows, title: str, ticks: Sequence[int] | None, top: float) -> Spec:
    """Return horizontal bars with their intervals, and their numbers behind these."""
    y = names("name", [str(row["name"]) for row in shown])
    axis = {"tickCount": 5} if ticks is None else {"values": list(ticks)}
    x = field("score", scale=scale(0, top), axis=axis)
    tooltip = tips(("name", "model"), ("text", "value"), ("low", "from"), ("high", "to"), ("n", "n"))
    bar = layer(
        "bar", {"x": x, "y": y, "color": literal_colour("fill"), "tooltip": tooltip}, height={"band": 0.62}
    )
    low = field("low", scale=scale(0, top))
    line = layer("rule", {"x": low, "x2": {"field": "high"}, "y": y}, strokeWidth=1.5)
    text = layer("text", {"x": field("high"), "y": y, "text": {"field": "text"}}, align="left", dx=6)
    return layers(title, None, [bar, line, text], data=rows(shown))


def gene_chart(matrix: Matrix) -> Chart:
    """Draw the genes of one parameter: bars for one group of layers, else sources by groups."""
    reach = max(abs(matrix.low), abs(matrix.high)) or 1.0
    shown = [
        {
            "source": source,
            "group": group.removeprefix("block."),
            "values": mean_text(genes),
            "gene": (gene := fmean(genes)),
            "end": max(gene, 0.0),
            "text": f"{gene:.2f}".replace("-", MINUS),
            "fill": ACCENT if gene >= 0 else "var(--blue)",
            "strength": 0.75 * abs(gene) / reach,
        }
        for (source, group), genes in matrix.genes.items()
    ]
    is_map = len(matrix.groups) > 1
    step = 14 if len(matrix.groups) > MANY else 26
    note = f"Searched between {matrix.low:g} and {matrix.high:g}.".replace("-", MINUS)
    if is_map:
        means = ", ".join(f"{source} {mean}" for source, mean in matrix.means.items())
        note += f" Rows are groups of layers; a number is a block. Mean (lowest to highest): {means}."
    texts = "; ".join(f"{row['source']} {row['group']} {row['text']}" for row in shown)
    return Chart(
        name=f"genes-{''.join(each if each.isalnum() else '-' for each in matrix.parameter)}",
        description=f"{matrix.parameter} of the bred model: {texts}.",
        title=matrix.parameter,
        note=note,
        spec=_map(matrix, shown) if is_map else _columns(matrix, shown),
        height=step * len(matrix.groups) + 60 if is_map else 30 * len(matrix.sources) + 60,
        right=4 if is_map else ROOM,
    )


def _columns(matrix: Matrix, shown: Rows) -> Spec:
    y = names("source", matrix.sources)
    x = field("gene", scale=scale(min(0.0, matrix.low), max(0.0, matrix.high)))
    bar = layer("bar", {"x": x, "y": y, "color": literal_colour("fill")}, height={"band": 0.55})
    text = layer("text", {"x": field("end"), "y": y, "text": {"field": "text"}}, align="left", dx=6)
    return layers(matrix.parameter, None, [bar, text], data=rows(shown))


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
