"""The report in a real browser: drawn without an error or a request, on desktop and phone, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("plotly", reason="the report needs kingyo[report]")
pytest.importorskip("matplotlib", reason="the report needs kingyo[report]")

from kingyo.report import write_report
from kingyo.results.summary import summarize
from kingyo.store import RunStore
from tests.report.browser import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def page(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    with RunStore.read(runs["better"]) as store:
        return write_report(store, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_page_is_drawn_quietly_and_fits(browser: Browser, page: Path, width: int, dark: bool) -> None:
    visit = browser.open(page, width=width, dark=dark)
    assert visit.problems == []
    assert [url[:5] for url in visit.requests if not url.startswith("data:")] == ["file:"]
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    places = browser.evaluate("document.querySelectorAll('[data-figure]').length")
    assert places == 4
    assert browser.evaluate("document.querySelectorAll('[data-figure] .main-svg').length") >= places
    assert browser.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")
    assert "The bred model beats its best parent" in browser.evaluate("document.title")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_front_is_drawn(
    browser: Browser, runs: dict[str, Path], tmp_path: Path, width: int, dark: bool
) -> None:
    with RunStore.read(runs["front"]) as store:
        page = write_report(store, tmp_path / "report.html")
    visit = browser.open(page, width=width, dark=dark)
    assert visit.problems == []
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    points = "document.querySelectorAll('[data-figure=front-0-1] .scatterlayer .trace')"
    drawn = browser.evaluate(f"[...{points}].map(trace => trace.querySelectorAll('.point').length)")
    assert drawn[2:] in ([1], [1, 1])  # the knee, and the winner where it is on the front
    assert min(drawn[:2]) > 3


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_a_path_is_drawn(
    browser: Browser, runs: dict[str, Path], tmp_path: Path, width: int, dark: bool
) -> None:
    with RunStore.read(runs["paths"]) as store:
        page = write_report(store, tmp_path / "report.html")
        found = summarize(store)
    assert found.path is not None
    visit = browser.open(page, width=width, dark=dark)
    assert visit.problems == []
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    points = "document.querySelectorAll('[data-figure=path] .scatterlayer .trace:last-child .point')"
    assert browser.evaluate(f"{points}.length") == len(found.path.steps)
    for name in ("path-layers", "path-scales"):
        maps = f"document.querySelectorAll('[data-figure={name}] .heatmaplayer image').length"
        assert browser.evaluate(maps) == 2, "one for each source"
    fills = browser.evaluate(f"new Set([...{points}].map(each => getComputedStyle(each).fill)).size")
    assert fills == len({step.scale for step in found.path.steps})


def test_the_theme_can_be_chosen_and_charts_follow(browser: Browser, page: Path) -> None:
    browser.open(page)
    fill = "getComputedStyle(document.querySelector('[data-figure=bars] .point path')).fill"
    light = browser.evaluate(fill)
    for name in ("light", "dark"):
        browser.evaluate("document.getElementById('theme').click()")
        assert browser.evaluate("document.getElementById('theme').textContent") == f"Theme: {name}"
    assert browser.evaluate("document.documentElement.dataset.theme") == "dark"
    assert browser.evaluate(fill) != light
