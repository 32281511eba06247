"""Charts over the trials of a search: its progress, genes, descent and front; most share ``trial_rows``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from kingyo.core.io.units import counted
from kingyo.search.evolution import FrontPoint
from kingyo.search.evolution.objectives import has_item_scores, is_share
from kingyo.views.charts import (
    ACCENT,
    INK,
    MUTED,
    Chart,
    Rows,
    Spec,
    field,
    layer,
    layers,
    legend_of,
    line_among,
    rows,
    scale,
    tips,
)
from kingyo.views.results.genes import SHOWN
from kingyo.views.results.summary import BRED
from kingyo.views.results.trials import describe_search
from kingyo.views.run_data import Family, RunData, SearchHistory

BEATEN, FRONT, KNEE, RIVAL = "beaten", "front", "knee", "parent or control"
COLOURS = {BEATEN: MUTED, FRONT: INK, KNEE: ACCENT, RIVAL: "var(--blue)"}
TRIALS: Spec = {"name": "trials"}
CLOSE = 0.06  # of scores, within which lines share a label
CHOICES = 40  # genes to choose from in the chart of two genes
TRIAL, LEARNED, MEASURED, BEST = "trial", "learned", "its measured mean", "best so far"
SOLID = (1, 0)
CONTROLS = (("var(--blue)", (6, 4)), ("var(--ochre)", (8, 3, 2, 3)), ("var(--green)", (2, 3)))
Looks = Mapping[str, tuple[str, Sequence[int]]]
"""Name of a line -> its colour and dashes."""
POINT: Spec = {"filled": True, "size": 28, "opacity": 0.4}


def trial_rows(data: RunData) -> list[dict[str, object]]:
    """Return one row for each trial of the main search that was scored; ``g`` are its genes by importance."""
    if data.main is None:
        return []
    unit, child = data.summary.unit, None if data.summary.child is None else data.summary.child.trial.id
    return [
        {
            "trial": point.number,
            **({} if point.lesson is None else {"lesson": point.lesson}),
            "score": unit.factor * score,
            "text": unit.text(score),
            "n": point.n,
            "raw": unit.factor * point.raw if point.is_partial and point.raw is not None else None,
            "bred": point.trial.id == child,
            "g": [gene.value(point.trial.asked.genome) for gene in data.genes[:CHOICES]],
        }
        for point, score in data.main.scored
    ]


def progress_chart(data: RunData, main: SearchHistory, note: str) -> Chart:
    """Draw each trial, the best so far and controls, and baselines as lines."""
    estimated = any(point.is_partial for point in main.points)
    controls = {describe_search(history.name): history for history in data.controls.values()}
    looks: Looks = {
        **({MEASURED: (INK, SOLID)} if estimated else {}),
        BEST: (ACCENT, SOLID),
        **dict(zip(controls, CONTROLS, strict=False)),
    }
    lines = [_best(main, BEST, looks, 2.6)]
    lines += [_best(history, name, looks, 1.8) for name, history in controls.items() if name in looks]
    drawn = [
        _points(data),
        *_learned(data, main),
        *([_measured(looks)] if estimated else []),
        *_band(main),
        *lines,
        *_baselines(data, main),
    ]
    best = f"; the best is {main.text(main.records[-1])}" if main.records else ""
    return Chart(
        name="progress",
        description=f"Scores of {counted(len(main.points), 'trial')} on fit{best}.",
        note=note,
        spec=layers("trial", data.summary.unit.axis, drawn),
        height=400,
    )


def _points(data: RunData) -> Spec:
    score = _score(data)
    tooltip = tips(("trial", "trial"), ("text", data.summary.unit.title), ("n", "items"))
    colour = {"datum": TRIAL, **legend_of(_colours(data))}
    x = field("trial", axis={"grid": False, "tickMinStep": 1})
    return layer("point", {"x": x, "y": score, "fill": colour, "tooltip": tooltip}, data=TRIALS, **POINT)


def _colours(data: RunData) -> dict[str, str]:
    learned = data.main is not None and data.main.learned
    return {TRIAL: MUTED, **({LEARNED: "var(--violet)"} if learned else {})}


def _learned(data: RunData, main: SearchHistory) -> Iterator[Spec]:
    if not main.learned:
        return
    tooltip = tips(("trial", "trial"), ("lesson", "how"), ("text", data.summary.unit.title), ("n", "items"))
    colour = {"datum": LEARNED, **legend_of(_colours(data))}
    encoding = {"x": field("trial"), "y": _score(data), "fill": colour, "tooltip": tooltip}
    look: Spec = {"shape": "triangle-up", "size": 90, "filled": True, "opacity": 1}
    yield layer("point", encoding, data=TRIALS, transform=[{"filter": "datum.lesson"}], **look)


def _score(data: RunData) -> Spec:
    if data.main is None or data.summary.unit.measure is not None:
        return field("score", scale={"zero": False})
    scores = [each or 0.0 for point in data.main.points for each in (point.score, point.raw)]
    tops = [each.score for name in data.models if (each := data.on_fit(name)) is not None]
    tops += [record.score for history in data.controls.values() for record in history.records]
    ends = [fit.high for fit in data.main.measured_records]
    return field("score", scale=scale(0, min(104.0, 112 * max([0.05, *scores, *tops, *ends]))))


def _measured(looks: Looks) -> Spec:
    encoding = {"x": field("trial"), "y": field("raw"), **line_among(looks, MEASURED)}
    is_known = [{"filter": "datum.raw !== null"}]
    look: Spec = {"size": 7, "thickness": 1.4, "orient": "horizontal", "fill": INK, "strokeWidth": 0}
    return layer("tick", encoding, data=TRIALS, transform=is_known, **look)


def _best(history: SearchHistory, name: str, looks: Looks, width: float) -> Spec:
    factor = history.unit.factor
    steps: list[dict[str, object]] = [
        {"trial": each.point.number, "score": factor * each.score, "text": history.text(each), "from": name}
        for each in history.records
    ]
    if steps:
        steps.append({**steps[-1], "trial": history.points[-1].number})
    tooltip = tips(("from", "search"), ("trial", "trial"), ("text", BEST))
    encoding = {"x": field("trial"), "y": field("score"), **line_among(looks, name), "tooltip": tooltip}
    return layer("line", encoding, data=rows(steps), interpolate="step-after", strokeWidth=width)


def _band(main: SearchHistory) -> Iterator[Spec]:
    fits = main.measured_records
    if not fits:
        return
    factor = main.unit.factor
    numbers = [record.point.number for record in main.records]
    band = [
        {"trial": number, "low": factor * fit.low, "high": factor * fit.high}
        for number, fit in zip([*numbers, main.points[-1].number], [*fits, fits[-1]], strict=True)
    ]
    encoding = {"x": field("trial"), "y": field("low"), "y2": {"field": "high"}, "color": {"value": ACCENT}}
    yield layer("area", encoding, data=rows(band), interpolate="step-after", opacity=0.13)


def _baselines(data: RunData, main: SearchHistory) -> Iterator[Spec]:
    """Yield lines for base, uniform and the best parent, with names above; close lines share a label."""
    factor, best = main.unit.factor, data.summary.best_parent()
    shown = {"base", "uniform", best.name if best else ""} & set(data.summary.baselines)
    known = sorted((each.score, name) for name in shown if (each := data.on_fit(name)))
    labels: dict[float, list[str]] = {}
    for score, name in known:
        text = f"{name} {'' if data.models[name].estimate is None else '≈ '}{main.unit.text(score)}"
        lower = next((height for height in labels if score - height < CLOSE), None)
        labels[score] = [*labels.pop(lower, []), text] if lower is not None else [text]
    look: Spec = {"align": "right", "baseline": "bottom", "dy": -3, "color": MUTED, "fontSize": 11}
    lines = [{"score": factor * score} for score, _ in known]
    texts = [{"score": factor * score, "text": ", ".join(own)} for score, own in labels.items()]
    yield layer("rule", {"y": field("score")}, data=rows(lines), color=MUTED, strokeDash=[2, 3])
    encoding = {"x": {"value": "width"}, "y": field("score"), "text": {"field": "text"}}
    yield layer("text", encoding, data=rows(texts), **look)


def slice_charts(data: RunData) -> Iterator[Chart]:
    """Draw the score by one gene, for each of the most important genes."""
    y = {**_score(data), "axis": {"tickCount": 4}}
    for place, gene in enumerate(data.genes[:SHOWN]):
        x = field(f"g[{place}]", scale=scale(gene.low, gene.high), axis={"tickCount": 4})
        yield Chart(
            name=f"slice-{place + 1}",
            description=f"Scores of trials on fit by their gene {gene.name}.",
            title=gene.name,
            spec=layers(None, None, [_trials(x, y), _child(x, y)], data=TRIALS),
            height=170,
            width=360,
        )


def _trials(x: Spec, y: Spec, **more: object) -> Spec:
    tooltip = tips(("trial", "trial"), ("text", "score"), ("n", "items"))
    return layer("point", {"x": x, "y": y, "tooltip": tooltip, **more}, **{**POINT, "color": INK})


def _child(x: Spec, y: Spec) -> Spec:
    look: Spec = {"shape": "diamond", "size": 150, "filled": True, "color": ACCENT, "opacity": 1}
    return layer("point", {"x": x, "y": y}, transform=[{"filter": "datum.bred"}], **look)


def pair_chart(data: RunData) -> Chart:
    """Draw two genes against each other, the score as opacity; a page lets its reader choose the genes."""
    genes = data.genes[:CHOICES]
    options = {"options": list(range(len(genes))), "labels": [gene.name for gene in genes]}
    chosen = [
        {"name": name, "value": value, "bind": {"input": "select", "name": name, **options}}
        for name, value in (("across", 0), ("up", 1))
    ]
    at = [{"calculate": f"datum.g[{name}]", "as": name} for name in ("across", "up")]
    x, y = (field(name, scale={"zero": False}) for name in ("across", "up"))
    shade = field("score", title=data.summary.unit.axis, scale={"range": [0.08, 1]})
    shade["legend"] = {
        "orient": "top",
        "symbolType": "circle",
        "symbolFillColor": INK,
        "symbolStrokeWidth": 0,
    }
    return Chart(
        name="pair",
        description=f"Trials by two genes, such as {genes[0].name} and {genes[1].name}: the better a trial, "
        "the stronger its point.",
        title="Two genes at once",
        note="Choose the genes below the chart. The better a trial, the stronger its point.",
        spec=layers(
            None, None, [_trials(x, y, opacity=shade), _child(x, y)], params=chosen, data=TRIALS, transform=at
        ),
        height=360,
    )


def family_chart(data: RunData, family: Family) -> Chart:
    """Draw the child, its ancestors and the lines from parent to child, on the plane of the search."""
    assert data.main is not None, "a family is of the main search"
    places = {
        point.number: {
            "trial": point.number,
            "name": point.name,
            "score": data.summary.unit.factor * score,
        }
        for point, score in data.main.scored
    }
    edges = [
        {**places[parent], "to": places[child]["trial"], "height": places[child]["score"]}
        for parent, child in family.edges
        if parent in places and child in places
    ]
    members = [places[number] for number in family.members if number in places]
    x, y = field("trial"), _score(data)
    encoding = {"x": x, "y": y, "tooltip": tips(("name", "trial"))}
    ancestors = layer("point", encoding, data=rows(members), filled=True, opacity=1, size=55, color=INK)
    child = {**_child(x, y), "data": TRIALS}
    ends = {"x": field("trial"), "y": field("score"), "x2": {"field": "to"}, "y2": {"field": "height"}}
    lines = layer("rule", ends, data=rows(edges), color=ACCENT, opacity=0.45)
    drawn = [_points(data), lines, ancestors, *_learned(data, data.main), child]
    return Chart(
        name="family",
        description=f"Trial {family.child} and its {len(family.members) - 1} ancestors among all trials.",
        spec=layers("trial", data.summary.unit.axis, drawn),
        height=340,
    )


def front_charts(data: RunData) -> Iterator[Chart]:
    """Draw the front: one chart for each two objectives."""
    for pair in combinations(range(len(data.summary.objectives)), 2):
        yield _front_chart(data, pair)


def _front_chart(data: RunData, pair: tuple[int, int]) -> Chart:
    front, winner = data.summary.front, data.summary.winner
    objectives = [data.summary.objectives[place] for place in pair]
    across, up = (_title(objective) for objective in objectives)
    scales = [100.0 if is_share(objective) else 1.0 for objective in objectives]

    def known(name: str, values: Sequence[float | None]) -> dict[str, Any]:
        own = [(key, by, values[place]) for key, by, place in zip("xy", scales, pair, strict=True)]
        return {"name": name, **{key: by * value for key, by, value in own if value is not None}}

    def at(points: Iterable[FrontPoint]) -> Rows:
        return [known(f"trial {point.trial.asked.number}", point.objectives) for point in points]

    def marks(name: str, shown: Rows, **look: object) -> Spec:
        x, y = (field(key, scale={"zero": False}) for key in "xy")
        colour = {"datum": name, **legend_of(COLOURS)}
        encoding = {
            "x": x,
            "y": y,
            "color": colour,
            "tooltip": tips(("name", name), ("x", across), ("y", up)),
        }
        return layer("point", encoding, data=rows(shown), **{"filled": True, "opacity": 1, **look})

    # the bred model has a ring: validation picked it, so it need not be the knee on fit
    ring = {"x": field("x"), "y": field("y"), "tooltip": tips(("name", BRED))}
    bred = at(p for p in front.points if winner is not None and p.trial.id == winner.trial.id)
    rivals = [known(name, values) for name, values in data.rivals.items()]
    complete = [each for each in rivals if "x" in each and "y" in each]
    label = {"x": field("x"), "y": field("y"), "text": {"field": "name"}}
    best = data.summary.best_parent()
    lines = [
        each for each in rivals if len(each) == 2 and each["name"] in ("uniform", best.name if best else "")
    ]
    drawn = [
        marks(BEATEN, at(front.beaten), size=24, opacity=0.45),
        marks(FRONT, at(point for point in front.points if point is not front.knee), size=60),
        marks(KNEE, at(p for p in front.points if p is front.knee), size=170, shape="diamond"),
        layer("point", ring, data=rows(bred), color=ACCENT, size=420, strokeWidth=2, filled=False),
        marks(RIVAL, complete, size=60, shape="square"),
        layer("text", label, data=rows(complete), fontSize=11, color="var(--blue)", dy=-10),
        *(spec for each in lines for spec in _line(each)),
    ]
    return Chart(
        name=f"front-{pair[0]}-{pair[1]}",
        description=f"{across} and {up}: {counted(len(front.points), 'trial')} of the front "
        f"and {counted(len(front.beaten), 'beaten one')}; the table below holds the numbers.",
        spec=layers(across, up, drawn),
        height=360,
        width=520,
    )


def _title(objective: str) -> str:
    if not is_share(objective):
        return objective
    return f"{objective}, score on fit in %" if has_item_scores(objective) else f"{objective} in %"


def _line(known: Mapping[str, object]) -> Iterator[Spec]:
    """Yield a line for a model of which one of the two objectives is known, and its name."""
    key = "x" if "x" in known else "y"
    look: Spec = {"color": "var(--blue)", "opacity": 0.8}
    yield layer("rule", {key: field(key)}, data=rows([known]), strokeDash=[3, 3], **look)
    end: Spec = {"y": {"value": 0}} if key == "x" else {"x": {"value": "width"}}
    place: Spec = {"align": "left", "dx": 3, "dy": 8} if key == "x" else {"align": "right", "dy": -6}
    encoding = {key: field(key), "text": {"field": "name"}, **end}
    yield layer("text", encoding, data=rows([known]), fontSize=11, **place, **look)
