"""Sources of weight 0: the smaller recipe gives the same bits, or the source stays."""

from __future__ import annotations

import pytest

from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.engine import Sources, compute, plan
from kingyo.merging.engine.idle_sources import without_idle_sources
from kingyo.merging.kernels.raw_tensor import bytes_of
from kingyo.merging.methods import METHODS, takes_base
from kingyo.merging.recipe import Conditional, Recipe, Slice, SliceSource, Source, Value
from tests.models_on_disk import fine_tuned, llama

MODELS = ("one", "two", "three")
SKIPPING = {
    *("linear", "multislerp", "task_arithmetic", "ties", "breadcrumbs", "breadcrumbs_ties"),
    *("singular_bands", "dare_linear", "dare_ties", "della", "della_linear"),
}
WEIGHTED = [
    name
    for name in METHODS.names()
    if METHODS.get(name).max_sources is None and "weight" in {each.name for each in METHODS.get(name).params}
]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    root = tmp_path_factory.mktemp("idle")
    base = llama(root / "base", layers=2, hidden=8)
    for seed, name in enumerate(MODELS, start=1):
        fine_tuned(base, root / name, seed=seed)
    return Sources({name: open_checkpoint(name, root) for name in ("base", *MODELS)}, root)


def recipe_with(method: str, *weights: Value, **changes: object) -> Recipe:
    declared = METHODS.get(method)
    needed: dict[str, Value] = {
        each.name: 0.6
        for each in declared.params
        if each.name in ("top", "middle", "density") and each.search_low is not None
    }
    fields: dict[str, object] = {
        "merge_method": method,
        "base_model": "base" if takes_base(declared) else None,
        "sources": tuple(
            Source(model=model, parameters={"weight": weight})
            for model, weight in zip(MODELS, weights, strict=True)
        ),
        "parameters": needed,
        "seed": 3,
    }
    return Recipe(**(fields | changes))  # type: ignore[arg-type]


def weights_of(recipe: Recipe, opened: Sources) -> dict[str, bytes]:
    planned = plan(recipe, opened)
    return {job.name: bytes_of(compute(job, planned.sources.read)).tobytes() for job in planned.jobs}


@pytest.mark.parametrize("idle", range(3))
@pytest.mark.parametrize("method", WEIGHTED)
def test_a_source_is_dropped_only_where_no_bit_changes(method: str, idle: int, opened: Sources) -> None:
    recipe = recipe_with(method, *(0.0 if place == idle else 0.5 for place in range(3)))
    smaller, kept = without_idle_sources(recipe, opened)
    if method not in SKIPPING:
        assert (smaller, kept) == (recipe, ())
        return
    gives_config, draws_by_place = recipe.base_model is None and idle == 0, METHODS.get(method).stochastic
    stays = gives_config or (draws_by_place and idle < 2)
    assert kept == ((MODELS[idle],) if stays else ())
    assert [each.model for each in smaller.sources] == [
        model for place, model in enumerate(MODELS) if stays or place != idle
    ]
    assert weights_of(smaller, opened) == weights_of(recipe, opened)


@pytest.mark.parametrize("method", sorted(SKIPPING))
def test_what_stays_has_an_effect(method: str, opened: Sources) -> None:
    """Else the test above would pass for tensors that no source reaches."""
    without = recipe_with(method, 0.5, 0.5, 0.0)
    assert weights_of(without, opened) != weights_of(recipe_with(method, 0.5, 0.5, 0.5), opened)


def test_a_weight_that_is_zero_in_some_tensors_keeps_its_source(opened: Sources) -> None:
    by_layer = (Conditional(filter="mlp", value=0.2), Conditional(filter=None, value=0.0))
    recipe = recipe_with("task_arithmetic", by_layer, 0.0, (0.0, 1.0))
    smaller, kept = without_idle_sources(recipe, opened)
    assert ([each.model for each in smaller.sources], kept) == (["one", "three"], ())
    assert weights_of(smaller, opened) == weights_of(recipe, opened)


def test_a_recipe_keeps_a_source(opened: Sources) -> None:
    recipe = recipe_with("task_arithmetic", 0.0, 0.0, 0.0)
    smaller, kept = without_idle_sources(recipe, opened)
    assert ([each.model for each in smaller.sources], kept) == (["one"], ("one",))
    assert weights_of(smaller, opened) == weights_of(recipe, opened)


def test_a_tokenizer_of_all_models_keeps_them(opened: Sources) -> None:
    recipe = recipe_with("task_arithmetic", 0.5, 0.0, 0.0, tokenizer_source="union")
    assert without_idle_sources(recipe, opened) == (recipe, ("two", "three"))


def test_sources_that_a_merge_in_a_path_keeps_are_named(opened: Sources) -> None:
    merges = {
        "first": recipe_with("dare_ties", 0.0, 0.5, 0.5).to_dict(),
        "second": recipe_with("dare_ties", 0.0, 0.0, 0.5).to_dict(),
    }
    layers = [{"model": "first", "layer": 0}, {"model": "second", "layer": 1}]
    text = {"merge_method": "passthrough", "base_model": "first", "path": layers, "merges": merges}
    path = Recipe.from_dict(text)
    assert without_idle_sources(path, opened) == (path, ("one", "two"))


def test_sources_of_slices_and_of_merges_in_a_path_are_dropped(opened: Sources) -> None:
    def entry(model: str, weight: float) -> SliceSource:
        return SliceSource(model=model, layers=(0, 2), parameters={"weight": weight})

    sliced = recipe_with(
        "linear", 0.5, 0.5, 0.5, sources=(), slices=(Slice(sources=(entry("one", 1), entry("two", 0))),)
    )
    smaller, kept = without_idle_sources(sliced, opened)
    assert (smaller.references, kept) == (("one",), ())
    assert weights_of(smaller, opened) == weights_of(sliced, opened)
    text = {
        "merge_method": "passthrough",
        "base_model": "bred",
        "path": [{"model": "bred", "layer": 0}, {"model": "bred", "layer": 1}],
        "merges": {"bred": recipe_with("task_arithmetic", 0.5, 0.0, 0.5).to_dict()},
    }
    path = Recipe.from_dict(text)
    smaller, kept = without_idle_sources(path, opened)
    assert kept == ()
    assert set(smaller.references) == {"base", "one", "three"}
    assert weights_of(smaller, opened) == weights_of(path, opened)
