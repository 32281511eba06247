"""The report as a file: its contents, private data, and unwritable locations."""

import re
import resource
import shutil
from pathlib import Path

import pytest

pytest.importorskip("vl_convert", reason="the report needs kingyo[report]")

from kingyo.errors import KingyoError
from kingyo.store import RunStore
from kingyo.views.page import write_report
from kingyo.views.results.summary import summarize
from kingyo.views.results.trials import SHARES, percent
from kingyo.views.statements import headline
from kingyo.views.view import without_places
from tests.cli.merging import contents
from tests.views.conftest import SHAPES
from tests.views.made_up_run import ATTACK
from tests.views.reader import Reader, data_of_run, plain, rendered


@pytest.mark.parametrize("name", SHAPES)
def test_markup_is_valid_and_has_no_absolute_path(runs: dict[str, Path], name: str) -> None:
    text = rendered(runs[name])
    page = Reader(text)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert page.tags.count("h1") == 1
    assert ("html", "lang", "en") in page.attributes
    for place in (str(runs[name]), str(runs[name].parent), "/somewhere", "/home/somebody"):
        assert place not in text
    assert "base: …/base" in text


def test_nothing_is_fetched(runs: dict[str, Path]) -> None:
    page = rendered(runs["better"])
    reader = Reader(page)
    for _, attribute, value in reader.attributes:
        assert attribute not in ("src", "srcset", "action", "data", "poster", "background")
        assert "http:" not in value and "https:" not in value
    style = page[page.index("<style>") : page.index("</style>")]
    assert not re.search(r"url\(|@import", style)
    policy = next(value for value in reader.values("content") if "default-src" in value)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy


def test_answers_cannot_become_markup(runs: dict[str, Path]) -> None:
    reader = Reader(rendered(runs["better"]))
    assert all("<" not in script for script in reader.scripts[:-2]), "data"
    assert len(reader.scripts) == reader.tags.count("script")
    assert "img" not in reader.tags
    assert any(ATTACK in text for text in reader.texts)
    assert not any(name.startswith("on") for _, name, _ in reader.attributes)


def test_headline_follows_the_numbers(runs: dict[str, Path]) -> None:
    lines = {}
    for name, folder in runs.items():
        with RunStore.read(folder) as store:
            lines[name] = headline(summarize(store))
    assert lines["better"] == (
        "The best model of this run is trial 35 of grid search, not the bred one. "
        "The bred model beats its best parent (math-en) and the uniform merge "
        "but is not shown to beat random search or grid search."
    )
    assert lines["worse"].startswith(
        "The best model of this run is the uniform merge, not the bred one. The bred model is worse than "
    )
    assert lines["searching"] == "Not finished: 30 trials so far, nothing tested yet."
    assert lines["picked"] == "A winner is picked, and not tested yet."
    assert lines["empty"] == "Not finished: no trials so far, nothing tested yet."
    assert "the frankenmerge" in lines["paths"]


def test_what_is_asked_and_three_answers_come_first_and_the_rest_is_folded(runs: dict[str, Path]) -> None:
    page = Reader(rendered(runs["better"]))
    first = page.text[: page.text.index("On the test split")]
    data = data_of_run(runs["better"])
    item, winner = data.example, data.summary.winner
    assert item is not None and winner is not None and winner.test is not None
    for text in (
        "100 fit, 80 validation and 120 test",
        "Sources: ja, math-en, math-sym, poems and weather, on one base.",
        plain(item.prompt),
        f"right answer {item.answer}",
        "How good is the bred model?",
        "Compared with what?",
        "how to get it",
        percent(winner.test.score),
        "n = 120 on test",
        "kingyo export better OUT --trial",
    ):
        assert text in first
    assert any(data.recipe in text for text in page.texts)
    folds = [value for tag, name, value in page.attributes if tag == "details" and name == "id"]
    assert folds == ["advice", "genes", "model", "trials", "selection", "answers", "basis"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("kingyo resume /a/runs/one --candidates +5", "kingyo resume one --candidates +5"),
        ("kingyo show '/a/runs/one' --trial 3", "kingyo show 'one' --trial 3"),
        ("--run /a/runs/one-seeds", "--run one-seeds"),
        ("base: /b/unet+/c/d/lora", "base: …/unet+…/lora"),
        ('File "/usr/lib/x.py", line 3: /b/c.bin', 'File "…/x.py", line 3: …/c.bin'),
        ("/no_think and/or 1/2/3 https://a.org/b/c </b></i>", None),
        ("../zoo/ja ~/models/ja org/name", None),
    ],
)
def test_absolute_paths_in_texts_are_cut(text: str, shown: str | None) -> None:
    assert without_places(text, Path("/a/runs/one")) == (shown or text)


def test_scores_of_some_items_are_not_shown_as_scores_of_all(runs: dict[str, Path]) -> None:
    data = data_of_run(runs["screened"])
    text = Reader(rendered(runs["screened"])).text
    assert data.main is not None
    best, score = data.main.records[-1]
    assert plain(f"the best on fit, ≈ {percent(score)}, is trial {best.number}") in text
    assert "n = 16 of 100" in text and "n = 100" not in text
    fit = None if data.summary.winner is None else data.summary.winner.fit
    assert fit is not None and fit.n == 16 and SHARES.bounded(fit) in text


def test_counts_on_the_page_are_those_of_the_store(runs: dict[str, Path]) -> None:
    text = Reader(rendered(runs["better"])).text
    with RunStore.read(runs["better"]) as store:
        failures = [row for row in store.summaries("fit") if row.search == "main" and row.failure]
        assert f"{store.item_evaluations():,}, all searches and splits" in text
    assert f"60, {len(failures)} failed (ga)" in text
    for reason in {str(row.failure) for row in failures}:
        assert " ".join(reason.split()) in text


def test_advice_is_in_the_report(runs: dict[str, Path]) -> None:
    data = data_of_run(runs["screened"])
    text = "".join(Reader(rendered(runs["screened"])).texts)
    assert "bound" in {each.kind for each in data.advice}
    for each in data.advice:
        assert each.what in text and each.remedy.replace("`", "") in text


def test_a_front_has_a_table_of_all_its_points(runs: dict[str, Path]) -> None:
    data = data_of_run(runs["front"])
    text = Reader(rendered(runs["front"])).text
    assert len(data.front) > 2
    for model in data.front.values():
        assert model.fit is not None and f"trial {model.trial.asked.number}" in text
        assert f"{SHARES.bounded(model.fit)}, n = 100" in text


def test_write_report_writes_page_and_pictures(runs: dict[str, Path], tmp_path: Path) -> None:
    with RunStore.read(runs["better"]) as store:
        target = write_report(store, tmp_path / "deep" / "page.html")
        assert write_report(store) == write_report(store) == runs["better"] / "report.html"
    assert target.stat().st_size <= 2_000_000
    assert target.read_bytes().startswith(b"<!doctype html>")
    pictures = sorted(file.name for file in (tmp_path / "deep" / "pictures").iterdir())
    assert pictures == ["bars.png", "genes-weight.png", "progress.png"]
    for file in (tmp_path / "deep" / "pictures").iterdir():
        assert file.read_bytes().startswith(b"\x89PNG")
    assert sorted(file.name for file in target.parent.iterdir()) == ["page.html", "pictures"]


def test_a_full_disk_leaves_an_earlier_report(runs: dict[str, Path], tmp_path: Path) -> None:
    """Files may have 512 KiB: pictures fit, the page does not."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with RunStore.read(runs["better"]) as store:
        write_report(store, tmp_path / "report.html")
        before = contents(tmp_path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, limits[1]))
        try:
            with pytest.raises(KingyoError, match="can be written"):
                write_report(store, tmp_path / "report.html")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["run.db", ".", "run.lock"])
def test_only_a_report_is_written_over(runs: dict[str, Path], tmp_path: Path, name: str) -> None:
    run = Path(shutil.copytree(runs["empty"], tmp_path / "run"))
    with RunStore.read(run) as store:
        before = contents(run)
        with pytest.raises(KingyoError, match="a new file, or an earlier report"):
            write_report(store, run / name)
        assert contents(run) == before
