"""The report as a file: what it says, what it must never contain, what it does with bad places."""

from __future__ import annotations

import os
import re
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("plotly", reason="the report needs kingyo[report]")
pytest.importorskip("matplotlib", reason="the report needs kingyo[report]")

from kingyo.cli.tables import print_summary
from kingyo.errors import KingyoError
from kingyo.report import require, wording, write_report
from kingyo.report.findings import gather
from kingyo.report.front import front_charts
from kingyo.report.known import headline
from kingyo.report.page import render_page
from kingyo.results.summary import summarize
from kingyo.store import RunStore
from tests.report.made_up_run import ATTACK

VOID = {"meta", "br", "link"}


class Reader(HTMLParser):
    """Collects tags, attributes and headings; raises when tags do not match."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def rendered(folder: Path) -> str:
    with RunStore.read(folder) as store:
        return render_page(gather(store), "/* plotly */")


@pytest.mark.parametrize(
    "name", ["better", "worse", "searching", "picked", "front", "screened", "paths", "stacking", "empty"]
)
def test_every_kind_of_run_gives_a_sound_page(runs: dict[str, Path], name: str) -> None:
    reader = read(rendered(runs[name]))
    ids = [value for _, attribute, value in reader.attributes if attribute == "id"]
    assert len(ids) == len(set(ids))
    assert reader.tags.count("h1") == 1
    assert ("html", "lang", "en") in reader.attributes
    anchors = {value for _, attribute, value in reader.attributes if attribute == "href"}
    assert all(anchor.startswith("#") and anchor[1:] in ids for anchor in anchors)


def test_nothing_is_fetched(runs: dict[str, Path]) -> None:
    page = rendered(runs["better"])
    for _, attribute, value in read(page).attributes:
        assert attribute not in ("src", "srcset", "action", "data", "poster", "background")
        assert "http:" not in value and "https:" not in value
    assert not re.search(r"url\(|@import", page)
    policy = next(value for _, _, value in read(page).attributes if "default-src" in value)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")


def test_answers_cannot_become_markup(runs: dict[str, Path]) -> None:
    page = rendered(runs["better"])
    reader = read(page)
    assert "document.title" not in re.sub(r"&lt;script&gt;document.title", "", page)
    assert "img" not in reader.tags
    assert any(ATTACK in text for text in reader.text)
    assert not any(name.startswith("on") for _, name, _ in reader.attributes)


def test_texts_carry_direction_and_language(runs: dict[str, Path]) -> None:
    attributes = read(rendered(runs["better"])).attributes
    assert ("p", "dir", "auto") in attributes
    assert ("p", "lang", "ja") in attributes
    assert ("dd", "lang", "") in attributes


def test_headline_follows_the_numbers(runs: dict[str, Path]) -> None:
    said = {}
    for name, folder in runs.items():
        with RunStore.read(folder) as store:
            said[name] = headline(gather(store))
    assert said["better"] == (
        "The best model of this run is trial 35 of grid search, not the bred one. "
        "The bred model beats its best parent (math-en) and the uniform merge "
        "but is not shown to beat random search or grid search."
    )
    assert said["worse"].startswith(
        "The best model of this run is the uniform merge, not the bred one. The bred model is worse than "
    )
    assert said["searching"] == "Not finished: 30 trials so far, nothing tested yet."
    assert said["picked"] == "A winner is picked, and not tested yet."
    assert said["empty"] == "Not finished: no trials so far, nothing tested yet."


def test_sections_stand_in_a_sceptical_readers_order(runs: dict[str, Path]) -> None:
    reader = read(rendered(runs["better"]))
    sections = [value for tag, name, value in reader.attributes if tag == "section" and name == "id"]
    assert sections == [
        "known",
        "scores",
        "progress",
        "advice",
        "genes",
        "family",
        "selection",
        "answers",
        "basis",
        "failures",
    ]


def test_the_front_is_drawn_and_all_its_points_are_in_the_table(runs: dict[str, Path]) -> None:
    with RunStore.read(runs["front"]) as store:
        found = gather(store)
        page = render_page(found, "/* plotly */")
        figures = front_charts(found)
        fits = {point.trial.asked.number: store.evaluation(point.trial.id, "fit") for point, _ in found.front}
    front = found.summary.front
    assert front.knee is not None and found.summary.winner is not None
    assert [(f.layout["xaxis"]["title"]["text"], f.layout["yaxis"]["title"]["text"]) for f in figures] == [  # type: ignore[index]
        ("sums, score on fit", "closeness"),
        ("sums, score on fit", "few_sources"),
        ("closeness", "few_sources"),
    ]
    drawn: dict[object, Any] = {trace["name"]: trace["customdata"] for trace in figures[0].data}
    assert drawn["knee"] == [front.knee.trial.asked.number]
    assert sorted([*drawn["front"], *drawn["knee"]]) == sorted(fits)
    assert (
        len(drawn["beaten"]) == len(front.beaten) == found.summary.trials - found.summary.failures - len(fits)
    )  # type: ignore[arg-type]
    said = "".join(read(page).text)
    for number, evaluation in fits.items():
        assert evaluation is not None and evaluation.mean is not None
        assert f"trial {number}" in said
        assert re.search(rf"{100 * evaluation.mean:.1f}% \[[0-9.]+,\s[0-9.]+\], n = 100", said)
    assert f"trial {front.knee.trial.asked.number} (knee" in said


def test_one_objective_has_no_front(runs: dict[str, Path]) -> None:
    assert "front" not in {
        value for _, name, value in read(rendered(runs["better"])).attributes if name == "id"
    }


def test_without_parents_the_page_says_so(runs: dict[str, Path]) -> None:
    text = " ".join(read(rendered(runs["worse"])).text)
    assert "cma-es records no parents" in text


def test_counts_on_the_page_are_those_of_the_store(runs: dict[str, Path], better: RunStore) -> None:
    text = " ".join(read(rendered(runs["better"])).text)
    failures = [line for line in better.summaries("fit") if line.search == "main" and line.failure]
    assert f"60, of which {len(failures)} failed" in text
    assert f"{better.item_evaluations():,}, all searches and splits" in text
    assert "100 fit, 80 validation and 120 test" in text
    for reason in {str(line.failure) for line in failures}:
        assert reason in text


def test_scores_of_some_items_are_not_told_as_scores_of_all(runs: dict[str, Path]) -> None:
    with RunStore.read(runs["screened"]) as store:
        found = gather(store)
    text = " ".join(read(rendered(runs["screened"])).text)
    assert found.main is not None and found.main.measured_records == ()
    best = found.main.records[-1]
    assert best.fit is None and best.score == max(point.score or 0.0 for point in found.main.points)
    believed = wording.estimated(best.score, best.raw, 16)
    assert f"the best on fit, {believed}, is trial {best.number}" in text
    assert f"({100 * best.raw:.1f}% of the 16 items it met)" in believed
    assert "n = 16 of 100" in text and "n = 100" not in text
    assert "The search scored the winner on 16 of the 100 items of fit" in text
    assert "Fit minus test" not in text


def test_scores_of_all_items_are_set_against_test(runs: dict[str, Path]) -> None:
    text = " ".join(read(rendered(runs["better"])).text)
    assert "fit, n = 100" in text and "The band is the 95% interval of the best trial" in text
    assert re.search(r"Fit minus test of the winner: .+ \(n = 100 and 120 different items\)", text)


@pytest.mark.parametrize(
    ("ns", "said"),
    [((), "n = 20"), ((20, 20), "n = 20"), ((4, 4), "n = 4 of 20"), ((20, 4), "n = 4 to 20 of 20")],
)
def test_sizes(ns: tuple[int, ...], said: str) -> None:
    assert wording.sizes(ns, 20) == said


@pytest.mark.parametrize(("name", "is_told"), [("better", True), ("screened", False)])
def test_show_sets_only_all_of_fit_against_test(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str], name: str, is_told: bool
) -> None:
    with RunStore.read(runs[name]) as store:
        print_summary(summarize(store))
    text = " ".join(capsys.readouterr().out.split())
    assert ("compared with test: fit minus test " in text) == is_told
    assert ("The search scored the winner on 16 of the 100 items of fit" in text) != is_told


def test_write_report_writes_page_and_pictures(runs: dict[str, Path], tmp_path: Path) -> None:
    with RunStore.read(runs["better"]) as store:
        target = write_report(store, tmp_path / "deep" / "page.html")
    page = target.read_text(encoding="utf-8")
    assert page.count("plotly.js v") == 1
    assert page.endswith("</html>\n")
    pictures = sorted(file.name for file in (tmp_path / "deep" / "pictures").iterdir())
    assert pictures == ["bars.png", "genes-weight.png", "progress.png"]
    for file in (tmp_path / "deep" / "pictures").iterdir():
        assert file.read_bytes().startswith(b"\x89PNG")
    assert sorted(file.name for file in target.parent.iterdir()) == ["page.html", "pictures"]


def test_report_goes_into_the_run_and_may_be_written_again(runs: dict[str, Path]) -> None:
    with RunStore.read(runs["empty"]) as store:
        first = write_report(store)
        assert write_report(store) == first == runs["empty"] / "report.html"


def test_a_place_that_cannot_be_written_is_one_clear_error(runs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with RunStore.read(runs["empty"]) as store, pytest.raises(KingyoError, match="can be written"):
        write_report(store, tmp_path / "file" / "report.html")


@contextmanager
def full_disk() -> Iterator[None]:
    """Files may have 256 KiB: pictures fit, the page does not."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_leaves_no_part_of_a_report(runs: dict[str, Path], tmp_path: Path) -> None:
    with RunStore.read(runs["better"]) as store:
        for target in (tmp_path / "report.html", tmp_path / "new" / "deep" / "report.html"):
            with full_disk(), pytest.raises(KingyoError, match="can be written"):
                write_report(store, target)
            assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_an_earlier_report_as_it_was(runs: dict[str, Path], tmp_path: Path) -> None:
    with RunStore.read(runs["better"]) as store:
        write_report(store, tmp_path / "report.html")
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        with full_disk(), pytest.raises(KingyoError, match="can be written"):
            write_report(store, tmp_path / "report.html")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["run.db", ".", "run.lock"])
def test_only_a_report_is_written_over(runs: dict[str, Path], tmp_path: Path, name: str) -> None:
    run = Path(shutil.copytree(runs["empty"], tmp_path / "run"))
    with RunStore.read(run) as store:
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        with pytest.raises(KingyoError, match="a new file, or an earlier report"):
            write_report(store, run / name)
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_folder_whose_name_is_no_utf_8(runs: dict[str, Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs["empty"], tmp_path / os.fsdecode(b"L\xe4uf")))
    with RunStore.read(run) as store:
        assert "L\\udce4uf" in write_report(store).read_text(encoding="utf-8")


def test_missing_packages_are_named_with_the_command() -> None:
    with pytest.raises(KingyoError, match=r"no no_such_plotly.*pip install '\.\[report\]'"):
        require(("no_such_plotly",))


def test_advice_of_the_run_stands_in_the_report(runs: dict[str, Path]) -> None:
    with RunStore.read(runs["screened"]) as store:
        found = gather(store)
    text = "".join(read(rendered(runs["screened"])).text)
    assert {"seeds", "bound"} <= {each.kind for each in found.advice}
    for each in found.advice:
        assert each.what in text and each.remedy.replace("`", "") in text
