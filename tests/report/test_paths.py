"""Paths in the report: charts, pictures and sentences say what the recipes in the store say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from kingyo.cli.tables import print_summary
from kingyo.evolution import BASELINES, MAIN
from kingyo.recipe import Hop, Recipe, Source
from kingyo.report.bands import stack
from kingyo.report.chart import Figure
from kingyo.report.composition import read_matrices
from kingyo.report.findings import Findings, gather
from kingyo.report.known import headline
from kingyo.report.page import render_page
from kingyo.report.path_charts import path_chart
from kingyo.report.path_section import said_of
from kingyo.report.routes import Routes
from kingyo.report.usage_charts import scale_chart, usage_chart
from kingyo.results.paths import Atlas
from kingyo.results.summary import summarize
from kingyo.store import RunStore, StoredTrial

Visit = tuple[str, int, float]


def visits(trial: StoredTrial) -> list[Visit]:
    """Source, layer and scale of each hop, from the text in the store."""
    found: list[Visit] = []
    for entry in json.loads(trial.recipe)["path"]:
        first, end = entry.get("layer_range") or (entry["layer"], entry["layer"] + 1)
        source = entry["model"].removeprefix("zoo/")
        found += [(source, layer, entry.get("scale", 1.0)) for layer in range(first, end)]
    return found


@pytest.fixture
def paths(runs: dict[str, Path]) -> Iterator[RunStore]:
    with RunStore.read(runs["paths"]) as store:
        yield store


@pytest.fixture
def stacking(runs: dict[str, Path]) -> Iterator[RunStore]:
    with RunStore.read(runs["stacking"]) as store:
        yield store


def routes_of(found: Findings) -> Routes:
    assert found.routes is not None
    return found.routes


def drawn(figure: Figure) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", list(figure.data))


def marks(figure: Figure) -> dict[str, Any]:
    """The hops of a chart of a path: what is drawn last."""
    return drawn(figure)[-1]


def test_each_hop_of_the_winner_is_a_mark_in_its_row(paths: RunStore) -> None:
    found = gather(paths)
    assert found.child is not None and found.routes is not None and found.routes.path is not None
    hops, shown = visits(found.child.trial), marks(path_chart(found.routes, found.routes.path))
    assert len(hops) > 4
    assert shown["x"] == list(range(1, len(hops) + 1))
    rows = {(source, layer): y for (source, layer, _), y in zip(hops, shown["y"], strict=True)}
    assert len(set(rows.values())) == len(rows), "a row for each layer"
    in_ja, in_en = ([y for (name, _), y in rows.items() if name == each] for each in ("ja", "math-en"))
    assert min(in_ja) > max(in_en), "the first source is on top"
    product = 1.0
    for number, ((source, layer, scale), said) in enumerate(zip(hops, shown["hovertext"], strict=True), 1):
        product *= scale
        assert said.startswith(f"hop {number}: <b>{source}</b>, layer {layer}<br>scale ×{scale:.3g}, ")
        assert f"cumulative ×{product:.3g}" in said
    assert [2**shade for shade in shown["marker"]["color"]] == pytest.approx([scale for *_, scale in hops])


def test_layers_that_are_passed_again_stand_out(paths: RunStore) -> None:
    found = gather(paths)
    assert found.child is not None and found.routes is not None and found.routes.path is not None
    hops = [(source, layer) for source, layer, _ in visits(found.child.trial)]
    again = [place in hops[:i] for i, place in enumerate(hops)]
    assert any(again), "a path with a layer twice"
    figure = path_chart(found.routes, found.routes.path)
    assert [each == "diamond" for each in marks(figure)["marker"]["symbol"]] == again
    dotted = [each for each in drawn(figure) if each.get("line", {}).get("dash") == "dot"]
    assert len(dotted) == len({place for place, is_again in zip(hops, again, strict=True) if is_again})
    assert sum("passed for the 2nd time" in said for said in marks(figure)["hovertext"]) == sum(again)


def test_a_path_begins_and_ends_in_the_frame(paths: RunStore) -> None:
    found = gather(paths)
    assert found.routes is not None and found.routes.path is not None
    figure = path_chart(found.routes, found.routes.path)
    names = [each["text"] for each in cast("list[dict[str, Any]]", figure.layout["annotations"])]
    assert names == ["<b>ja</b> gives embeddings, norm and head", "<b>math-en</b>"]
    (ends,) = (each for each in drawn(figure) if "embeddings of ja" in str(each.get("hovertext")))
    labels = cast("dict[str, list[Any]]", figure.layout["yaxis"])
    by_row = dict(zip(labels["tickvals"], labels["ticktext"], strict=True))
    assert [by_row[y] for y in ends["y"]] == ["embeddings", "norm, head"]


def test_shares_and_mean_scales_are_those_of_the_recipes(paths: RunStore) -> None:
    routes = routes_of(gather(paths))
    assert routes.by_generation and len(routes.groups) == 3
    shares, scales = usage_chart(routes, "bred"), scale_chart(routes, "bred")
    for place, source in enumerate(("ja", "math-en")):
        for batch in range(3):
            tried = [visits(trial) for trial in paths.trials(MAIN) if trial.batch == batch]
            for layer in range(6):
                passing = [path for path in tried if (source, layer) in {(s, k) for s, k, _ in path}]
                own = [scale for path in tried for s, k, scale in path if (s, k) == (source, layer)]
                assert drawn(shares)[place]["z"][layer][batch] == pytest.approx(
                    100 * len(passing) / len(tried)
                )
                said = drawn(shares)[place]["hovertext"][layer][batch]
                assert f"passed by {len(passing)} of {len(tried)}" in said
                mean = drawn(scales)[place]["z"][layer][batch]
                if own:
                    product = 1.0
                    for scale in own:
                        product *= scale
                    assert 2**mean == pytest.approx(product ** (1 / len(own)))
                else:
                    assert mean is None


def test_what_the_winner_passes_stands_behind_the_last_generation(paths: RunStore) -> None:
    found = gather(paths)
    assert found.child is not None
    shown = drawn(usage_chart(routes_of(found), "bred"))[-1]
    assert len(shown["y"]) == len({(source, layer) for source, layer, _ in visits(found.child.trial)})
    assert min(shown["x"]) > 3


def test_small_batches_are_put_together(stacking: RunStore) -> None:
    routes = routes_of(gather(stacking))
    assert not routes.by_generation
    said = [(group.label, group.said, group.n) for group in routes.groups]
    assert said == [("0", "trials 0 to 9", 10), ("10", "trials 10 to 19", 10), ("20", "trials 20 to 29", 10)]


def test_before_the_first_trial_there_is_nothing_to_draw(runs: dict[str, Path]) -> None:
    with RunStore.read(runs["empty"]) as store:
        assert gather(store).routes is None


def test_without_scales_colour_says_the_source(stacking: RunStore) -> None:
    found = gather(stacking)
    routes = routes_of(found)
    assert routes.reach == 0 and routes.path is not None
    marker = marks(path_chart(routes, routes.path))["marker"]
    assert "cmin" not in marker and set(marker["color"]) <= {"@green", "@ochre"}
    page = render_page(found, "")
    assert 'data-figure="path-layers"' in page and 'data-figure="path-scales"' not in page
    assert "best so far" in json.dumps(usage_chart(routes, found.child_name).layout)


def test_the_page_speaks_of_layers_and_not_of_weights(paths: RunStore) -> None:
    found = gather(paths)
    page = render_page(found, "")
    assert 'id="path"' in page and 'href="#path"' in page
    assert 'id="genes"' not in page and "groups block" not in page
    assert "paths through layers" in page
    assert "frankenmerge stacks layers" in page
    assert found.routes is not None and found.routes.path is not None
    assert said_of(found.routes.path) in page


def test_a_run_on_weights_has_no_section_on_paths(runs: dict[str, Path]) -> None:
    with RunStore.read(runs["better"]) as store:
        page = render_page(gather(store), "")
    assert 'id="path"' not in page and 'id="genes"' in page and "frankenmerge" not in page


def test_the_frankenmerge_is_no_parent(paths: RunStore) -> None:
    found = gather(paths)
    best = found.summary.best_parent()
    assert best is not None and best.name in ("base", "ja", "math-en")
    assert {bar.name: bar.role for bar in found.bars()}["frankenmerge"] == "mixture"
    assert found.contrast is not None and found.contrast.parents == ("base", "ja", "math-en")
    assert "the frankenmerge" in headline(found)


def test_of_both_spaces_only_the_genes_of_the_merge_are_a_matrix(paths: RunStore) -> None:
    found = gather(paths)
    assert found.child is not None and found.matrices == ()
    names = ("weight/ja/all", "weight/math-en/all", "pass 1/ja.0", "log2 scale/merged.3", "network/0")
    axes = [{"name": name, "low": 0.0, "high": 2.0} for name in names]
    (matrix,) = read_matrices({"axes": axes}, (0.25, 1.5, 1.0, 0.5, 0.0))
    assert matrix.cells == ((0.25, 1.5),)
    hops = (Hop(model="zoo/ja", layer=0), Hop(model="merged", layer=1))
    recipe = Recipe(
        merge_method="passthrough",
        path=hops,
        merges={"merged": ties("zoo/ja", "zoo/math-en")},
        base_model="merged",
    )
    path = Atlas(names={"zoo/ja": "ja"}, layers={"ja": 2, "merged": 2}).read(recipe)
    assert path is not None and path.line == "ja 0 · merged 1"
    assert path.ends == "embeddings, norm and head of merged"
    page = render_page(
        replace(found, child=replace(found.child, recipe=recipe.to_dict()), matrices=(matrix,)), ""
    )
    assert "2 genes of merged, merged by ties." in page


def ties(*models: str) -> Recipe:
    sources = tuple(Source(model=model) for model in models)
    return Recipe(merge_method="ties", sources=sources, base_model=models[0])


@pytest.mark.parametrize(("name", "has_path"), [("uniform", False), ("math-en", True)])
def test_a_winner_that_is_no_stack(runs: dict[str, Path], tmp_path: Path, name: str, has_path: bool) -> None:
    with RunStore.open(Path(shutil.copytree(runs["paths"], tmp_path / "run"))) as store:
        (chosen,) = (trial for trial in store.trials(BASELINES) if trial.name == name)
        store.set_winner(MAIN, chosen.id)
        found = gather(store)
        page = render_page(found, "")
    routes = routes_of(found)
    assert (routes.path is not None) == has_path == ('data-figure="path"' in page)
    assert 'data-figure="path-layers"' in page
    if routes.path is None:
        assert "has no path of its own" in page
        assert len(drawn(usage_chart(routes, "bred"))) == 2
    else:
        rows = marks(path_chart(routes, routes.path))["y"]
        assert [b - a for a, b in pairwise(rows)] == [1.0] * 5
        assert routes.path.line == "math-en 0-5" and routes.path.ends.endswith("of math-en")


def test_many_layers_and_hops_stay_apart() -> None:
    atlas = Atlas(names={}, layers={"a": 24, "b": 24})
    hops = [Hop(model=model, layer=k) for model in ("a", "b", "a") for k in range(4, 24)]
    path = atlas.read(Recipe(merge_method="passthrough", path=tuple(hops), base_model="a"))
    assert path is not None
    figure = path_chart(Routes(path=path, layers={}, groups=(), by_generation=False, reach=0.0), path)
    size = marks(figure)["marker"]["size"]
    low, high = cast("list[float]", cast("dict[str, Any]", figure.layout["yaxis"])["range"])
    assert (figure.height - 56) / (high - low) > size
    assert figure.min_width / 62 > size
    assert len(cast("dict[str, Any]", figure.layout["xaxis"])["tickvals"]) <= 15


def test_bands_stand_one_above_the_other() -> None:
    bands = stack({"a": 3, "b": 2}, 1.5)
    a, b = bands.bands["a"], bands.bands["b"]
    assert b.low == 0 and b.high < a.low and a.high == bands.height
    assert [a.row(k) - a.low for k in range(3)] == [0.5, 1.5, 2.5]
    assert bands.begin is None and bands.end is None
    assert bands.labels(1.0) == {0.5: "0", 1.5: "1", 4.5: "0", 5.5: "1", 6.5: "2"}
    assert list(bands.labels(2.0).values()) == ["0", "2", "0"]


def test_a_sentence_says_what_a_path_is() -> None:
    def said(*hops: tuple[str, int]) -> str:
        path = tuple(Hop(model=model, layer=layer) for model, layer in hops)
        found = Atlas(names={}, layers={}).read(Recipe(merge_method="passthrough", path=path, base_model="a"))
        assert found is not None
        return said_of(found)

    ends = "Embeddings, norm and head of a."
    assert said(("a", 0), ("b", 1)) == f"2 hops: 1 through a and 1 through b, no layer twice. {ends}"
    assert said(("a", 0), ("a", 0), ("a", 1)) == f"3 hops: 3 through a, a 0 more than once. {ends}"
    many = [("a", k) for k in range(7)] * 2
    assert said(*many) == f"14 hops: 14 through a, 7 layers more than once. {ends}"


def test_pictures_are_drawn(paths: RunStore, stacking: RunStore) -> None:
    pytest.importorskip("matplotlib", reason="pictures are matplotlib's")
    from kingyo.report.pictures import draw_pictures

    found = draw_pictures(gather(paths))
    assert [name for name in found if name.startswith(("path", "genes"))] == [
        "path.png",
        "path-layers.png",
        "path-scales.png",
    ]
    assert all(content.startswith(b"\x89PNG") for content in found.values())
    assert "path-scales.png" not in draw_pictures(gather(stacking))


def test_plotly_accepts_the_charts(paths: RunStore) -> None:
    graph_objects = pytest.importorskip("plotly.graph_objects", reason="charts are plotly's")
    routes = routes_of(gather(paths))
    assert routes.path is not None
    for figure in (path_chart(routes, routes.path), usage_chart(routes, "bred"), scale_chart(routes, "bred")):
        text = json.dumps(figure.to_json())
        for token in ("accent", "green", "ochre", "ink", "muted", "grey", "rule", "card", "page"):
            text = text.replace(f'"@{token}"', '"#123456"')
        text = text.replace('"@heat-low"', '"#000000"').replace('"@heat-zero"', '"#777777"')
        graph_objects.Figure(json.loads(text.replace('"@heat-high"', '"#ffffff"')))
        assert figure.description


def test_show_prints_the_path_of_the_best_so_far(
    stacking: RunStore, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = summarize(stacking)
    assert summary.leader is not None and summary.path is not None
    assert [(s.source, s.layer, s.scale) for s in summary.path.steps] == visits(summary.leader.trial)
    shown = cast("dict[str, Any]", summary.to_json())
    assert shown["winner"] is None and shown["leader"]["path"] == summary.path.to_json()
    print_summary(summary)
    said = capsys.readouterr().out
    assert f"Path of best so far: {len(summary.path.steps)} hops" in said
    assert "scale 1" not in said, "no legend where nothing is scaled"
