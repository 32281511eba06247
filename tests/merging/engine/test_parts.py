"""Parts of models: modules, parts that stay as they are, and sizes that differ."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kingyo.errors import KingyoError
from kingyo.merging.engine import compute, open_sources, plan, rooted, to_folder
from kingyo.merging.recipe import Recipe
from tests.merging.checkpoints.architectures import build
from tests.merging.checkpoints.fitting import loaded
from tests.merging.vocabulary.makers import EMBEDDING, llama, words


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of each kind: that read and write (t5), that see (llava), and a Llama as llava's."""
    root = tmp_path_factory.mktemp("parts")
    for kind in ("t5", "llava", "llama"):
        for seed in (0, 1):
            build(kind, root / f"{kind}-{seed}", seed=seed)
    return root


def recipe(kind: str, **more: Any) -> Recipe:
    models = [{"model": f"{kind}-{seed}"} for seed in (0, 1)]
    data: dict[str, Any] = {
        "merge_method": "linear",
        "parameters": {"weight": 1.0},
        "base_model": f"{kind}-0",
    }
    contents = {} if "modules" in more or "slices" in more else {"models": models}
    return Recipe.from_dict(data | contents | more)


def module(kind: str, **more: Any) -> dict[str, Any]:
    return {"models": [{"model": f"{kind}-0"}, {"model": f"{kind}-1"}], **more}


def test_modules_have_values_of_their_own(folder: Path) -> None:
    shares = {"encoder": 3.0, "decoder": 1.0, "shared": 0.0}
    modules = {
        part: {"models": [{"model": "t5-0"}, {"model": "t5-1", "parameters": {"weight": share}}]}
        for part, share in shares.items()
    }
    spec = recipe("t5", modules=modules)
    planned = plan(spec, open_sources(spec, folder))
    parts = planned.like.layout
    for job in planned.jobs:
        assert job.values.each("weight") == (1.0, shares[parts.part(job.name)]), job.name


def test_slices_of_one_module(folder: Path, tmp_path: Path) -> None:
    sources = [{"model": "t5-1", "layer_range": [0, 3]}]
    again = [{"model": "t5-0", "layer_range": [1, 3]}]
    modules = {
        "encoder": {"slices": [{"sources": sources}, {"sources": again}]},
        "decoder": module("t5"),
        "shared": module("t5"),
    }
    spec = recipe("t5", modules=modules)
    opened = open_sources(spec, folder)
    out = to_folder(plan(spec, opened), tmp_path / "out")
    config = json.loads((out / "config.json").read_text())
    assert (config["num_layers"], config["num_decoder_layers"]) == (5, 3)
    model = loaded(out)
    name = "encoder.block.{}.layer.1.DenseReluDense.wi.weight"
    assert torch.equal(model.state_dict()[name.format(4)], opened["t5-0"].read(name.format(2)))


def test_a_part_can_be_kept_unchanged(folder: Path, tmp_path: Path) -> None:
    spec = recipe("llava", parts={"language": "merge"})
    opened = open_sources(spec, folder)
    planned = plan(spec, opened)
    layout = planned.like.layout
    for job in planned.jobs:
        is_merged = layout.part(job.name) == "language"
        assert (job.method is not None) == is_merged, job.name
        if not is_merged:
            assert torch.equal(compute(job, planned.sources.read), opened["llava-0"].read(job.name))
    loaded(to_folder(planned, tmp_path / "out"))


def test_a_part_can_come_from_another_model(folder: Path) -> None:
    spec = recipe("llava", parts={"vision": "llava-1"}, models=[{"model": "llava-0"}])
    assert spec.references == ("llava-0", "llava-1")
    opened = open_sources(spec, folder)
    planned = plan(spec, opened)
    for job in planned.jobs:
        source = "llava-1" if planned.like.layout.part(job.name) == "vision" else "llava-0"
        assert torch.equal(compute(job, planned.sources.read), opened[source].read(job.name)), job.name
    assert rooted(spec, folder).parts == {"vision": str((folder / "llava-1").resolve())}


MISTAKES: dict[str, tuple[Recipe, str]] = {
    "no such part": (recipe("llava", parts={"visoin": "base"}), "Did you mean 'vision'"),
    "no base": (
        recipe("llava", parts={"vision": "base"}, base_model=None),
        "base_model: expected the model that parts are copied from",
    ),
    "no such module": (
        recipe("t5", modules={"encodre": module("t5")}),
        "modules: expected parts of this model: .*Did you mean 'encoder'",
    ),
    "a module is missing": (
        recipe("t5", modules={"encoder": module("t5"), "decoder": module("t5")}),
        "a module for every part of this model: .*none for shared.*parts: {shared: base",
    ),
    "a module twice": (
        recipe("llava", modules={"language": module("llava"), "text_decoder": module("llava")}),
        "each part once; received language and text_decoder, which are both language",
    ),
    "slices of what": (
        recipe("t5", slices=[{"sources": [{"model": "t5-0", "layer_range": [0, 1]}]}]),
        r"slices: expected slices of a model with one stack of layers; received encoder \(enc",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_found_before_any_weight_is_read(folder: Path, case: str) -> None:
    spec, message = MISTAKES[case]
    with pytest.raises(KingyoError, match=f"(?s){message}"):
        plan(spec, open_sources(spec, folder))


def test_only_merged_tensors_are_resized(tmp_path: Path) -> None:
    """Vocabularies of five and seven tokens."""
    llama(tmp_path / "less", words("koi", "carp"), seed=1)
    llama(tmp_path / "more", words("koi", "carp", "pond", "tail"), seed=2)
    models = [{"model": "less"}, {"model": "more"}]
    data = {"merge_method": "linear", "models": models, "parameters": {"weight": 1.0}, "base_model": "less"}
    opened = open_sources(Recipe.from_dict(data), tmp_path)
    with pytest.raises(KingyoError, match="or resize: pad-vocab or truncate or base"):
        plan(Recipe.from_dict(data), opened)
    for resize, rows in (("pad-vocab", 7), ("truncate", 5), ("base", 5)):
        planned = plan(Recipe.from_dict(data | {"resize": resize}), opened)
        job = next(job for job in planned.jobs if job.name == EMBEDDING)
        assert job.shape == (rows, 16) and (job.method is None) == (resize == "base")
        assert compute(job, planned.sources.read).shape == job.shape
    kept = Recipe.from_dict(data | {"resize": "pad-vocab", "parts": {"language": "base"}})
    shapes = {job.name: job.shape for job in plan(kept, opened).jobs}
    assert shapes == {name: info.shape for name, info in opened["less"].tensors.items()}
