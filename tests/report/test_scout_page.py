"""The report of a scout: its numbers, hostile names, and choices of all kinds."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vl_convert", reason="the report needs kingyo[report]")

import vl_convert

from kingyo.charts import Chart
from kingyo.charts.draw import full_spec
from kingyo.errors import KingyoError
from kingyo.io.units import joined
from kingyo.report import scout_wording as wording
from kingyo.report.scout_charts import MEASURED, NEXT, PREDICTED, curve_chart, item_order, items_chart
from kingyo.report.scout_findings import ScoutFindings
from kingyo.report.scout_map import map_chart
from kingyo.report.scout_page import render_scout, write_scout_report
from kingyo.scout.catalogue import Catalogue
from kingyo.scout.choice import ChoiceLimits, WeightEvidence, choose
from kingyo.stats import interval
from tests.report.made_up_choice import ATTACK, WORLDS, World, made_up
from tests.report.reader import Reader, as_json, data_of
from tests.scout.chosen import ZOO, Counter, open_run, write_task, zoo_group


def findings_of(name: str) -> ScoutFindings:
    found, group, choice = made_up(WORLDS[name])
    return ScoutFindings(found=found, group=group, choice=choice)


def page_of(findings: ScoutFindings) -> Reader:
    return Reader(render_scout(findings, "scout").decode())


def rows_of(chart: Chart | None) -> list[dict[str, Any]]:
    assert chart is not None
    return data_of(as_json(chart.spec), {})


@pytest.fixture(scope="module")
def plain() -> ScoutFindings:
    return findings_of("plain")


@pytest.mark.parametrize("name", WORLDS)
def test_markup_is_valid_and_names_stay_text(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    findings = findings_of(name)
    page = page_of(findings)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert page.tags.count("h1") == 1
    assert len(page.scripts) == page.tags.count("script")
    assert all("<" not in script for script in page.scripts[:-2]), "data"
    assert not any(attribute.startswith("on") for _, attribute, _ in page.attributes)
    for chart in (curve_chart(findings), items_chart(findings), map_chart(findings)):
        if chart is not None:
            assert vl_convert.vegalite_to_vega(as_json(full_spec(chart, 640)))["marks"]
    assert capfd.readouterr().err == ""


def test_hostile_names_are_shown() -> None:
    page = page_of(findings_of("hostile"))
    assert any(f"{ATTACK}-0" in text for text in page.texts)
    assert f"cut off {ATTACK}" in page.text and f"cannot be scored: it answers {ATTACK}" in page.text


def test_the_paragraph_has_the_numbers(plain: ScoutFindings) -> None:
    page, choice = page_of(plain), plain.choice
    base = interval([*choice.item_scores[()].values()], seed=0)
    assert choice.score is not None and choice.correlation is not None and plain.next is not None
    name, gain = plain.next
    low, high = (f"{each:.2f}" for each in (choice.correlation.low, choice.correlation.high))
    for text in (
        "4 of 8 candidates were chosen",
        joined(choice.chosen),
        f"{wording.score(choice.score)} (n = {choice.score.n})",
        f"{wording.score(base)} (n = {base.n})",
        f"Of the others, '{name}' is nearest to being added: {wording.points(gain)} (n = {gain.n}).",
        "No further source adds enough.",
        f"{choice.item_evaluations:,} answers",
        f"{choice.correlation.value:.2f} [{low}, {high}] ({choice.correlation.n} gains)",
        "on fit items only",
        "the search and the test come later",
    ):
        assert " ".join(text.split()) in page.text


def test_the_tables_have_all_candidates_and_their_reasons(plain: ScoutFindings) -> None:
    text, choice = page_of(plain).text, plain.choice
    for name in choice.chosen:
        bounds = [wording.bounds(choice.alone[name])]
        bounds += [wording.points(each) for each in (plain.gains[name], choice.contributions[name].interval)]
        for each in bounds:
            assert " ".join(each.replace(" points", "").split()) in text
    assert "a near-duplicate of model-0; not tried" in text
    assert "far from the base: perhaps over-trained" in text
    assert f"cannot be scored: it answers {ATTACK}" in text
    assert f"org/broken unreadable cut off {ATTACK}" in text
    assert "org/x in another group its base is org/other" in text
    assert {*choice.sources, "model-copy-0"} == {*choice.chosen, *plain.others}
    assert "apache-2.0 135 M 270 MB" in text


def test_the_curve_has_scores_predictions_and_the_next_source(plain: ScoutFindings) -> None:
    rows = {(row["kind"], row["k"]): row for row in rows_of(curve_chart(plain)) if "kind" in row}
    chosen = plain.choice.chosen
    for k, step in enumerate(plain.choice.steps):
        row, items = rows[MEASURED, k], plain.choice.item_scores[chosen[:k]]
        score = interval([*items.values()], seed=0)
        assert (row["score"], row["low"], row["high"]) == pytest.approx(
            (100 * score.score, 100 * score.low, 100 * score.high)
        )
        assert row["n"] == str(len(items)) and items.keys() >= step.items.keys()
        assert row["name"] == ("base", *chosen)[k]
        if step.added is not None and k:
            expected = 100 * min(1.0, step.score + step.predicted[step.added].mean)
            assert rows[PREDICTED, k + 1 - 0.12]["score"] == pytest.approx(expected)
    last = rows[NEXT, len(chosen) + 1]
    assert plain.next is not None and plain.choice.score is not None
    assert last["score"] == pytest.approx(100 * min(1.0, plain.choice.score.score + plain.next[1].score))
    assert (PREDICTED, 1 - 0.12) not in rows, "nothing was measured before the first step"


def test_every_number_of_items_names_its_prompts() -> None:
    found, group, choice = made_up(World(per_prompt=4))
    findings = ScoutFindings(found=found, group=group, choice=choice)
    step, written = choice.steps[0], as_json(choice.to_json())["steps"][0]
    gain = written["gains"][choice.chosen[0]]
    assert written["groups"] == len({int(item[5:]) // 4 for item in step.items}) < written["n"]
    assert 0 < gain["groups"] < gain["n"] and step.added is not None
    sizes = [step.gains[step.added].interval.size, *(each.size for each in choice.alone.values())]
    text = page_of(findings).text
    assert all(f"n = {size}" in text and " prompts" in size for size in sizes)
    assert not re.search(r"n = [\d,]+(?! items of)\b", text)
    drawn = [row for row in rows_of(curve_chart(findings)) if "score" in row and row["kind"] != PREDICTED]
    assert drawn and all(str(row["n"]).endswith(" prompts") for row in drawn)


def test_without_predictions_there_are_none(plain: ScoutFindings) -> None:
    steps = tuple(replace(step, predicted={}) for step in plain.choice.steps)
    findings = replace(plain, choice=replace(plain.choice, steps=steps, correlation=None))
    assert all(row.get("kind") != PREDICTED for row in rows_of(curve_chart(findings)))
    assert "Too few gains were predicted" in page_of(findings).text


def test_a_source_dropped_at_the_end(plain: ScoutFindings) -> None:
    choice = plain.choice
    *kept, dropped = choice.chosen
    items = dict.fromkeys(choice.item_scores[choice.chosen], 0.5)
    without = replace(
        choice,
        chosen=tuple(kept),
        score=interval([*items.values()], seed=0),
        item_scores={**choice.item_scores, tuple(kept): items},
    )
    findings = replace(plain, choice=without)
    assert findings.dropped == [dropped] and dropped in findings.others
    text = page_of(findings).text
    assert f"{dropped} was added and dropped again" in text and f"− {dropped}" in text
    assert f"{len(kept)}: − {dropped}" in {row["model"] for row in rows_of(items_chart(findings))}


def test_the_heat_map_has_the_item_scores(plain: ScoutFindings) -> None:
    rows = rows_of(items_chart(plain))
    models = list(dict.fromkeys(row["model"] for row in rows))
    chosen = plain.choice.chosen
    assert models == [*chosen, *(f"{k}: + {chosen[k - 1]}" for k in range(2, len(chosen) + 1))]
    for row in rows:
        k = row["model"].partition(":")[0]
        key = chosen[: int(k)] if k.isdigit() else (row["model"],)
        assert row["score"] == plain.choice.item_scores[key][row["item"]]


def test_items_are_ordered_by_the_first_model_that_solves_them() -> None:
    alone, both = {"a": 0.0, "b": 1.0, "c": 0.0}, {"a": 1.0, "b": 1.0, "c": 0.0, "d": 1.0}
    assert item_order([alone, both]) == ["b", "a", "d", "c"]
    many = {f"item-{i:03d}": 0.0 for i in range(200)}
    assert item_order([many, {"item-150": 1.0}])[0] == "item-150" and len(item_order([many])) == 96
    assert item_order([]) == []


def test_nothing_chosen() -> None:
    findings = findings_of("nothing")
    page = page_of(findings)
    assert "None of 5 candidates was chosen for this task." in page.text
    assert items_chart(findings) is None and "Chosen sources" not in page.text
    assert f"Of the candidates, '{findings.others[0]}' is nearest to being added: " in page.text


def test_one_chosen() -> None:
    findings = findings_of("one")
    assert findings.choice.chosen == ("model-0",)
    text = page_of(findings).text
    assert "1 of 5 candidates was chosen" in text and "model-0 was chosen. Alone it scores" in text


@pytest.mark.parametrize("name", ["open", "begun"])
def test_an_unfinished_choice_says_so(name: str) -> None:
    text = page_of(findings_of(name)).text
    assert "The budget ended before the choice did" in text and "nearest to being added" not in text


def test_the_map_says_what_near_means_and_shows_those_left_out(plain: ScoutFindings) -> None:
    marks = {row["name"]: row for row in rows_of(map_chart(plain)) if "kind" in row}
    assert marks["model-copy-0"]["kind"] == "not tried"
    assert {marks[name]["kind"] for name in plain.choice.chosen} == {"chosen"}
    assert marks["model-7"]["kind"] == "cannot be scored"
    assert "task vectors (model minus base)" in page_of(plain).text
    scores = findings_of("unmeasured")
    assert "weights were not measured" in page_of(scores).text
    assert {row["name"] for row in rows_of(map_chart(scores))} == set(scores.choice.sources)


@pytest.mark.parametrize("name", ["many", "many unmeasured"])
def test_names_on_a_map_of_sixty_do_not_overlap(name: str) -> None:
    rows = rows_of(map_chart(findings_of(name)))
    labels = [(row["x"], row["y"], 6.4 * len(row["name"])) for row in rows if "kind" not in row]
    assert len(labels) > 20
    for i, (x, y, width) in enumerate(labels):
        for other_x, other_y, other_width in labels[:i]:
            assert abs(y - other_y) >= 14 or abs(x - other_x) >= (width + other_width) / 2


def test_a_report_replaces_only_a_report(tmp_path: Path) -> None:
    target = write_scout_report(*made_up(WORLDS["one"]), tmp_path)
    assert target == tmp_path / "report.html"
    assert write_scout_report(*made_up(WORLDS["nothing"]), tmp_path) == target
    assert "None of 5 candidates" in target.read_text(encoding="utf-8")
    target.write_text("mine")
    with pytest.raises(KingyoError) as error:
        write_scout_report(*made_up(WORLDS["one"]), tmp_path)
    assert error.value.argument == str(target) and target.read_text() == "mine"


def test_a_choice_among_models_of_the_zoo(tmp_path: Path) -> None:
    names = ("ja", "math-en")
    task = write_task(tmp_path, splits={"fit": 48, "validation": 8, "test": 8, "seed": 0})
    group = zoo_group(names)
    choice = choose(open_run(task, names), tmp_path / "trials", ChoiceLimits(), WeightEvidence(), Counter())
    assert choice.score is not None and len(choice.chosen) == 2
    final = choice.item_scores[choice.chosen]
    assert choice.score == interval([*final.values()], seed=0)
    for name in choice.sources:
        assert choice.alone[name] == interval([*choice.item_scores[name,].values()], seed=0)
    found = Catalogue(base=None, groups=(group,), excluded=(), unread={})
    page = Reader(write_scout_report(found, group, choice, tmp_path).read_text(encoding="utf-8"))
    assert " ".join(wording.score(choice.score).split()) in page.text
    assert all(str(ZOO / name) in page.text for name in names)
    assert "No other candidate is left." in page.text
