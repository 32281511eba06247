"""The page of a comparison in a real browser: drawn without errors or requests; names are never code."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("vl_convert", reason="the page needs kingyo[report]")

from kingyo.views.compare import compare
from kingyo.views.compare.picture import draw_page
from tests.views.browser import CHROMIUM, Browser
from tests.views.compare.worlds import noise, plus, write

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


def test_it_is_drawn_quietly(tmp_path: Path) -> None:
    base = noise(0)
    names = ("<script>window.bad = 1<!--", "b")
    opened = [write(tmp_path / name, plus(base, noise(i, 0.1))) for i, name in enumerate(names)]
    page = tmp_path / "page.html"
    page.write_bytes(draw_page(compare(opened, write(tmp_path / "base", base))))
    with Browser() as browser:
        for width in (1280, 390):
            visit = browser.open(page, width=width)
            assert visit.problems == []
            assert visit.requests == [page.as_uri()]
            assert browser.evaluate("document.querySelectorAll('[data-chart] svg').length") == 8
            assert browser.evaluate("document.documentElement.scrollWidth") == width
            assert browser.evaluate("window.bad") is None
            assert names[0] in browser.evaluate("document.body.innerText")
