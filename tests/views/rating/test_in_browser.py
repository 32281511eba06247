"""The page of a rating session in a real browser: keys, buttons, sizes, and a server that stops."""

import signal
import time
from pathlib import Path

import pytest

from kingyo.store.side_databases import StoredChoice, read_choices
from tests.rated_runs import drawn_run
from tests.views.browser import Browser
from tests.views.rating.sessions import rating

JUDGED = "document.getElementById('bar').value"
IDLE = "!busy"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
IMAGES = """
[...document.querySelectorAll('img')].map(image => {
  const box = image.getBoundingClientRect();
  return [image.naturalWidth, box.left, box.right, box.top, box.bottom, box.width];
})
"""
UNNAMED = """
[...document.querySelectorAll('button')].filter(
  each => !each.getAttribute('aria-label') && !each.textContent.trim()
).length + [...document.querySelectorAll('img')].filter(each => !each.alt).length
"""
PAPER = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return drawn_run(tmp_path / "run")


def wait_for(browser: Browser, condition: str) -> None:
    deadline = time.monotonic() + 30
    while browser.evaluate(condition) is not True:
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


def press(browser: Browser, key: str, judged: int) -> None:
    browser.press(key)
    wait_for(browser, f"{IDLE} && {JUDGED} === {judged}")


def verdicts(choices: tuple[StoredChoice, ...]) -> list[str]:
    return [each.verdict for each in choices]


def test_keys_choose_skip_and_undo(browser: Browser, run: Path) -> None:
    """Buttons do the same."""
    with rating(run, "--pairs", "6") as running:
        visit = browser.open(running.url)
        wait_for(browser, IDLE)
        keys = ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "s")
        for n, key in enumerate(keys, start=1):
            press(browser, key, n)
        assert verdicts(read_choices(run)) == ["left", "right", "tie", "skip", "skip"]
        shown = browser.evaluate("state.pair.prompt")
        press(browser, "u", 4)
        assert len(read_choices(run)) == 4
        browser.evaluate("document.querySelector('[data-choice=right]').click()")
        wait_for(browser, f"{IDLE} && {JUDGED} === 5")
        assert browser.evaluate("state.pair.prompt") == shown and browser.evaluate(UNNAMED) == 0
        browser.press("x")
        press(browser, "ArrowLeft", 6)
        wait_for(browser, "!document.getElementById('done').hidden && document.getElementById('pair').hidden")
        browser.press("ArrowLeft")
        press(browser, "u", 5)
        assert not browser.evaluate("document.getElementById('pair').hidden")
        assert visit.problems == []
        assert {url.partition("/")[0] for url in visit.requests} <= {"http:", "data:"}
        assert {url.split("/")[2] for url in visit.requests if url.startswith("http:")} == {
            running.url.split("/")[2]
        }
        assert all(0 < each.seconds < 60 for each in read_choices(run))


@pytest.mark.parametrize(("width", "height", "dark"), [(1280, 800, False), (390, 844, True)])
def test_both_images_are_seen_without_scrolling(
    browser: Browser, run: Path, width: int, height: int, dark: bool
) -> None:
    with rating(run) as running:
        browser.open(running.url, width=width, height=height, dark=dark)
        wait_for(browser, f"{IDLE} && state !== null")
        (left, right) = browser.evaluate(IMAGES)
        assert left[0] == right[0] == 8
        assert left[2] <= right[1] and left[3] == right[3]
        assert min(left[4], right[4]) <= height and min(left[5], right[5]) > 0.3 * width
        assert browser.evaluate(OVERFLOW) == 0
        assert browser.evaluate("document.documentElement.scrollHeight") <= height
        assert browser.evaluate("document.getElementById('prompt').textContent").startswith("a <b>validation")
        assert (browser.evaluate(PAPER) == "rgb(23, 22, 20)") is dark


def test_a_killed_server_is_reported_and_a_new_one_goes_on(browser: Browser, run: Path) -> None:
    with rating(run) as running:
        browser.open(running.url)
        wait_for(browser, IDLE)
        press(browser, "ArrowLeft", 1)
        running.end(signal.SIGKILL)
        browser.press("ArrowLeft")
        wait_for(browser, f"{IDLE} && !document.getElementById('notice').hidden")
        assert "kingyo rate" in browser.evaluate("document.getElementById('notice').textContent")
    with rating(run) as running:
        browser.open(running.url)
        wait_for(browser, f"{IDLE} && {JUDGED} === 1")
