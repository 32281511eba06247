"""The recipe language against mergekit: the same YAML gives the same tensors, names and sizes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from kingyo.errors import KingyoError
from tests.merging.vocabulary.makers import llama, words
from tests.models_on_disk import fine_tuned
from tests.oracle.peer import Ours, Peer, PeerError, RecipeDict, difference, read_tensors
from tests.oracle.world import World, write_llama

pytestmark = pytest.mark.oracle

TOLERANCE = 1e-5
NULL = [{"filter": "o_proj", "value": 0.0}, {"filter": "down_proj", "value": 0.0}, {"value": 1.0}]
SELF_ATTENTION = [{"filter": "self_attn", "value": [0, 0.5, 0.3, 0.7, 1]}, {"value": 0.4}]


def part(model: str, first: int, last: int, **parameters: object) -> dict[str, object]:
    """A source of a slice."""
    spec: dict[str, object] = {"model": model, "layer_range": [first, last]}
    return spec | ({"parameters": parameters} if parameters else {})


def slices(method: str, *slices: object, **others: object) -> dict[str, object]:
    """Return a recipe; slices are lists of sources or full mappings."""
    slice_dicts = [each if isinstance(each, Mapping) else {"sources": each} for each in slices]
    return {"merge_method": method, "dtype": "float32", "slices": slice_dicts, **others}


def models(method: str, *names: str, **others: object) -> dict[str, object]:
    """Return a recipe of full models."""
    entries = [{"model": name} for name in names]
    return {"merge_method": method, "dtype": "float32", "models": entries, **others}


def placed(recipe: Any, world: World) -> Any:
    """Return a recipe with the folders of models in place of their names."""
    if isinstance(recipe, Mapping):
        return {key: placed(value, world) for key, value in recipe.items()}
    if isinstance(recipe, list | tuple):
        return [placed(each, world) for each in recipe]
    is_model = isinstance(recipe, str) and (world.folder / recipe).is_dir()
    return world.path(recipe) if is_model else recipe


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("tied")
    base = write_llama(folder / "base", seed=0, tied=True)
    for i in range(2):
        fine_tuned(base, folder / f"s{i}", seed=i + 1)
    return World(folder=folder)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, world: World) -> Path:
    from tests.merging.checkpoints.adapters import train  # skips without peft

    targets = ["q_proj", "v_proj", "down_proj"]
    folder = tmp_path_factory.mktemp("lora") / "adapter"
    return train(Path(world.path("s0")), folder, r=4, lora_alpha=6, target_modules=targets)


@pytest.fixture(scope="module")
def models_with_different_vocabularies(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("speakers")
    llama(folder / "base", words("a", "b", "c", "d"), seed=1)
    llama(folder / "s0", words("a", "b", "c", "d", "e"), seed=2, added=["<|im_start|>"])
    llama(folder / "s1", words("d", "c", "f", "a"), seed=3)
    return World(folder=folder)


TIES = {"parameters": {"weight": 0.5, "density": 0.3}}
SLICED: dict[str, RecipeDict] = {
    "frankenmerge": slices("passthrough", [part("s0", 0, 2)], [part("s1", 1, 3)]),
    "frankenmerge of one": slices("passthrough", [part("s0", 0, 3)], [part("s0", 1, 2)]),
    "frankenmerge with a base": slices(
        "passthrough", [part("s0", 0, 2)], [part("s1", 1, 3)], base_model="base"
    ),
    "fewer layers": slices("passthrough", [part("s0", 0, 1)], [part("s0", 2, 3)]),
    "other order": slices("passthrough", [part("s0", 2, 3)], [part("s1", 0, 2)]),
    "null layers": slices(
        "passthrough",
        [part("s0", 0, 2)],
        [part("s0", 1, 2, scale=NULL)],
        [part("s0", 2, 3)],
    ),
    "other ranges": slices("linear", [part("s0", 0, 2), part("s1", 1, 3)], parameters={"weight": 1.0}),
    "precedence": slices(
        "linear",
        {
            "sources": [part("s0", 0, 1, weight=3.0), part("s1", 0, 1)],
            "parameters": {"weight": 0.5},
        },
        {
            "sources": [part("s0", 1, 2), part("s1", 1, 2, weight=2.0)],
            "parameters": {"weight": 0.7},
        },
        [part("s0", 2, 3, weight=0.2), part("s1", 2, 3)],
        parameters={"weight": 1.0},
    ),
    "filters of source and output names": slices(
        "linear",
        [
            part("s0", 1, 2, weight=[{"filter": "layers.1", "value": 3}, {"value": 1}]),
            part("s1", 1, 2),
        ],
        [part("s0", 0, 2), part("s1", 0, 2)],
        parameters={"weight": [{"filter": "layers.0", "value": 5}, {"value": 1}]},
    ),
    "filters of shared values see the output": slices(
        "slerp",
        [part("base", 0, 1), part("s0", 0, 1)],
        [part("base", 0, 1), part("s0", 0, 1)],
        [part("base", 1, 2), part("s0", 1, 2)],
        parameters={"t": [{"filter": "layers.1", "value": 0.9}, {"value": 0.2}]},
        base_model="base",
    ),
    "classic slerp": slices(
        "slerp",
        [part("base", 0, 3), part("s0", 0, 3)],
        parameters={"t": SELF_ATTENTION},
        base_model="base",
    ),
    "a gradient over each slice": slices(
        "passthrough", [part("s0", 0, 2)], [part("s0", 0, 3)], parameters={"scale": [1.0, 2.0]}
    ),
    "t of a slice": slices(
        "slerp",
        {"sources": [part("base", 0, 2), part("s0", 0, 2)], "parameters": {"t": 0.2}},
        [part("base", 2, 3), part("s0", 2, 3)],
        parameters={"t": 0.9},
        base_model="base",
    ),
    "task vectors": slices(
        "ties",
        {
            "sources": [
                part("base", 0, 2),
                part("s0", 0, 2, density=0.8),
                part("s1", 0, 2),
            ],
            **TIES,
        },
        {
            "sources": [
                part("s2", 1, 3),
                part("s0", 1, 3, weight=-0.2),
                part("base", 1, 3),
            ],
            **TIES,
        },
        base_model="base",
    ),
    "one module": {
        "merge_method": "passthrough",
        "dtype": "float32",
        "modules": {"default": {"slices": [{"sources": [part("s0", 0, 2)]}]}},
    },
    "models of a module": {
        "merge_method": "linear",
        "dtype": "float32",
        "parameters": {"weight": 1.0},
        "modules": {"default": {"models": [{"model": name} for name in ("s0", "s1")]}},
    },
}
"""Recipes with slices, by name of the case."""
GRADIENTS = ("classic slerp", "a gradient over each slice")
"""Norm and head get the last value in kingyo, the first in mergekit."""


@pytest.mark.parametrize("name", SLICED)
def test_slices_and_modules(name: str, peer: Peer, ours: Ours, world: World) -> None:
    recipe = placed(SLICED[name], world)
    skip = ("model.norm.weight", "lm_head.weight") if name in GRADIENTS else ()
    check(ours.folder(recipe), peer.folder(recipe), skip=skip)


def check(ours: Path, theirs: Path, *, skip: Sequence[str] = (), tolerance: float = TOLERANCE) -> None:
    """The same tensors and sizes; both load in transformers."""
    kingyos, mergekits = read_tensors(ours), read_tensors(theirs)
    assert kingyos.keys() == mergekits.keys()
    for name, tensor in mergekits.items():
        assert kingyos[name].dtype == tensor.dtype, name
        assert name in skip or difference(kingyos[name], tensor) <= tolerance, name
    configs = [json.loads((folder / "config.json").read_text()) for folder in (ours, theirs)]
    for key in ("num_hidden_layers", "vocab_size", "dtype", "tie_word_embeddings", "architectures"):
        assert configs[0].get(key) == configs[1].get(key), key
    loaded = AutoModelForCausalLM.from_pretrained(ours, dtype="auto").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in kingyos.items())


@pytest.mark.parametrize(
    "keys",
    [
        {"dtype": "bfloat16"},
        {"dtype": "float16"},
        {"dtype": "float32", "out_dtype": "bfloat16"},
        {"dtype": "bfloat16", "out_dtype": "float32"},
        {"out_dtype": "float16"},
        {},
    ],
    ids=str,
)
@pytest.mark.parametrize("stored", ["world", "half_world"])
def test_dtypes_of_the_output(
    keys: dict[str, str], stored: str, peer: Peer, ours: Ours, request: pytest.FixtureRequest
) -> None:
    """Dtypes are equal; values agree up to mergekit's own rounding."""
    recipe = models("linear", "s0", "s1", parameters={"weight": 1.0})
    del recipe["dtype"]
    recipe = placed(recipe | keys, request.getfixturevalue(stored))
    exact = "float32" in keys.values() or (not keys and stored == "world")
    low = "bfloat16" in keys.values() or (stored == "half_world" and keys.get("dtype") != "float32")
    tolerance = 2**-7 if low else TOLERANCE if exact else 2**-10
    check(ours.folder(recipe), peer.folder(recipe), tolerance=tolerance)


@pytest.mark.parametrize(
    "recipe",
    [
        models("linear", "s0", "s1", parameters={"weight": 0.5}),
        models("ties", "s0", "s1", parameters={"weight": 0.5}, base_model="base"),
        slices("passthrough", [part("s0", 0, 2)], [part("s1", 1, 3)]),
    ],
    ids=["linear", "ties", "slices"],
)
def test_tied_models(recipe: RecipeDict, tied: World, peer: Peer, ours: Ours) -> None:
    recipe = placed(recipe, tied)
    check(ours.folder(recipe), peer.folder(recipe))


def test_the_last_recipe_takes_the_results_of_the_others(peer: Peer, ours: Ours, world: World) -> None:
    recipes = [
        {"name": "soup", **models("linear", "s0", "s1", parameters={"weight": 1.0})},
        {"name": "deep", **slices("passthrough", [part("soup", 0, 2)], [part("s2", 1, 3)])},
        models("slerp", "soup", "s2", base_model="soup", parameters={"t": 0.3}),
    ]
    recipes = placed(recipes, world)
    check(ours.folder(*recipes), peer.folder(*recipes, tool="multi"))


@pytest.mark.parametrize("method", ["linear", "task_arithmetic"])
def test_a_lora_on_a_model(
    method: str, adapter: Path, peer: Peer, ours: Ours, world: World, tmp_path: Path
) -> None:
    recipe = models(method, "s0", "s1", parameters={"weight": 0.5})
    recipe |= {"base_model": "base"} if method == "task_arithmetic" else {}
    recipe = placed(recipe, world)
    recipe["models"][0]["model"] += f"+{adapter}"
    check(ours.folder(recipe), peer.folder(recipe, lora_merge_cache=str(tmp_path / "cache")))


@pytest.mark.parametrize("method", ["linear", "task_arithmetic"])
@pytest.mark.parametrize("source", ["union", "base", "s1"])
def test_rows_of_the_same_tokens(
    method: str, source: str, models_with_different_vocabularies: World, peer: Peer, ours: Ours
) -> None:
    """``test_vocabulary.py`` goes into the details."""
    world = models_with_different_vocabularies
    recipe = models(method, "base", "s0", "s1", parameters={"weight": 0.5})
    recipe = placed({**recipe, "base_model": "base"}, world)
    recipe["tokenizer_source"] = world.path(source) if source == "s1" else source
    folders = ours.folder(recipe), peer.folder(recipe)
    vocabularies = [AutoTokenizer.from_pretrained(folder).get_vocab() for folder in folders]
    assert vocabularies[0].keys() == vocabularies[1].keys()
    kingyos, theirs = (read_tensors(folder) for folder in folders)
    assert kingyos.keys() == theirs.keys()
    rows = [[vocabulary[token] for token in vocabularies[0]] for vocabulary in vocabularies]
    for name, tensor in theirs.items():
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            assert difference(kingyos[name][rows[0]], tensor[rows[1]]) <= TOLERANCE, name
        else:
            assert difference(kingyos[name], tensor) <= TOLERANCE, name


BAD: dict[str, tuple[RecipeDict, str]] = {
    "models and slices": ({"slices": [{"sources": [part("x", 0, 1)]}]}, "slices"),
    "unknown method": ({"merge_method": "tie"}, "ties"),
    "no base": ({"merge_method": "ties"}, "base_model"),
    "no weight": ({"parameters": {}}, "weight"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_in_mergekit_are_errors_in_kingyo(name: str, peer: Peer, ours: Ours, world: World) -> None:
    changes, word = BAD[name]
    recipe = placed({**models("linear", "s0", "s1", parameters={"weight": 1.0}), **changes}, world)
    with pytest.raises(PeerError):
        peer.folder(recipe)
    with pytest.raises(KingyoError, match=word):
        ours.folder(recipe)
