"""Slices of layers: renumbered, taken from the right models, and refused where they do not fit."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.engine import Sources, TensorInput, compute, into, open_sources, plan, to_folder
from kingyo.merging.recipe import Recipe
from tests.merging.checkpoints.architectures import build
from tests.merging.checkpoints.fitting import loaded
from tests.merging.engine.conftest import LAYERS
from tests.models_on_disk import FAMILIES, llama


def piece(*ranges: tuple[str, int, int], **more: Any) -> dict[str, Any]:
    """A slice of the layers first..end of each model."""
    return {
        "sources": [{"model": model, "layer_range": [first, end]} for model, first, end in ranges],
        **more,
    }


def recipe(method: str, *slices: dict[str, Any], **more: Any) -> Recipe:
    """A recipe of slices, with a weight by default."""
    if method != "passthrough":
        more.setdefault("parameters", {"weight": 1.0})
    return Recipe.from_dict({"merge_method": method, "slices": list(slices), **more})


STACKED = recipe("linear", piece(("ja", 0, 3)), piece(("en", 1, 4)))


def test_layers_are_renumbered(opened: Sources) -> None:
    jobs = {job.name: job for job in plan(STACKED, opened).jobs}
    layers = [("ja", 0), ("ja", 1), ("ja", 2), ("en", 1), ("en", 2), ("en", 3)]
    for number, (model, layer) in enumerate(layers):
        name = "model.layers.{}.self_attn.q_proj.weight"
        job = jobs[name.format(number)]
        assert job.inputs == (TensorInput(reference=model, tensor=name.format(layer)),)
        assert torch.equal(compute(job, opened.read), opened[model].read(name.format(layer)))
    assert len(jobs) == len(layers) * 9 + 3
    assert jobs["model.embed_tokens.weight"].sources == ("ja",)
    assert jobs["model.norm.weight"].sources == jobs["lm_head.weight"].sources == ("en",)


def test_the_output_loads_and_has_all_layers(models: Path, tmp_path: Path) -> None:
    planned = plan(STACKED, open_sources(STACKED, models))
    out = to_folder(planned, tmp_path / "out")
    assert json.loads((out / "config.json").read_text())["num_hidden_layers"] == 6
    model = loaded(out)
    live = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    into(planned, live)
    assert all(torch.equal(live[name], tensor) for name, tensor in model.state_dict().items())
    assert planned.like.tensors.keys() == open_checkpoint(str(out)).tensors.keys()
    assert planned.like.layout.n_blocks == 6


@pytest.mark.parametrize("kind", FAMILIES)
def test_one_slice_of_all_layers_is_the_full_model(tmp_path: Path, kind: str) -> None:
    for i, name in enumerate(("one", "two")):
        FAMILIES[kind](tmp_path / name, seed=i, layers=3)
    parameters = {"weight": [0.2, 0.9], "normalize": False}
    models = [{"model": "one"}, {"model": "two"}]
    full = Recipe.from_dict({"merge_method": "linear", "models": models, "parameters": parameters})
    sliced = recipe("linear", piece(("one", 0, 3), ("two", 0, 3)), parameters=parameters)
    opened = open_sources(full, tmp_path)
    one, other = plan(full, opened), plan(sliced, opened)
    assert {job.name for job in one.jobs} == {job.name for job in other.jobs}
    theirs = {job.name: compute(job, opened.read) for job in other.jobs}
    for job in one.jobs:
        assert torch.equal(compute(job, opened.read), theirs[job.name]), job.name
    assert one.like.config == other.like.config


STACKABLE = (
    "qwen2",
    "gpt2",
    "gemma2",
    "mamba",
    "opt",
    "bloom",
    "mpt",
    "mixtral",
    "gpt_oss",
    "qwen3_next",
)


@pytest.mark.parametrize("name", STACKABLE)
def test_any_architecture_can_be_stacked(tmp_path: Path, name: str) -> None:
    folder = build(name, tmp_path / "model")
    spec = recipe("passthrough", piece((str(folder), 1, 3)), piece((str(folder), 0, 2)))
    out = to_folder(plan(spec, open_sources(spec)), tmp_path / "out")
    model = loaded(out)
    assert model.config.num_hidden_layers == 4
    source, stacked = open_checkpoint(str(folder)), open_checkpoint(str(out))
    for place, layer in enumerate((1, 2, 0, 1)):
        for tensor in source.layout.main.blocks[layer]:  # pyright: ignore[reportOptionalMemberAccess]
            copied_name = tensor.replace(f".{layer}.", f".{place}.", 1)
            assert torch.equal(source.read(tensor), stacked.read(copied_name)), copied_name


def test_layers_of_a_deeper_model(opened: Sources) -> None:
    spec = recipe("linear", piece(("base", 1, 3), ("deep", 4, 6)))
    planned = plan(spec, opened)
    job = next(job for job in planned.jobs if job.name == "model.layers.1.mlp.up_proj.weight")
    mean = (
        opened["base"].read("model.layers.2.mlp.up_proj.weight")
        + opened["deep"].read("model.layers.5.mlp.up_proj.weight")
    ) / 2
    assert torch.allclose(compute(job, opened.read), mean, atol=1e-7)
    assert planned.like.config["num_hidden_layers"] == 2


def test_the_base_has_layers_of_its_own(opened: Sources) -> None:
    spec = recipe(
        "task_arithmetic", piece(("ja", 0, 2), ("base", 2, 4)), base_model="base", parameters={"weight": 0.5}
    )
    job = next(job for job in plan(spec, opened).jobs if job.name == "model.layers.1.mlp.up_proj.weight")
    assert job.sources == ("ja",) and job.base is not None and job.base.tensor.startswith("model.layers.3.")
    base, source = opened.read("base", job.base.tensor), opened.read("ja", job.inputs[0].tensor)
    assert torch.allclose(compute(job, opened.read), base + 0.5 * (source - base), atol=1e-7)


def test_a_slice_may_have_a_base_of_its_own(opened: Sources) -> None:
    spec = recipe(
        "task_arithmetic",
        piece(("ja", 0, 2), ("en", 0, 2), base_model="en"),
        piece(("ja", 2, 4), ("base", 2, 4)),
        base_model="base",
        parameters={"weight": 0.5},
    )
    bases = {job.name: job.base.reference for job in plan(spec, opened).jobs if job.base is not None}
    assert bases["model.layers.0.mlp.up_proj.weight"] == bases["model.embed_tokens.weight"] == "en"
    assert bases["model.layers.2.mlp.up_proj.weight"] == bases["lm_head.weight"] == "base"


def test_cached_statistics_are_per_layer(models: Path) -> None:
    """Candidates that share sources, but not layers, do not reuse each other's cached statistics."""
    opened = open_sources(STACKED, models)
    for first in (0, 1, 2):
        spec = recipe(
            "ties",
            piece(("ja", first, first + 2), ("en", 0, 2)),
            base_model="en",
            parameters={"weight": 1.0, "density": 0.3},
        )
        planned = plan(spec, opened)
        for job in planned.jobs:
            assert torch.equal(compute(job, opened.read, opened.facts), compute(job, opened.read)), (
                f"{first}: {job.name}"
            )


MISTAKES: dict[str, tuple[Recipe, str]] = {
    "too far": (
        recipe("linear", piece(("ja", 2, LAYERS + 1))),
        rf"slices\[0\]: layer_range of ja: expected layers of \[0, {LAYERS}\].*received \[2, {LAYERS + 1}\]",
    ),
    "no layers of the base": (
        recipe("ties", piece(("ja", 0, 2)), base_model="base"),
        "the base base once among the sources, with its layer_range; received no layers of it",
    ),
    "unknown in a slice": (
        recipe("linear", piece(("ja", 0, 2), parameters={"wight": 1})),
        r"slices\[0\]: expected parameters of linear; received 'wight'. Did you mean 'weight'",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_found_before_any_weight_is_read(opened: Sources, case: str) -> None:
    spec, message = MISTAKES[case]
    with pytest.raises(KingyoError, match=f"(?s){message}"):
        plan(spec, opened)


def test_layers_with_a_different_width(opened: Sources, tmp_path: Path) -> None:
    wide = open_checkpoint(str(llama(tmp_path / "wide", layers=LAYERS, hidden=16)))
    with_wide = Sources({**opened, "wide": replace(wide, config=opened["ja"].config)})
    message = r"slices\[1\]: .*input_layernorm.weight: \[8\] in layer 1 of ja, \[16\] in that of wide"
    ends = piece(("ja", 0, 1))
    with pytest.raises(KingyoError, match=message):
        plan(recipe("linear", ends, piece(("ja", 1, 2), ("wide", 0, 1)), ends), with_wide)
    with pytest.raises(KingyoError, match="one shape in all models"):
        plan(recipe("linear", piece(("ja", 0, 1)), piece(("wide", 0, 1))), with_wide)
    middle = recipe(
        "linear", piece(("ja", 0, 1)), piece(("wide", 0, 1)), piece(("ja", 1, 2)), parameters={"weight": 1}
    )
    with pytest.raises(KingyoError, match=r"layers that fit ja.*\[16\]"):
        plan(middle, with_wide)


def test_tensors_outside_the_layers_matter_only_in_the_first_and_last_slice(tmp_path: Path) -> None:
    build("llama", tmp_path / "one")
    build("llama", tmp_path / "two")
    full = open_checkpoint(str(tmp_path / "two"))
    layers = {name: info for name, info in full.tensors.items() if "layers" in name}
    bare = replace(full, reference="two", tensors=layers)
    sources = Sources({"one": open_checkpoint(str(tmp_path / "one")), "two": bare})
    spec = recipe("linear", piece(("one", 0, 1)), piece(("two", 0, 1)), piece(("one", 1, 2)))
    assert plan(spec, sources).like.config["num_hidden_layers"] == 3
    with pytest.raises(KingyoError, match="but not in two"):
        plan(recipe("linear", piece(("one", 0, 1)), piece(("two", 0, 1))), sources)


def test_layers_of_different_kinds(opened: Sources, tmp_path: Path) -> None:
    jamba = open_checkpoint(str(build("jamba", tmp_path / "jamba")))  # mamba, then attention
    sources = Sources({"jamba": jamba})
    spec = recipe("linear", piece(("jamba", 0, 1), ("jamba", 1, 2)))
    with pytest.raises(KingyoError, match=r"slices\[0\]: expected layers with the same tensors"):
        plan(spec, sources)
    bert = Sources({"bert": open_checkpoint(str(build("bert", tmp_path / "bert"))), **opened})
    spec = recipe("linear", piece(("ja", 0, 1)), piece(("bert", 0, 1)), piece(("ja", 0, 1)))
    with pytest.raises(KingyoError, match=r"in config\.json: expected .* as in ja"):
        plan(spec, bert)
