"""Slices, modules, paths and all other keys of a recipe: identity, YAML in both directions, and mistakes."""

import pickle
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kingyo.errors import KingyoError
from kingyo.merging.recipe import (
    Conditional,
    Hop,
    Module,
    Recipe,
    Slice,
    SliceSource,
    Source,
    as_slices,
    cumulative,
    load_recipes,
    look_up,
    path_as_slices,
)
from kingyo.merging.recipe.shape import keys_of
from tests.merging.recipe.mistakes import mistakes

numbers = st.floats(-3, 3)
words = st.sampled_from(["fast", "slow"])
gradients = st.one_of(
    *(st.lists(each, min_size=1, max_size=3).map(tuple) for each in (numbers, st.booleans(), words))
)

plain = st.one_of(numbers, st.booleans(), words, gradients)
conditionals = st.lists(
    st.builds(Conditional, filter=st.none() | st.just("mlp"), value=plain), min_size=1
).map(tuple)
parameters = st.dictionaries(st.sampled_from(["weight", "t"]), plain | conditionals, max_size=2)
names = st.sampled_from(["ja", "org/en@main", "org/base+org/lora@v2", "./モデル"])


@st.composite
def slices(draw: st.DrawFn) -> Slice:
    length = draw(st.integers(1, 9))
    firsts = draw(st.lists(st.integers(0, 40), min_size=1, max_size=3))
    return Slice(
        sources=tuple(
            SliceSource(model=draw(names), layers=(first, first + length), parameters=draw(parameters))
            for first in firsts
        ),
        base_model=draw(st.none() | names),
        parameters=draw(parameters),
    )


sources = st.lists(st.builds(Source, model=names, parameters=parameters), min_size=1, max_size=2).map(tuple)
some_slices = st.lists(slices(), min_size=1, max_size=3).map(tuple)
modules = st.dictionaries(
    st.sampled_from(["default", "vision"]),
    st.builds(Module, sources=sources, parameters=parameters) | st.builds(Module, slices=some_slices),
    min_size=1,
)
tokenizers = st.fixed_dictionaries(
    {"source": st.sampled_from(["union", "base"])}, optional={"tokens": st.just({"<a>": {"force": True}})}
)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    contents: dict[str, Any] = draw(
        st.fixed_dictionaries({"slices": some_slices})
        | st.fixed_dictionaries({"modules": modules})
        | st.fixed_dictionaries({"sources": sources})
    )
    speaks: dict[str, Any] = draw(
        st.fixed_dictionaries({"tokenizer": tokenizers}) | st.fixed_dictionaries({"tokenizer_source": names})
    )
    return Recipe(
        merge_method="ties",
        base_model=draw(st.none() | names),
        parameters=draw(parameters),
        dtype=draw(st.none() | st.just("float16")),
        out_dtype=draw(st.none() | st.just("bfloat16")),
        chat_template=draw(st.none() | st.just("auto")),
        resize=draw(st.none() | st.sampled_from(["pad-vocab", "truncate", "base"])),
        parts=draw(st.dictionaries(st.just("vision"), st.sampled_from(["merge", "base", "org/en"]))),
        seed=draw(st.integers(0, 9)),
        **contents,
        **speaks,
    )


@settings(max_examples=40)
@given(recipes())
def test_yaml_round_trip(recipe: Recipe) -> None:
    again = Recipe.from_dict(yaml.safe_load(recipe.to_yaml()))
    assert again == recipe and again.hash == recipe.hash and hash(again) == hash(recipe)
    assert pickle.loads(pickle.dumps(recipe)) == recipe


@settings(max_examples=40)
@given(recipes())
def test_renaming_reaches_every_model(recipe: Recipe) -> None:
    moved = recipe.renamed(lambda reference: f"/root/{reference}")
    assert moved.references == tuple(f"/root/{reference}" for reference in recipe.references)
    assert moved.renamed(lambda reference: reference.removeprefix("/root/")) == recipe


OLD = """
merge_method: ties
base_model: org/base
models:
- {model: ./ja, parameters: {weight: 1, density: [0.2, 1, 1e-1]}}
- model: org/math@v2
  parameters: {weight: [{filter: self_attn, value: [0, 0.5]}, {value: 1e-2}]}
parameters: {normalize: true}
dtype: bfloat16
tokenizer_source: base
seed: 7
"""


def test_hashes_equal_those_of_earlier_versions() -> None:
    """Databases store these hashes, and a resumed run looks for them."""
    recipe = Recipe.from_dict(yaml.safe_load(OLD))
    assert recipe.hash == "33bcfd3ce2c63ded17260d67dd8d6bf8b027553572d16ed49416eea84cd23768"
    small = Recipe(merge_method="linear", sources=(Source(model="猫", parameters={"weight": 1.0}),))
    assert small.hash == "24e3be6f1f3335fd12d38ad7dc26cdfa364497de037297de85ab5f5f53d39d15"
    assert list(recipe.to_dict()) == list(yaml.safe_load(OLD))


def test_integers_and_floats_are_the_same_recipe() -> None:
    sources = (Source(model="a", parameters={"weight": weight}) for weight in (1, 1.0, True))
    one, same, other = (Recipe(merge_method="linear", sources=(each,)).hash for each in sources)
    assert one == same != other


def test_a_gradient_needs_a_depth() -> None:
    with pytest.raises(KingyoError, match="which has no depth"):
        look_up([{"t": (0.0, 1.0)}], "t", "x", None)


def test_a_model_may_be_written_in_parts() -> None:
    whole = {"model": {"path": "org/base", "revision": "v1"}, "lora": {"path": "org/lora", "revision": "v2"}}
    models = [
        {"model": whole},
        {"model": {"model": {"path": "./ja"}}},
        {"model": {"model": "en", "lora": "lora"}},
    ]
    recipe = Recipe.from_dict({"merge_method": "linear", "models": models, "base_model": {"model": "base"}})
    assert recipe.references == ("org/base@v1+org/lora@v2", "./ja", "en+lora", "base")


def test_a_recipe_keeps_its_own_copy() -> None:
    block = {"source": "union", "tokens": {"<a>": {"source": "b"}}}
    recipe = Recipe(merge_method="linear", sources=(Source(model="a"),), tokenizer=block)
    before = recipe.hash
    block["source"] = "base"
    assert replace(recipe).hash == before and recipe.tokenizer == {
        "source": "union",
        "tokens": {"<a>": {"source": "b"}},
    }


LAYERS = "layer_range: [0, 2]"
SLICE = f"{{sources: [{{model: a, {LAYERS}}}]}}"
WEIGHT = "models[0].parameters.weight"
MISTAKES = (
    ("merge_metod: ties", "", "'merge_metod'"),
    ("merge_method: ", "merge_method", "nothing"),
    ("dtype: bf16", "dtype", "'bf16'"),
    ("parameters: 3", "parameters", "3"),
    ("base_model: 3", "base_model", "3"),
    ("tokenizer: union", "tokenizer", "'union'"),
    ("{models: [{model: a}], tokenizer_source: base, tokenizer: {source: base}}", "tokenizer", "both"),
    ("chat_template: 3", "chat_template", "3"),
    ("parts: {vision: ''}", "parts.vision", "''"),
    ("dtype: float16", "models", "none of them"),
    ("models: []", "models", "[]"),
    ("models: [a]", "models[0]", "'a'"),
    ("models: [{parameters: {}}]", "models[0].model", "nothing"),
    ("models: [{model: a, weight: 1}]", "models[0]", "'weight'"),
    ("models: [{model: ''}]", "models[0].model", "nothing"),
    ("models: [{model: {model: {path: }}}]", "models[0].model.model.path", "nothing"),
    ("models: [{model: {model: a, architecture: b}}]", "models[0].model", "'architecture'"),
    ("models: [{model: a, parameters: {weight: {}}}]", f"{WEIGHT}: value", "nothing"),
    ("models: [{model: a, parameters: {weight: [1, true]}}]", WEIGHT, "[1, True]"),
    ("models: [{model: a, parameters: {weight: .nan}}]", WEIGHT, "nan"),
    ("models: [{model: a, parameters: {weight: []}}]", WEIGHT, "an empty list"),
    ("models: [{model: a, parameters: {weight: [{filter: x}]}}]", f"{WEIGHT}[0]: value", "nothing"),
    ("models: [{model: a, parameters: {weight: [1, {value: 1}]}}]", f"{WEIGHT}[0]", "1"),
    (f"{{slices: [{SLICE}], models: [{{model: a}}]}}", "models", "models and slices"),
    ("slices: []", "slices", "[]"),
    ("slices: [a]", "slices[0]", "'a'"),
    ("slices: [{sources: []}]", "slices[0].sources", "[]"),
    (f"slices: [{{sources: [{{model: a, {LAYERS}}}], weight: 1}}]", "slices[0]", "'weight'"),
    (f"slices: [{{sources: [{{model: a, {LAYERS}, weight: 1}}]}}]", "slices[0].sources[0]", "'weight'"),
    ("modules: {}", "modules", "{}"),
    ("modules: {Text: {}}", "modules.Text: models", "none of them"),
    ("modules: {Text: {models: [{modle: a}]}}", "modules.Text.models[0]", "'modle'"),
    ("path: []", "path", "[]"),
    ("path: [{model: a}]", "path[0]", "neither"),
    (f"path: [{{model: a, layer: 1, {LAYERS}}}]", "path[0]", "layer, layer_range"),
    ("path: [{layer: 1}]", "path[0].model", "nothing"),
    ("path: [{model: a, layer: '1'}]", "path[0].layer", "'1'"),
    ("path: [{model: a, layer: -1}]", "path[0]: layer of a", "-1"),
    ("path: [{model: a, layer: 1, scale: 0}]", "path[0]: scale of layer 1 of a", "0.0"),
    ("path: [{model: a, layer: 1, scale: .nan}]", "path[0]: scale of layer 1 of a", "nan"),
    ("path: [{model: a, layer: 1, scale: '2'}]", "path[0].scale", "'2'"),
    (f"path: [{{model: a, {LAYERS}, scale: 2}}]", "path[0]", "layer_range, scale"),
    ("path: [{model: a, layer_range: [0, 0]}]", "path[0]: layer_range", "0"),
    ("path: [{model: a, layer_range: [0, 1000000000000]}]", "path[0]: layer_range", "1000000000000"),
    ("path: [{model: a, lyer: 1}]", "path[0]", "'lyer'"),
)


@pytest.mark.parametrize(("text", "argument", "received"), MISTAKES)
def test_mistakes_are_named(text: str, argument: str, received: str) -> None:
    data = {"merge_method": "linear", **yaml.safe_load(text)}
    assert (argument, received) in mistakes(lambda: Recipe.from_dict(data), "recipe")


@pytest.mark.parametrize("layers", [None, [0, 1, 2], [0, 1.5], [2, 2], [-1, 1]])
def test_ranges_of_layers_that_are_none(layers: object) -> None:
    sources = [{"model": "a", "layer_range": layers}]
    data: dict[str, object] = {"merge_method": "linear", "slices": [{"sources": sources}]}
    ((argument, received),) = mistakes(lambda: Recipe.from_dict(data), "recipe")
    assert argument.startswith("slices[0].sources[0]") and "layer_range" in argument
    assert received == ("nothing" if layers is None else str(layers))


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 9)
    | st.floats()
    | st.text(max_size=3)
    | st.dates()
    | st.binary(max_size=2)
)
known_keys = st.sampled_from(
    ["model", "sources", "layer_range", "filter", "value", "weight", "path", "lora", "name"]
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(known_keys | st.integers(0, 2), inner, max_size=4)
    ),
    max_leaves=12,
)


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the positions in nested data: keys and indices from the top."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*above, key)
        yield from places(inner, (*above, key))


@settings(max_examples=60)
@given(recipes(), anything, st.data())
def test_nonsense_is_one_clear_error_or_a_recipe(
    recipe: Recipe, nonsense: object, data: st.DataObject
) -> None:
    spoilt = recipe.to_dict()
    *path, last = data.draw(st.sampled_from(list(places(spoilt))))
    inner: Any = spoilt
    for key in path:
        inner = inner[key]
    inner[last] = nonsense
    try:
        parsed = Recipe.from_dict(spoilt)
    except KingyoError:
        return
    assert Recipe.from_dict(yaml.safe_load(parsed.to_yaml())).hash == parsed.hash


models_of_paths = st.sampled_from(["ja", "org/en@main", "./モデル"])
scales = st.just(1.0) | st.floats(0.01, 4)
paths = st.lists(
    st.builds(Hop, model=models_of_paths, layer=st.integers(0, 9), scale=scales), min_size=1
).map(tuple)
unscaled = st.lists(st.builds(Hop, model=models_of_paths, layer=st.integers(0, 9)), min_size=1).map(tuple)


def path_recipe(**given: Any) -> Recipe:
    return Recipe(merge_method="passthrough", **given)


@given(paths)
def test_yaml_round_trip_of_a_path(path: tuple[Hop, ...]) -> None:
    text = path_recipe(path=path, base_model="ja").to_yaml()
    loaded = Recipe.from_dict(yaml.safe_load(text))
    assert loaded.path == path
    assert loaded.hash == path_recipe(path=path, base_model="ja").hash


def test_consecutive_layers_are_written_as_a_range() -> None:
    path = tuple(Hop(model="a", layer=k) for k in (0, 1, 2, 2, 3))
    path += (Hop(model="b", layer=4), Hop(model="b", layer=5, scale=0.9), Hop(model="b", layer=6))
    assert path_recipe(path=path).to_dict()["path"] == [
        {"model": "a", "layer_range": [0, 3]},
        {"model": "a", "layer_range": [2, 4]},
        {"model": "b", "layer": 4},
        {"model": "b", "layer": 5, "scale": 0.9},
        {"model": "b", "layer": 6},
    ]


@pytest.mark.parametrize(
    ("scales", "says"),
    [
        ((2, 1e300), r"path\[1\]: scale of layer 0 of a: .*1/1024 and 1024.*; received 2e\+300"),
        ((1e-5,), r"path\[0\]: .* received 1e-05"),
        ((4,) * 6, r"path\[5\]: .* received 4096"),
        ((1e200, 1e200), r"path\[0\]"),
    ],
)
def test_extreme_products_of_scales_are_refused(scales: tuple[float, ...], says: str) -> None:
    with pytest.raises(KingyoError, match=says):
        cumulative([Hop(model="a", layer=0, scale=scale) for scale in scales])


def test_slices_cannot_express_scales() -> None:
    with pytest.raises(KingyoError, match=r"path\[0\]: expected scale 1 everywhere.*0.5 at layer 3 of a"):
        path_as_slices([Hop(model="a", layer=3, scale=0.5)])


@given(unscaled, st.none() | models_of_paths)
def test_a_recipe_with_a_path_converts_to_slices(path: tuple[Hop, ...], base: str | None) -> None:
    sliced = as_slices(path_recipe(path=path, base_model=base, dtype="bfloat16"))
    assert not sliced.path
    layers = [(each.sources[0].model, k) for each in sliced.slices for k in range(*each.sources[0].layers)]
    assert layers == [(hop.model, hop.layer) for hop in path]


def test_a_base_that_gives_the_ends_is_an_empty_slice_at_each() -> None:
    spec = path_recipe(path=(Hop(model="a", layer=1), Hop(model="b", layer=2)), base_model="a")
    ranges = [(each.sources[0].model, each.sources[0].layers) for each in as_slices(spec).slices]
    assert ranges == [("a", (1, 2)), ("b", (2, 3)), ("a", (0, 0))]


PAGE = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text(encoding="utf-8")


def test_the_examples_of_the_documentation_work(tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 9
    for example in examples:
        (tmp_path / "recipe.yaml").write_text(example, encoding="utf-8")
        assert load_recipes(tmp_path / "recipe.yaml").outputs


@pytest.mark.parametrize("key", keys_of(Recipe))
def test_the_documentation_has_every_key(key: str) -> None:
    assert f"`{key}`" in PAGE
