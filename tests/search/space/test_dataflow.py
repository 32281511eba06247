"""The data-flow space: slots, scales, what genomes decode to, and limits."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.core.types import Genome
from kingyo.errors import KingyoError
from kingyo.merging.recipe import Recipe, Source
from kingyo.search.space import DataflowSpace, RoundedSpace, frankenmerge

SOURCES = {"a": "models/a", "b": "models/b"}
LAYERS = {"a": 3, "b": 2}
M = 5


def space(**given: Any) -> DataflowSpace:
    plain = {"sources": SOURCES, "n_layers": LAYERS, "frame": "a", "scales": "none", "order": "source"}
    return DataflowSpace(**{**plain, **given})


def start(made: DataflowSpace) -> Genome:
    return tuple(axis.first for axis in made.axes)


def steps(recipe: Recipe) -> list[tuple[str, int]]:
    return [(hop.model.removeprefix("models/"), hop.layer) for hop in recipe.path]


@pytest.mark.parametrize("inclusion", ["binary", "threshold"])
@pytest.mark.parametrize("scales", ["none", "layer", "matrix"])
@pytest.mark.parametrize("frame", ["a", "b"])
def test_a_search_starts_at_the_layers_of_the_frame(inclusion: str, scales: str, frame: str) -> None:
    path_space = space(inclusion=inclusion, scales=scales, frame=frame)
    recipe = path_space.decode(start(path_space))
    assert steps(recipe) == [(frame, k) for k in range(LAYERS[frame])]
    assert all(hop.scale == 1 for hop in recipe.path)
    assert recipe.base_model == SOURCES[frame]
    assert recipe.merge_method == "passthrough"


@pytest.mark.parametrize(("scales", "n"), [("none", 0), ("layer", M), ("matrix", M * (M + 1))])
def test_the_number_of_genes(scales: str, n: int) -> None:
    path_space = space(scales=scales, repetitions=3)
    assert len(path_space.axes) == 3 * M + n
    assert len({axis.name for axis in path_space.axes}) == len(path_space.axes)
    assert [axis.name for axis in path_space.axes[:2]] == ["pass 1/a.0", "pass 1/a.1"]
    assert path_space.axes[M].name == "pass 2/a.0"


def test_slots_are_passed_in_their_order() -> None:
    path_space = space(repetitions=2)
    genome = (1, 0, 0, 1, 0, 0, 0, 1, 1, 0)
    assert steps(path_space.decode(genome)) == [("a", 0), ("b", 0), ("a", 2), ("b", 0)]


def test_by_depth_the_layers_of_the_sources_alternate() -> None:
    path_space = space(order="depth", repetitions=2)
    names = [axis.name for axis in path_space.axes]
    assert names[:5] == ["pass 1/a.0", "pass 1/b.0", "pass 1/a.1", "pass 1/b.1", "pass 1/a.2"]
    assert [name[7:] for name in names[5:]] == [name[7:] for name in names[:5]]
    assert steps(path_space.decode(start(path_space))) == [("a", 0), ("a", 1), ("a", 2)]
    assert path_space.genome([("a", 0), ("b", 1), ("a", 2)]) == (1, 0, 0, 1, 1, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("inclusion", ["binary", "threshold"])
@pytest.mark.parametrize("order", ["depth", "source"])
def test_seeds_are_the_sources_a_stack_of_two_and_the_frame_without_a_block(
    inclusion: str, order: str
) -> None:
    path_space = space(inclusion=inclusion, order=order)
    seeds = [steps(path_space.decode(genome)) for genome in path_space.seeds()]
    assert seeds[:2] == [[("a", 0), ("a", 1), ("a", 2)], [("b", 0), ("b", 1)]]
    assert [("a", 1), ("a", 2)] in seeds
    assert [("a", 0), ("a", 2)] in seeds
    assert [("a", 0), ("a", 1)] in seeds
    assert len(seeds) == len({tuple(each) for each in seeds}) == 6
    assert path_space.seeds()[0] == start(path_space)


def test_seeds_skip_a_few_blocks_of_a_deep_frame_and_keep_to_the_limit() -> None:
    path_space = space(n_layers={"a": 30, "b": 2})
    skips = [steps(path_space.decode(genome)) for genome in path_space.seeds()[3:]]
    assert [len(each) for each in skips] == [26] * 7 + [28]
    assert all(len(steps(each)) <= 2 for each in map(space(max_hops=2).decode, space(max_hops=2).seeds()))


def test_a_source_may_be_a_merge() -> None:
    merge = Recipe(merge_method="linear", sources=(Source(model="models/a"), Source(model="models/b")))
    path_space = space(
        sources={**SOURCES, "merged": "merged"}, n_layers={**LAYERS, "merged": 3}, merges={"merged": merge}
    )
    single_layer = path_space.genome([("a", 0)])
    assert single_layer is not None and path_space.decode(single_layer).merges == {}
    mixed = path_space.genome([("a", 0), ("merged", 1)])
    assert mixed is not None and path_space.decode(mixed).merges == {"merged": merge}
    assert path_space.decode(mixed).references == ("models/a", "models/b")


@given(st.lists(st.sampled_from([("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)]), min_size=1, max_size=6))
def test_a_path_that_fits_has_a_genome(path: list[tuple[str, int]]) -> None:
    for inclusion in ("binary", "threshold"):
        path_space = space(repetitions=4, inclusion=inclusion, scales="layer")
        genome = path_space.genome(path)
        if genome is not None:
            assert steps(path_space.decode(genome)) == path
        else:
            assert len(path) > 4


@pytest.mark.parametrize("inclusion", ["binary", "threshold"])
@pytest.mark.parametrize("scales", ["none", "layer", "matrix"])
@pytest.mark.parametrize("max_hops", [None, 1, 3])
def test_every_genome_is_a_path_within_the_limits(inclusion: str, scales: str, max_hops: int | None) -> None:
    path_space = RoundedSpace(
        space=space(inclusion=inclusion, scales=scales, repetitions=3, max_hops=max_hops, max_scale=1.5)
    )
    rng = np.random.default_rng(0)
    low, high = np.array([(axis.low, axis.high) for axis in path_space.axes]).T
    for _ in range(200):
        genome = low + (high - low) * rng.random(len(low))
        genome = [
            round(g) if axis.kind == "binary" else g for g, axis in zip(genome, path_space.axes, strict=True)
        ]
        recipe = path_space.decode(tuple(float(each) for each in genome))
        assert 1 <= len(recipe.path) <= (max_hops or 3 * M)
        assert all(1 / 1.5001 < hop.scale < 1.5001 for hop in recipe.path)
        assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_without_a_positive_gene_the_largest_is_used() -> None:
    assert steps(space(repetitions=1).decode((0,) * M)) == [("a", 0)]
    path_space = space(repetitions=1, inclusion="threshold")
    assert steps(path_space.decode((-1, -0.5, -0.2, -0.1, -0.9))) == [("b", 0)]


def test_too_many_hops_are_thinned_out() -> None:
    assert steps(space(repetitions=1, max_hops=2).decode((1, 0, 1, 1, 1))) == [("a", 0), ("b", 1)]
    assert steps(space(repetitions=1, max_hops=3).decode((1, 1, 1, 1, 1))) == [("a", 0), ("a", 2), ("b", 1)]
    assert steps(space(repetitions=1, max_hops=1).decode((0, 1, 1, 1, 1))) == [("a", 1)]
    deep = space(n_layers={"a": 60, "b": 2}, repetitions=1, max_hops=20)
    kept = [layer for _, layer in steps(deep.decode((*[1] * 60, 0, 0)))]
    assert kept[0] == 0 and kept[-1] == 59
    assert len(kept) == 20 and set(np.diff(kept)) == {3, 4}
    path_space = space(repetitions=1, max_hops=2, inclusion="threshold")
    assert steps(path_space.decode((0.1, 0.9, 0.2, -1, 0.8))) == [("a", 1), ("b", 1)]


@pytest.mark.parametrize(
    ("scales", "genes", "expected"),
    [
        ("layer", {"a.0": -1.0}, [0.5, 1, 1, 0.5]),
        ("matrix", {"a.2>a.0": 0.5, "start>a.0": -1.0}, [0.5, 1, 1, 1.414]),
    ],
)
def test_scales_are_of_layers_or_also_of_what_came_before(
    scales: str, genes: dict[str, float], expected: list[float]
) -> None:
    path_space = space(scales=scales, repetitions=2)
    genome = {axis.name: axis.first for axis in path_space.axes} | {"pass 2/a.0": 1.0}
    genome |= {f"log2 scale/{name}": gene for name, gene in genes.items()}
    assert [hop.scale for hop in path_space.decode(tuple(genome.values())).path] == expected


def test_the_frankenmerge_is_the_first_of_one_and_the_last_of_the_other() -> None:
    hops = frankenmerge({"a": "A", "b": "B"}, {"a": 8, "b": 4}, "a")
    assert hops == [*(("A", k) for k in range(6)), *(("B", k) for k in range(1, 4))]


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"repetitions": 10**6}, r"dataflow\.repetitions: expected paths of at most 4096 layers"),
        ({"n_layers": {"a": 3, "b": 0}}, r"sources\.b: expected a model with layers; received none"),
    ],
)
def test_a_space_that_nothing_can_search_is_refused(given_: dict[str, Any], says: str) -> None:
    with pytest.raises(KingyoError, match=says):
        space(**given_)
