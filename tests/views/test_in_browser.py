"""The report in a real browser: on desktop and phone, light and dark."""

from pathlib import Path

import pytest

pytest.importorskip("vl_convert", reason="the report needs kingyo[report]")

from kingyo.store import RunStore
from kingyo.views.run_data import read_run_data
from tests.views.browser import Browser
from tests.views.reader import rendered

OPEN = "document.querySelectorAll('details').forEach(each => { each.open = true })"
SETTLE = "new Promise(done => setTimeout(done, 800))"
CLIPPED = """
[...document.querySelectorAll('[data-chart] svg')].flatMap(svg => {
  const box = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(text => {
    const own = text.getBoundingClientRect();
    return own.width && (own.left < box.left - 1 || own.right > box.right + 1);
  }).map(text => `${svg.closest('[data-chart]').dataset.chart}: ${text.textContent}`);
})
"""
WIDER = """
[...document.querySelectorAll('#front .scroll:has(table), #selection .scroll')]
  .filter(each => each.scrollWidth > each.clientWidth).length
"""
ROWS = "[...document.querySelectorAll('[aria-label=Trials] tbody tr')]"
CELLS = f"{ROWS}.map(row => +row.cells[COLUMN].dataset.value)"


@pytest.fixture(scope="module")
def pages(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name in ("better", "front", "paths", "screened"):
        (folder / f"{name}.html").write_text(rendered(runs[name]), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in ("better", "front", "paths", "screened")}


@pytest.mark.parametrize(
    ("name", "width", "dark"),
    [("better", 1280, False), *((name, 390, True) for name in ("better", "front", "paths", "screened"))],
)
def test_page_is_drawn_quietly_and_fits(
    browser: Browser, pages: dict[str, Path], name: str, width: int, dark: bool
) -> None:
    visit = browser.open(pages[name], width=width, dark=dark)
    assert browser.evaluate("document.documentElement.scrollHeight") < 6500, "details are folded"
    browser.evaluate(OPEN)
    browser.evaluate(SETTLE)
    assert visit.problems == []
    assert [url[:5] for url in visit.requests if not url.startswith("data:")] == ["file:"]
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    places = browser.evaluate("document.querySelectorAll('[data-chart]').length")
    assert places >= 5
    assert browser.evaluate("document.querySelectorAll('[data-chart] svg .mark-group').length") >= places
    assert browser.evaluate(CLIPPED) == []
    assert name == "front" or browser.evaluate(WIDER) == 0


def test_a_click_sorts_trials_and_a_second_reverses_them(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["better"])
    browser.evaluate(OPEN)
    head = "document.querySelectorAll('#trials thead button')[1].click()"
    browser.evaluate(head)
    filled = f"{CELLS.replace('COLUMN', '1')}.slice(0, 50)"
    down = browser.evaluate(filled)
    assert down == sorted(down, reverse=True) and down[0] > down[-1]
    browser.evaluate(head)
    up = browser.evaluate(filled)
    assert up == sorted(up) and up[0] == 0
    browser.evaluate("document.querySelectorAll('#trials thead button')[0].click()")
    numbers = browser.evaluate(CELLS.replace("COLUMN", "0"))
    assert numbers == list(range(59, -1, -1))


def test_the_recipe_is_copied(browser: Browser, pages: dict[str, Path], runs: dict[str, Path]) -> None:
    with RunStore.read(runs["better"]) as store:
        recipe = read_run_data(store).recipe
    browser.open(pages["better"])
    browser.evaluate("navigator.clipboard.writeText = async text => { window.copied = text }")
    browser.evaluate("document.querySelector('[data-copy=recipe]').click()")
    assert browser.evaluate("window.copied") == recipe
    assert browser.evaluate("document.querySelector('[data-copy=recipe]').textContent") == "Copied"
