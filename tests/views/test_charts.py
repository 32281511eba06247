"""The charts show the stored values, and Vega-Lite compiles each one without warnings."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vl_convert", reason="charts are compiled by vl-convert")

import vl_convert

from kingyo.stats import Interval
from kingyo.store import StoredTrial
from kingyo.views.charts import DARK, LIGHT, resolve_variables
from kingyo.views.charts.draw import full_spec
from kingyo.views.page import page_view
from kingyo.views.results.genes import Matrix
from kingyo.views.run_data import Bar, RunData
from kingyo.views.score_charts import gene_chart, score_chart
from kingyo.views.trial_charts import trial_rows
from tests.stores import edited
from tests.views.conftest import SHAPES
from tests.views.reader import as_json, data_of, data_of_run


def rows_of(data: RunData, name: str) -> list[dict[str, Any]]:
    return data_of(as_json(page_view(data).charts[name].spec), {"trials": trial_rows(data)})


@pytest.mark.parametrize("name", SHAPES)
def test_every_chart_compiles_and_has_words_and_colours_of_both_themes(
    runs: dict[str, Path], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = data_of_run(runs[name])
    for chart in page_view(data).charts.values():
        spec = full_spec(chart, 640) | {"datasets": {"trials": trial_rows(data)}}
        assert vl_convert.vegalite_to_vega(as_json(spec))["marks"]
        assert chart.description
        text = json.dumps(chart.spec)
        assert "#" not in text and "var(" not in resolve_variables(text)
    assert capfd.readouterr().err == "" and LIGHT.keys() == DARK.keys()


def test_bars_are_the_scores_with_n_and_interval(runs: dict[str, Path]) -> None:
    data = data_of_run(runs["better"])
    bars = data.bars()
    assert bars[0].role == "bred"
    rest = [bar.score.score for bar in bars[1:]]
    assert rest == sorted(rest, reverse=True)
    scores = page_view(data).tables["scores"].rows
    assert {bar.name for bar in bars} == {row[0].text for row in scores} > {"base", "random, same cost"}
    for bar, row in zip(bars, rows_of(data, "bars"), strict=False):
        value = bar.score
        percents = [100 * each for each in (value.score, value.low, value.high)]
        assert [row["score"], row["low"], row["high"], row["n"]] == [*percents, value.size]


def test_trials_and_baselines_are_on_one_scale(runs: dict[str, Path]) -> None:
    data = data_of_run(runs["screened"])
    assert data.main is not None
    rows = {row["trial"]: row for row in as_json(trial_rows(data))}
    for point, score in data.main.scored:
        row = rows[point.number]
        assert (row["score"], row["n"], row["g"][0]) == (
            100 * score,
            16,
            data.genes[0].value(point.trial.asked.genome),
        )
    fit = data.summary.baselines["uniform"].fit
    assert fit is not None
    lines = [row["text"] for row in rows_of(data, "progress") if str(row.get("text")).startswith("uniform")]
    assert lines == [f"uniform {100 * fit.score:.1f}%"]


def test_no_mark_lies_above_the_axis(runs: dict[str, Path]) -> None:
    """Where a control is far ahead."""
    data = data_of_run(runs["screened"])
    main, control = data.main, data.controls["random"]
    assert main is not None
    ahead = replace(control, points=tuple(replace(each, score=0.9) for each in control.points))
    nothing = replace(data.summary, baselines={}, controls={}, winner=None, leader=None, choice=None)
    for controls in ({}, {"random": ahead}):
        case = replace(data, controls=controls, summary=nothing)
        spec = as_json(page_view(case).charts["progress"].spec)
        top = spec["layer"][0]["encoding"]["y"]["scale"]["domain"][1]
        rows = data_of(spec, {"trials": as_json(trial_rows(case))})
        assert top >= max(row.get("score") or 0 for row in rows)


def lines_of(data: RunData) -> list[str]:
    """The names of the lines in the chart of the progress, as its legend has them."""
    layers = as_json(page_view(data).charts["progress"].spec)["layer"]
    return next(
        each["encoding"]["stroke"]["scale"]["domain"] for each in layers if each["mark"]["type"] == "line"
    )


def test_only_searches_of_equal_cost_are_lines_and_are_called_controls(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    data = data_of_run(runs["better"])
    assert lines_of(data) == ["best so far", "random search", "grid search"]
    assert "budget of the main search" in page_view(data).charts["bars"].note
    run = Path(shutil.copytree(runs["better"], tmp_path / "run"))
    with edited(run) as database:
        for names in (("choice", "random"), ("trained", "grid")):
            database.execute("UPDATE searches SET name = ? WHERE name = ?", names)
            database.execute("UPDATE trials SET search = ? WHERE search = ?", names)
        database.execute("UPDATE searches SET winner = NULL WHERE name = 'choice'")
    view = page_view(data_of_run(run))
    assert lines_of(data_of_run(run)) == ["best so far"] and "budget" not in view.charts["bars"].note
    facts = {row[0].text for row in view.tables["facts"].rows}
    assert {"trials, the choice of sources", "trials, the trained LoRA"} <= facts


def test_no_control_is_left_out_of_a_chart(runs: dict[str, Path]) -> None:
    data = data_of_run(runs["better"])
    names = ("random", "grid", "random_sources", "another")
    controls = {name: replace(data.controls["random"], name=name) for name in names}
    assert len(lines_of(replace(data, controls=controls))) == 1 + len(names)


def test_the_front_has_parents_and_controls(runs: dict[str, Path]) -> None:
    data = data_of_run(runs["front"])
    front = data.summary.front
    assert front.knee is not None
    fronts = [name for name in page_view(data).charts if name.startswith("front")]
    assert fronts == ["front-0-1", "front-0-2", "front-1-2"]
    names = [row["name"] for row in rows_of(data, "front-0-1")]
    trials = [f"trial {each.trial.asked.number}" for each in (*front.points, *front.beaten)]
    assert {*trials, "random, same cost", "grid, same cost"} <= set(names)
    fit = data.summary.baselines["uniform"].fit
    assert fit is not None and data.rivals["uniform"] == (fit.score, None, None)


def test_genes_are_a_map_of_sources_and_groups() -> None:
    matrix = Matrix(
        parameter="weight",
        sources=("a", "b"),
        groups=("block.0", "block.1"),
        genes={("a", "block.0"): (0.5,), ("b", "block.1"): (-0.25,)},
        low=-1.0,
        high=1.0,
    )
    rows = as_json(gene_chart(matrix).spec)["data"]["values"]
    shown = [(row["source"], row["group"], row["gene"], row["text"]) for row in rows]
    assert shown == [("a", "0", 0.5, "0.50"), ("b", "1", -0.25, "−0.25")]


def test_different_names_have_different_labels() -> None:
    share = Interval(score=0.1, n=20, low=0.0, high=0.2)
    models = ("math-en", "a-long-name-of-a-model-7b-instruct", "a-long-name-of-a-model-8b-instruct")
    chart = score_chart([Bar(name=name, role="control", score=share) for name in models], "fit", "n = 20", "")
    assert [row["name"] for row in as_json(chart.spec)["data"]["values"]] == [*models], "whole in tooltips"
    svg = vl_convert.vegalite_to_svg(resolve_variables(json.dumps(full_spec(chart, 640))))
    labels = re.findall(r">((?:math|a-long)[^<]*)</text>", svg)
    assert len({*labels}) == len(models) == len(labels)
    assert labels[0] == "math-en" and max(map(len, labels)) < len(models[1]), labels


def visits(trial: StoredTrial) -> Iterator[tuple[str, float]]:
    """Place and scale of each hop, from the text in the store."""
    for entry in json.loads(trial.recipe)["path"]:
        first, end = entry.get("layer_range") or (entry["layer"], entry["layer"] + 1)
        source = entry["model"].removeprefix("zoo/")
        yield from ((f"{source} {layer}", entry.get("scale", 1.0)) for layer in range(first, end))


def test_each_hop_of_the_winner_is_a_mark_in_its_row(runs: dict[str, Path]) -> None:
    data = data_of_run(runs["paths"])
    assert data.summary.child is not None
    hops = [*visits(data.summary.child.trial)]
    marks = [row for row in rows_of(data, "path") if "shape" in row][-len(hops) :]
    expected = [(number, place, f"×{scale:.3g}") for number, (place, scale) in enumerate(hops, 1)]
    assert [(row["hop"], row["place"], row["scale"]) for row in marks] == expected
    again = [place in [each for each, _ in hops[:i]] for i, (place, _) in enumerate(hops)]
    assert any(again), "a path with a layer twice"
    assert [row["shape"] == "diamond" for row in marks] == again
