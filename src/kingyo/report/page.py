"""The page: sections in the order in which a sceptical reader wants them, style, script, and nothing else.

It is one file that needs no network, and may not use any: its content policy allows only the scripts that
it was written with.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from kingyo.report.evidence import render_answers, render_basis, render_failures
from kingyo.report.findings import Findings
from kingyo.report.front import render_front
from kingyo.report.known import headline, render_known
from kingyo.report.markup import Html, element, own
from kingyo.report.path_section import render_path
from kingyo.report.sections import (
    render_advice,
    render_composition,
    render_descent,
    render_progress,
    render_scores,
    render_selection,
    render_sets,
)

PARTS = (
    (render_scores, "scores", "Scores"),
    (render_front, "front", "Front"),
    (render_progress, "progress", "Search"),
    (render_advice, "advice", "Advice"),
    (render_path, "path", "Path"),
    (render_composition, "genes", "Genes"),
    (render_descent, "family", "Family"),
    (render_selection, "selection", "Selection"),
    (render_sets, "sets", "Sets"),
    (render_answers, "answers", "Answers"),
    (render_basis, "basis", "Basis"),
    (render_failures, "failures", "Failures"),
)


def render_page(found: Findings, plotly_js: str) -> str:
    """Render the whole HTML file.

    Args:
        found: what is to be shown.
        plotly_js: the source of plotly.js.
    """
    first_js, theme_js = _shipped("first.js"), _shipped("theme.js")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(first_js, plotly_js, theme_js)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{found.summary.run}: {headline(found)}"),
        element("script", own(first_js)),
        element("style", own(_shipped("style.css"))),
    )
    scripts = [element("script", own(source)) for source in (plotly_js, theme_js)]
    body = element("body", _top(found), _main(found), _foot(), *scripts)
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _main(found: Findings) -> Html:
    rendered = [(render(found), anchor, title) for render, anchor, title in PARTS]
    links = (
        element("a", title, href=f"#{anchor}") for content, anchor, title in rendered if content is not None
    )
    return element(
        "main",
        render_known(found),
        element("nav", *links, aria_label="Sections"),
        element(
            "noscript", element("p", "Charts need JavaScript; tables hold their numbers.", class_="note")
        ),
        *(content for content, _, _ in rendered),
        id="main",
    )


def _top(found: Findings) -> Html:
    return element(
        "header",
        element("a", "Skip to the content", href="#main", class_="skip"),
        element("span", own(_shipped("fish.svg")), "kingyo", class_="mark"),
        element("span", found.summary.run, class_="run"),
        element("button", "Theme", type="button", id="theme", aria_label="Change the colour theme"),
    )


def _foot() -> Html:
    return element(
        "footer",
        element("p", "Every number on this page comes from the run's database, run.db in its folder."),
    )


def _policy(*scripts: str) -> str:
    """No network, and no script but these: one in a model's answer stays text, whatever happens."""
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _shipped(name: str) -> str:
    return resources.files("kingyo.report").joinpath(name).read_text(encoding="utf-8")
