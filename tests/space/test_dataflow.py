"""The data-flow space: slots, scales, what genomes decode to, and limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.errors import KingyoError
from kingyo.recipe import Recipe, Source
from kingyo.space import DataflowSpace, RoundedSpace, frankenmerge
from kingyo.types import Genome

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
def test_a_search_begins_at_the_frames_own_layers(inclusion: str, scales: str, frame: str) -> None:
    made = space(inclusion=inclusion, scales=scales, frame=frame)
    recipe = made.decode(start(made))
    assert steps(recipe) == [(frame, k) for k in range(LAYERS[frame])]
    assert all(hop.scale == 1 for hop in recipe.path)
    assert recipe.base_model == SOURCES[frame]
    assert recipe.merge_method == "passthrough"


@pytest.mark.parametrize(("scales", "n"), [("none", 0), ("layer", M), ("matrix", M * (M + 1))])
def test_how_many_genes_there_are(scales: str, n: int) -> None:
    made = space(scales=scales, repetitions=3)
    assert len(made.axes) == 3 * M + n
    assert len({axis.name for axis in made.axes}) == len(made.axes)
    assert [axis.name for axis in made.axes[:2]] == ["pass 1/a.0", "pass 1/a.1"]
    assert made.axes[M].name == "pass 2/a.0"


def test_slots_are_passed_in_their_order() -> None:
    made = space(repetitions=2)
    genome = (1, 0, 0, 1, 0, 0, 0, 1, 1, 0)
    assert steps(made.decode(genome)) == [("a", 0), ("b", 0), ("a", 2), ("b", 0)]


def test_by_depth_the_layers_of_the_sources_alternate() -> None:
    made = space(order="depth", repetitions=2)
    names = [axis.name for axis in made.axes]
    assert names[:5] == ["pass 1/a.0", "pass 1/b.0", "pass 1/a.1", "pass 1/b.1", "pass 1/a.2"]
    assert [name[7:] for name in names[5:]] == [name[7:] for name in names[:5]]
    assert steps(made.decode(start(made))) == [("a", 0), ("a", 1), ("a", 2)]
    assert made.genome([("a", 0), ("b", 1), ("a", 2)]) == (1, 0, 0, 1, 1, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("inclusion", ["binary", "threshold"])
@pytest.mark.parametrize("order", ["depth", "source"])
def test_seeds_are_the_sources_a_stack_of_two_and_the_frame_without_a_block(
    inclusion: str, order: str
) -> None:
    made = space(inclusion=inclusion, order=order)
    found = [steps(made.decode(genome)) for genome in made.seeds()]
    assert found[:2] == [[("a", 0), ("a", 1), ("a", 2)], [("b", 0), ("b", 1)]]
    assert [("a", 1), ("a", 2)] in found
    assert [("a", 0), ("a", 2)] in found
    assert [("a", 0), ("a", 1)] in found
    assert len(found) == len({tuple(each) for each in found}) == 6
    assert made.seeds()[0] == start(made)


def test_seeds_skip_a_few_blocks_of_a_deep_frame_and_keep_to_the_limit() -> None:
    made = space(n_layers={"a": 30, "b": 2})
    skips = [steps(made.decode(genome)) for genome in made.seeds()[3:]]
    assert [len(each) for each in skips] == [26] * 7 + [28]
    assert all(len(steps(each)) <= 2 for each in map(space(max_hops=2).decode, space(max_hops=2).seeds()))


def test_a_source_may_be_a_merge() -> None:
    merge = Recipe(merge_method="linear", sources=(Source(model="models/a"), Source(model="models/b")))
    made = space(
        sources={**SOURCES, "merged": "merged"}, n_layers={**LAYERS, "merged": 3}, merges={"merged": merge}
    )
    own = made.genome([("a", 0)])
    assert own is not None and made.decode(own).merges == {}
    mixed = made.genome([("a", 0), ("merged", 1)])
    assert mixed is not None and made.decode(mixed).merges == {"merged": merge}
    assert made.decode(mixed).references == ("models/a", "models/b")


@given(st.lists(st.sampled_from([("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)]), min_size=1, max_size=6))
def test_a_path_that_fits_has_a_genome(path: list[tuple[str, int]]) -> None:
    for inclusion in ("binary", "threshold"):
        made = space(repetitions=4, inclusion=inclusion, scales="layer")
        genome = made.genome(path)
        if genome is not None:
            assert steps(made.decode(genome)) == path
        else:
            assert len(path) > 4


def test_the_genome_of_a_path_with_no_room_is_none() -> None:
    assert space(repetitions=1).genome([("b", 0), ("a", 0)]) is None
    assert space(repetitions=2).genome([("b", 0), ("a", 0)]) is not None


@pytest.mark.parametrize("inclusion", ["binary", "threshold"])
@pytest.mark.parametrize("scales", ["none", "layer", "matrix"])
@pytest.mark.parametrize("max_hops", [None, 1, 3])
def test_every_genome_is_a_path_within_the_limits(inclusion: str, scales: str, max_hops: int | None) -> None:
    made = RoundedSpace(
        space=space(inclusion=inclusion, scales=scales, repetitions=3, max_hops=max_hops, max_scale=1.5)
    )
    rng = np.random.default_rng(0)
    low, high = np.array([(axis.low, axis.high) for axis in made.axes]).T
    for _ in range(200):
        genome = low + (high - low) * rng.random(len(low))
        genome = [round(g) if axis.kind == "binary" else g for g, axis in zip(genome, made.axes, strict=True)]
        recipe = made.decode(tuple(float(each) for each in genome))
        assert 1 <= len(recipe.path) <= (max_hops or 3 * M)
        assert all(1 / 1.5001 < hop.scale < 1.5001 for hop in recipe.path)
        assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_no_slot_at_all_is_the_one_with_the_largest_gene() -> None:
    assert steps(space(repetitions=1).decode((0,) * M)) == [("a", 0)]
    made = space(repetitions=1, inclusion="threshold")
    assert steps(made.decode((-1, -0.5, -0.2, -0.1, -0.9))) == [("b", 0)]


def test_of_too_many_hops_those_between_are_left_out_or_those_with_the_smallest_genes() -> None:
    assert steps(space(repetitions=1, max_hops=2).decode((1, 0, 1, 1, 1))) == [("a", 0), ("b", 1)]
    assert steps(space(repetitions=1, max_hops=3).decode((1, 1, 1, 1, 1))) == [("a", 0), ("a", 2), ("b", 1)]
    assert steps(space(repetitions=1, max_hops=1).decode((0, 1, 1, 1, 1))) == [("a", 1)]
    deep = space(n_layers={"a": 60, "b": 2}, repetitions=1, max_hops=20)
    kept = [layer for _, layer in steps(deep.decode((*[1] * 60, 0, 0)))]
    assert kept[0] == 0 and kept[-1] == 59
    assert len(kept) == 20 and set(np.diff(kept)) == {3, 4}
    made = space(repetitions=1, max_hops=2, inclusion="threshold")
    assert steps(made.decode((0.1, 0.9, 0.2, -1, 0.8))) == [("a", 1), ("b", 1)]


def test_a_scale_per_layer_counts_each_time_that_it_is_passed() -> None:
    made = space(scales="layer", repetitions=2)
    genome = list(start(made))
    genome[M] = 1.0  # a.0 once more
    genome[made_place(made, "log2 scale/a.0")] = -1.0
    scales = [hop.scale for hop in made.decode(tuple(genome)).path]
    assert scales == [0.5, 1, 1, 0.5]


def test_a_matrix_scales_a_layer_by_what_came_before_it() -> None:
    made = space(scales="matrix", repetitions=2)
    genome = list(start(made))
    genome[M] = 1.0  # a.0 once more, behind a.2
    genome[made_place(made, "log2 scale/a.2>a.0")] = 0.5
    genome[made_place(made, "log2 scale/start>a.0")] = -1.0
    scales = [hop.scale for hop in made.decode(tuple(genome)).path]
    assert scales == [0.5, 1, 1, 1.414]


def made_place(made: DataflowSpace, name: str) -> int:
    return [axis.name for axis in made.axes].index(name)


def test_the_frankenmerge_is_the_first_of_one_and_the_last_of_the_other() -> None:
    found = frankenmerge({"a": "A", "b": "B"}, {"a": 8, "b": 4}, "a")
    assert found == [*(("A", k) for k in range(6)), *(("B", k) for k in range(1, 4))]


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"max_hops": 0}, r"dataflow\.max_hops: expected 1 or more"),
        ({"repetitions": 0}, r"dataflow\.repetitions: expected 1 or more"),
        ({"repetitions": 10**6}, r"dataflow\.repetitions: expected paths of at most 4096 layers"),
        ({"max_scale": 1.0}, r"dataflow\.max_scale: expected a number above 1, at most 1024; received 1"),
        ({"max_scale": float("nan")}, r"dataflow\.max_scale: .* received nan"),
        ({"max_scale": 1e300}, r"dataflow\.max_scale: .* received 1e\+300"),
        ({"frame": "aa"}, r"dataflow\.frame: expected a known name; received 'aa'.*Did you mean 'a'"),
        ({"sources": {}}, "sources: expected models with layers; received none"),
        ({"n_layers": {"a": 3, "b": 0}}, r"sources\.b: expected models with layers; received 0 layers"),
    ],
)
def test_a_space_that_nothing_can_search_is_refused(given_: dict[str, Any], says: str) -> None:
    with pytest.raises(KingyoError, match=says):
        space(**given_)


def test_many_repetitions_are_fine_within_a_limit() -> None:
    assert space(repetitions=2000, max_hops=8).most_hops == 8
    assert space(repetitions=2, max_hops=100).most_hops == 2 * M


def test_another_number_of_genes_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 10 genes"):
        space().decode((0.0,))
