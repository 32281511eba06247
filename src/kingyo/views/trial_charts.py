"""Charts over the trials of a search: its progress, genes and front; most share ``trial_rows``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, cycle

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
from kingyo.views.run_data import RunData, SearchHistory

BEATEN, FRONT, KNEE, RIVAL = "beaten", "front", "knee", "parent or control"
COLOURS = {BEATEN: MUTED, FRONT: INK, KNEE: ACCENT, RIVAL: "var(--blue)"}
TRIALS: Spec = {"name": "trials"}
CLOSE = 0.06  # of scores, within which lines share a label
TRIAL, LEARNED, BEST = "trial", "learned", "best so far"
SOLID = (1, 0)
CONTROLS = (("var(--blue)", (6, 4)), ("var(--ochre)", (8, 3, 2, 3)), ("var(--green)", (2, 3)))
Looks = Mapping[str, tuple[str, Sequence[int]]]
"""Name of a line -> its colour and dashes."""
POINT: Spec = {"filled": True, "size": 28, "opacity": 0.4}


def trial_rows(data: RunData) -> list[dict[str, object]]:
    """Return one row for each trial of the main search that was scored; ``g`` are its genes."""
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
            "bred": point.trial.id == child,
            "g": [gene.value(point.trial.asked.genome) for gene in data.genes[:SHOWN]],
        }
        for point, score in data.main.scored
    ]


def progress_chart(data: RunData, main: SearchHistory, note: str) -> Chart:
    """Draw each trial, the best so far and controls, and baselines as lines."""
    rivals = data.rivals_on_fit
    looks: Looks = {BEST: (ACCENT, SOLID), **dict(zip(rivals, cycle(CONTROLS), strict=False))}
    lines = [_best(main, BEST, looks, 2.6)]
    lines += [_best(history, name, looks, 1.8) for name, history in rivals.items()]
    best = f"; the best is {main.best_text}" if main.records else ""
    return Chart(
        name="progress",
        description=f"Scores of {counted(len(main.points), 'trial')} on fit{best}.",
        note=note,
        spec=layers("trial", data.summary.unit.axis, [*_points(data, main), *lines, *_baselines(data, main)]),
        height=400,
    )


def _points(data: RunData, main: SearchHistory) -> Iterator[Spec]:
    x, y = field("trial", axis={"grid": False, "tickMinStep": 1}), _score(data, main)
    title = data.summary.unit.title
    colours = {TRIAL: MUTED, **({LEARNED: "var(--violet)"} if main.learned else {})}
    tooltip = tips(("trial", "trial"), ("text", title), ("n", "items"))
    encoding = {"x": x, "y": y, "fill": {"datum": TRIAL, **legend_of(colours)}, "tooltip": tooltip}
    yield layer("point", encoding, data=TRIALS, **POINT)
    if main.learned:
        tooltip = tips(("trial", "trial"), ("lesson", "how"), ("text", title), ("n", "items"))
        encoding = {**encoding, "fill": {"datum": LEARNED, **legend_of(colours)}, "tooltip": tooltip}
        look: Spec = {"shape": "triangle-up", "size": 90, "filled": True, "opacity": 1}
        yield layer("point", encoding, data=TRIALS, transform=[{"filter": "datum.lesson"}], **look)


def _score(data: RunData, main: SearchHistory) -> Spec:
    if main.unit.measure is not None:
        return field("score", scale={"zero": False})
    scores = [score for history in (main, *data.rivals_on_fit.values()) for _, score in history.scored]
    fits = (model.counts_on("fit") for model in data.summary.named_models.values())
    scores += [fit.score for fit in fits if fit is not None]
    return field("score", scale=scale(0, min(104.0, 112 * max([0.05, *scores]))))


def _best(history: SearchHistory, name: str, looks: Looks, width: float) -> Spec:
    factor = history.unit.factor
    steps: list[dict[str, object]] = [
        {"trial": point.number, "score": factor * score, "text": history.text(point), "from": name}
        for point, score in history.records
    ]
    if steps:
        steps.append({**steps[-1], "trial": history.points[-1].number})
    tooltip = tips(("from", "search"), ("trial", "trial"), ("text", BEST))
    encoding = {"x": field("trial"), "y": field("score"), **line_among(looks, name), "tooltip": tooltip}
    return layer("line", encoding, data=rows(steps), interpolate="step-after", strokeWidth=width)


def _baselines(data: RunData, main: SearchHistory) -> Iterator[Spec]:
    """Yield lines for base, uniform and the best parent, with names above; close lines share a label."""
    factor, best = main.unit.factor, data.summary.best_parent()
    shown = {"base", "uniform", best.name if best else ""} & set(data.summary.baselines)
    fits = {name: data.summary.baselines[name].counts_on("fit") for name in shown}
    known = sorted((fit.score, name) for name, fit in fits.items() if fit is not None)
    labels: dict[float, list[str]] = {}
    for score, name in known:
        text = f"{name} {main.unit.text(score)}"
        lower = next((height for height in labels if score - height < CLOSE), None)
        labels[score] = [*labels.pop(lower, []), text] if lower is not None else [text]
    look: Spec = {"align": "right", "baseline": "bottom", "dy": -3, "color": MUTED, "fontSize": 11}
    lines = [{"score": factor * score} for score, _ in known]
    texts = [{"score": factor * score, "text": ", ".join(own)} for score, own in labels.items()]
    yield layer("rule", {"y": field("score")}, data=rows(lines), color=MUTED, strokeDash=[2, 3])
    encoding = {"x": {"value": "width"}, "y": field("score"), "text": {"field": "text"}}
    yield layer("text", encoding, data=rows(texts), **look)


def slice_charts(data: RunData, main: SearchHistory) -> Iterator[Chart]:
    """Draw the score by one gene, for each of the most important genes."""
    y = {**_score(data, main), "axis": {"tickCount": 4}}
    tooltip = tips(("trial", "trial"), ("text", "score"), ("n", "items"))
    diamond: Spec = {"shape": "diamond", "size": 150, "filled": True, "color": ACCENT, "opacity": 1}
    for place, gene in enumerate(data.genes[:SHOWN]):
        x = field(f"g[{place}]", scale=scale(gene.low, gene.high), axis={"tickCount": 4})
        trials = layer("point", {"x": x, "y": y, "tooltip": tooltip}, **{**POINT, "color": INK})
        child = layer("point", {"x": x, "y": y}, transform=[{"filter": "datum.bred"}], **diamond)
        yield Chart(
            name=f"slice-{place + 1}",
            description=f"Scores of trials on fit by their gene {gene.name}.",
            title=gene.name,
            spec=layers(None, None, [trials, child], data=TRIALS),
            height=170,
            width=360,
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

    def at(points: Iterable[FrontPoint]) -> Rows:
        return [_place(f"trial {each.trial.asked.number}", each.objectives, pair, scales) for each in points]

    def marks(name: str, shown: Rows, **look: object) -> Spec:
        encoding = {
            "x": field("x", scale={"zero": False}),
            "y": field("y", scale={"zero": False}),
            "color": {"datum": name, **legend_of(COLOURS)},
            "tooltip": tips(("name", name), ("x", across), ("y", up)),
        }
        return layer("point", encoding, data=rows(shown), **{"filled": True, "opacity": 1, **look})

    # the bred model has a ring: validation picked it, so it need not be the knee on fit
    ring = {"x": field("x"), "y": field("y"), "tooltip": tips(("name", BRED))}
    bred = at(p for p in front.points if winner is not None and p.trial.id == winner.trial.id)
    rivals = [
        _place(name, values, pair, scales)
        for name, values in data.rivals.items()
        if all(values[place] is not None for place in pair)
    ]
    label = {"x": field("x"), "y": field("y"), "text": {"field": "name"}}
    drawn = [
        marks(BEATEN, at(front.beaten), size=24, opacity=0.45),
        marks(FRONT, at(point for point in front.points if point is not front.knee), size=60),
        marks(KNEE, at(p for p in front.points if p is front.knee), size=170, shape="diamond"),
        layer("point", ring, data=rows(bred), color=ACCENT, size=420, strokeWidth=2, filled=False),
        marks(RIVAL, rivals, size=60, shape="square"),
        layer("text", label, data=rows(rivals), fontSize=11, color="var(--blue)", dy=-10),
    ]
    return Chart(
        name=f"front-{pair[0]}-{pair[1]}",
        description=f"{across} and {up}: {counted(len(front.points), 'trial')} of the front "
        f"and {counted(len(front.beaten), 'beaten one')}; the table below holds the numbers.",
        spec=layers(across, up, drawn),
        height=360,
        width=520,
    )


def _place(
    name: str, values: Sequence[float | None], pair: Sequence[int], scales: Sequence[float]
) -> dict[str, object]:
    x, y = (by * (values[place] or 0.0) for by, place in zip(scales, pair, strict=True))
    return {"name": name, "x": x, "y": y}


def _title(objective: str) -> str:
    if not is_share(objective):
        return objective
    return f"{objective}, score on fit in %" if has_item_scores(objective) else f"{objective} in %"
