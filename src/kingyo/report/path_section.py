"""The section on paths: the layers that the bred model passes through, and those that the search came to."""

from __future__ import annotations

from collections import Counter

from kingyo.report import wording
from kingyo.report.findings import Findings
from kingyo.report.markup import Html, element, join, table
from kingyo.report.path_charts import path_chart
from kingyo.report.routes import Routes
from kingyo.report.sections import chart, claim, note, section
from kingyo.report.usage_charts import scale_chart, usage_chart
from kingyo.results.paths import NamedPath
from kingyo.sizes import counted

NAMED = 6  # layers that are passed again and named in a sentence


def render_path(found: Findings) -> Html | None:
    """Render the child's path and those of the search; nothing where no recipe has a path."""
    routes = found.routes
    if routes is None:
        return None
    return section(
        "path", "Which layers the tokens pass through", _own(found, routes), _search(found, routes)
    )


def _own(found: Findings, routes: Routes) -> Html | None:
    if found.child is None:
        return None
    number = found.child.trial.asked.number
    if routes.path is None:
        return claim(f"Trial {number} has no path of its own: its layers stand in their order.")
    return join(
        [
            claim(f"Trial {number}: {said_of(routes.path)}"),
            chart(path_chart(routes, routes.path)),
            note(_how_to_read(routes, routes.path)),
            element("details", element("summary", "As a table"), _table(routes.path)),
        ]
    )


def said_of(path: NamedPath) -> str:
    """Say in sentences what a path is."""
    hops = Counter(step.source for step in path.steps)
    shares = [f"{hops[name]:,} through {name}" for name in path.layers if hops[name]]
    gives = f"{path.ends[0].upper()}{path.ends[1:]}."
    said = f"{counted(len(path.steps), 'hop')}: {wording.listed(shares)}"
    most = {(step.source, step.layer): step.time for step in path.steps}
    again = [f"{source} {layer}" for (source, layer), time in most.items() if time > 1]
    if not again:
        return f"{said}, no layer twice. {gives}"
    if len(again) > NAMED:
        return f"{said}, {len(again)} layers more than once. {gives}"
    return f"{said}, {wording.listed(again)} more than once. {gives}"


def _how_to_read(routes: Routes, path: NamedPath) -> str:
    said = "Each mark is a hop, from left to right; its height is the layer, the last of a model on top."
    if routes.reach:
        said += (
            " Colour: the scale of the stream that enters the layer, blue below 1 and red above; what "
            "follows sees the product of all scales so far."
        )
    if any(step.time > 1 for step in path.steps):
        said += " Diamonds: the layer was passed before; a dotted line joins the hops through it."
    return said


def _table(path: NamedPath) -> Html:
    rows = [
        (str(place + 1), step.source, str(step.layer), f"{step.scale:.4g}", f"{step.cumulative:.4g}")
        for place, step in enumerate(path.steps)
    ]
    head = ("hop", "model", "layer", "scale", "product of scales")
    return table(head, rows, label="The path of the bred model")


def _search(found: Findings, routes: Routes) -> Html | None:
    if not routes.groups:
        return None
    n = sum(group.n for group in routes.groups)
    beside = "" if routes.path is None else f" At the right: the layers of “{found.child_name}”."
    kind = "generation" if routes.by_generation else "group of trials, in the order in which they were tried"
    return join(
        [
            element("h3", "Which layers the search came to"),
            note(
                f"Share of the paths that pass a layer at least once, for each {kind}: "
                f"{counted(n, 'trial')}, good and bad.{beside}"
            ),
            chart(usage_chart(routes, found.child_name)),
            *(
                [
                    element("h3", "With which scales"),
                    note("Geometric mean of the scales of all passes; empty where no path passes the layer."),
                    chart(scale_chart(routes, found.child_name)),
                ]
                if routes.reach
                else []
            ),
        ]
    )
