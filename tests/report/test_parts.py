"""The parts of the report: wording, markup, history, descent, genes, contrast, figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kingyo.report import wording
from kingyo.report.ancestry import trace
from kingyo.report.composition import read_matrices
from kingyo.report.curves import descent, progress
from kingyo.report.evidence import render_answers
from kingyo.report.figures import bars, heat_map
from kingyo.report.findings import BRED, gather
from kingyo.report.front import front_charts
from kingyo.report.history import Point
from kingyo.report.markup import element, json_text, whole
from kingyo.results.summary import Comparison
from kingyo.stats import Interval
from kingyo.store import RunStore, StoredTrial
from kingyo.types import Genome, Media, Trial


def difference(low: float, high: float, p: float = 0.001) -> Comparison:
    middle = Interval(score=(low + high) / 2, n=100, low=low, high=high, method="newcombe")
    return Comparison(other="uniform", difference=middle, p=p, test="mcnemar")


@pytest.mark.parametrize(
    ("comparison", "expected"),
    [
        (difference(0.01, 0.2, 0.001), "better"),
        (difference(-0.2, -0.01, 0.001), "worse"),
        (difference(-0.1, 0.2, 0.3), "open"),
        (difference(0.0, 0.2, 0.04), "open"),
        (difference(0.01, 0.2), "better"),
    ],
)
def test_a_verdict_follows_the_interval(comparison: Comparison, expected: str) -> None:
    assert wording.verdict(comparison) == expected


def test_sentences_join_what_was_found() -> None:
    said = wording.compared("It", [("a", "better"), ("b", "open"), ("c", "worse")])
    assert said == "It beats a, is worse than c and is not shown to beat b."
    assert wording.compared("It", [("a", "open"), ("b", "open")]) == "It is not shown to beat a or b."
    assert (
        wording.compared("It", [("a", "better"), ("b", "open")]) == "It beats a but is not shown to beat b."
    )


def test_numbers_are_written_for_people() -> None:
    value = Interval(score=0.735, n=200, low=0.67, high=0.7921, method="wilson")
    assert wording.score(value) == "73.5% [67.0,\N{NO-BREAK SPACE}79.2]"
    assert wording.points(difference(-0.0001, 0.0001).difference).startswith("0.0 points")
    assert wording.points(difference(-0.2, -0.1).difference).startswith("−15.0 points [−20.0")
    assert wording.p_value(1e-9) == "p\N{NO-BREAK SPACE}<\N{NO-BREAK SPACE}0.001"
    assert wording.score(None) == "–"
    assert wording.duration(3.0) == "3.0 seconds" and wording.duration(600) == "10.0 minutes"


def test_markup_escapes_text_attributes_and_data() -> None:
    evil = "</script><b onclick='x'>\"&"
    written = element("p", evil, title=evil)
    assert "<b" not in written and "'x'" not in written
    assert "</script>" not in json_text({"text": evil})
    assert json.loads(json_text({"text": evil})) == {"text": evil}
    assert whole("a<b c", "b") == 'a&lt;<span class="whole">b</span> c'
    assert element("a", hidden=True, title=None, class_="x") == '<a hidden class="x"></a>'


def point(number: int, genome: Genome, parents: tuple[int, ...] = (), score: float | None = 0.5) -> Point:
    trial = StoredTrial(
        id=number + 10,
        search="main",
        batch=0,
        name=None,
        asked=Trial(number=number, genome=genome, parents=parents),
        recipe="{}",
        recipe_hash=str(number),
    )
    return Point(trial=trial, score=score, n=10, failure=None if score is not None else "broken")


def test_descent_is_traced_to_the_founders() -> None:
    points = [
        point(0, (1.0, 1.0, 1.0)),
        point(1, (2.0, 2.0, 1.0)),
        point(2, (1.0, 2.0, 1.0), (0, 1)),
        point(3, (9.0, 9.0, 9.0)),
        point(4, (1.0, 2.0, 5.0), (2, 0)),
    ]
    family = trace(4, {each.number: each for each in points})
    assert family is not None
    assert [each.number for each in family.members] == [0, 1, 2, 4]
    assert set(family.edges) == {(0, 2), (1, 2), (2, 4), (0, 4)}
    assert (family.depth, family.founders) == (2, [0, 1])
    kept = family.inheritance
    assert (kept.parents, kept.from_each, kept.shared, kept.new) == ((2, 0), (1, 0), 1, 1)


def test_a_trial_without_parents_has_no_family() -> None:
    assert trace(0, {0: point(0, (1.0,))}) is None


def axes(*names: str) -> dict[str, object]:
    return {"axes": [{"name": name, "low": 0.0, "high": 1.0} for name in names]}


def test_genes_are_laid_out_by_source_and_group() -> None:
    names = ("weight/ja/block.0", "weight/ja/head", "weight/en/block.0", "lambda/all")
    weight, scale = read_matrices(axes(*names), (0.1, 0.2, 0.3, 0.4))
    assert (weight.rows, weight.columns) == (("ja", "en"), ("block.0", "head"))
    assert weight.cells == ((0.1, 0.2), (0.3, None))
    assert (scale.rows, scale.columns, scale.cells) == (("lambda",), ("all sources",), ((0.4,),))


def test_one_group_is_one_row() -> None:
    (matrix,) = read_matrices(axes("weight/ja/all", "weight/en/all"), (0.1, 0.2))
    assert (matrix.rows, matrix.columns, matrix.grouped) == (("weight",), ("ja", "en"), False)
    assert read_matrices(axes("weight/ja/all"), ()) == []


def test_history_keeps_records_and_batches(better: RunStore) -> None:
    main = gather(better).main
    assert main is not None
    scores = [record.score for record in main.records]
    assert [fit.score for fit in main.measured_records] == scores
    assert scores == sorted(set(scores))
    assert scores[-1] == max(each.score for each in main.points if each.score is not None)
    assert len(main.batches()) == 3
    assert sum(main.failures.values()) == sum(each.score is None for each in main.points)


def test_contrast_counts_every_item_once(better: RunStore) -> None:
    found = gather(better)
    contrast, winner = found.contrast, found.summary.winner
    assert contrast is not None and winner is not None and winner.test is not None
    both = winner.test.score * contrast.n - len(contrast.gained)
    assert contrast.best_of_parents.score * contrast.n == pytest.approx(both + len(contrast.lost))
    assert "uniform" not in contrast.parents
    assert all(row.answers["bred"].score == 1.0 for row in contrast.gained)
    assert all(any(row.answers[name].score == 1.0 for name in contrast.parents) for row in contrast.lost)


def test_an_answer_that_was_cut_is_marked_where_it_stands(better: RunStore) -> None:
    found = gather(better)
    assert found.contrast is not None
    row = found.contrast.gained[0]
    answers = {name: each._replace(is_cut=name == BRED) for name, each in row.answers.items()}
    contrast = replace(found.contrast, gained=(replace(row, answers=answers, limit=16),))
    shown = str(render_answers(replace(found, contrast=contrast)))
    assert shown.count("(cut at 16 tokens)") == 1


def test_images_of_items_and_answers_stand_in_the_page(better: RunStore, tmp_path: Path) -> None:
    found = gather(better)
    assert found.contrast is not None
    row, (small, large, lost) = found.contrast.gained[0], (tmp_path / f"{name}.png" for name in "abc")
    small.write_bytes(b"small")
    large.write_bytes(bytes(40_000))
    asked, drawn, gone = (
        Media(sha256=each.stem, type="image/png", path=each) for each in (small, large, lost)
    )
    answers = {name: each._replace(answer="", media=drawn) for name, each in row.answers.items()}
    item = replace(row.item, prompt="", media=(asked, gone))
    contrast = replace(found.contrast, gained=(replace(row, item=item, answers=answers),), lost=())
    shown = str(render_answers(replace(found, contrast=contrast)))
    assert '<img src="data:image/png;base64,c21hbGw=" alt="a.png" class="item">' in shown
    assert shown.count("b.png") == len(answers) and "c.png" in shown  # by name: too large, or lost
    assert "(nothing)" not in shown and 'class="prompt"' not in shown


def test_bars_begin_with_the_child(runs: dict[str, Path], better: RunStore) -> None:
    shown = gather(better).bars()
    assert (shown[0].name, shown[0].role) == ("bred", "bred")
    rest = [bar.score.score for bar in shown[1:]]
    assert rest == sorted(rest, reverse=True)
    assert {"uniform", "random search", "grid search", "base", "ja"} <= {bar.name for bar in shown}
    with RunStore.read(runs["searching"]) as store:
        assert gather(store).bars()[0].name == "best so far"


def test_plotly_accepts_every_figure(better: RunStore, runs: dict[str, Path]) -> None:
    graph_objects = pytest.importorskip("plotly.graph_objects", reason="figures are plotly's")
    found = gather(better)
    assert found.main is not None and found.family is not None
    figures = [
        bars(found.bars(), "test"),
        progress(found.main, found.controls, {"uniform": 0.4}),
        descent(found.main, {1: "ancestor"}, found.family.edges, found.family.child),
        *(heat_map(matrix, "genes") for matrix in found.matrices),
    ]
    with RunStore.read(runs["front"]) as store:
        figures += front_charts(gather(store))
    for figure in figures:
        plain = json.loads(json.dumps(figure.to_json()).replace('"@accent-text"', '"red"'))
        graph_objects.Figure(json.loads(_with_colours(json.dumps(plain))))
        assert figure.description


def _with_colours(text: str) -> str:
    import re

    return re.sub(r'"@[a-z-]+"', '"#123456"', text)
