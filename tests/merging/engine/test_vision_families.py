"""Language models merge into vision-language models of many families, which keep everything else."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForImageTextToText, PreTrainedModel

import kingyo
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.checkpoints.lora import AdaptedCheckpoint
from kingyo.merging.engine import into, open_sources, plan
from kingyo.merging.recipe import Hop, Recipe
from kingyo.models.kinds import LoadOptions
from kingyo.models.layers import Layers
from kingyo.models.loading import live_weights, load_model
from tests.models.vision_families import EACH_FAMILY, FAMILIES, build, build_text, inputs

# PaliGemma attends to the prompt in both directions, its language model does not.
pytestmark = pytest.mark.filterwarnings("ignore:.*use_bidirectional_attention in config.json:UserWarning")

SIGHT, OTHER = 0.8, 0.5
RECIPE = Recipe.from_dict(
    {
        "merge_method": "task_arithmetic",
        "base_model": "text",
        "frame": "sight",
        "models": [
            {"model": "sight", "parameters": {"weight": SIGHT}},
            {"model": "other", "parameters": {"weight": OTHER}},
        ],
    }
)


@pytest.fixture(scope="module", params=EACH_FAMILY)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vision-language model ``sight``, language models ``text`` and ``other``, and the merge ``out``."""
    root = tmp_path_factory.mktemp(family)
    build(family, root / "sight")
    build_text(family, root / "text", seed=1)
    build_text(family, root / "other", seed=2)
    kingyo.merge(RECIPE, root / "out", folder=root)
    return root


def stored(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def in_text(name: str) -> str:
    """The name that a tensor of the language part has in a language model."""
    return f"model.{name[name.index('layers.') :]}" if "layers." in name else "model.norm.weight"


def load(folder: Path) -> PreTrainedModel:
    return load_model(folder, LoadOptions(), AutoModelForImageTextToText)


def logits(family: str, model: PreTrainedModel) -> Tensor:
    with torch.inference_mode():
        return model(**inputs(family)).logits


def test_only_the_language_part_changes_by_the_formula(folder: Path) -> None:
    loaded: Any = AutoModelForImageTextToText.from_pretrained(folder / "out", output_loading_info=True)
    assert not any(loaded[1].values()), loaded[1]
    layout = kingyo.open_checkpoint(folder / "sight").layout
    outside = {name for name in layout.parts["language"] if layout.stack(name) is None}
    merged = set(layout.parts["language"]) - {name for name in outside if "norm" not in name}
    sight, text, other, out = (stored(folder / each) for each in ("sight", "text", "other", "out"))
    assert out.keys() == sight.keys()
    assert {name for name in out if not torch.equal(out[name], sight[name])} == merged
    assert {in_text(name) for name in merged} == {
        name for name in text if "embed" not in name and "head" not in name
    }
    for name in merged:
        base = text[in_text(name)].double()
        expected = base + SIGHT * (sight[name] - base) + OTHER * (other[in_text(name)] - base)
        assert torch.allclose(out[name].double(), expected, rtol=0, atol=1e-6), name


def test_what_is_not_a_weight_comes_from_the_frame(folder: Path) -> None:
    for file in (folder / "sight").iterdir():
        if file.name != "model.safetensors":
            assert (folder / "out" / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_live_model_becomes_the_merge(family: str, folder: Path) -> None:
    live = load(folder / "sight")
    weights = live_weights(live, folder / "sight")
    assert weights.keys() == stored(folder / "sight").keys()
    into(plan(RECIPE, open_sources(RECIPE, folder)), weights)
    assert torch.equal(logits(family, live), logits(family, load(folder / "out")))


@pytest.mark.parametrize("family", ["llava", "gemma3", "qwen2_vl"])
def test_other_vocabularies_and_ties_do_not_matter(family: str, tmp_path: Path) -> None:
    """The frame's embedding and head stay, tied or not."""
    build(family, tmp_path / "sight")
    is_tied = FAMILIES[family].decoder.get("tie_word_embeddings", False)
    build_text(family, tmp_path / "text", seed=1, vocab_size=300)
    build_text(family, tmp_path / "other", seed=2, tie_word_embeddings=not is_tied)
    kingyo.merge(RECIPE, tmp_path / "out", folder=tmp_path)
    sight, out = stored(tmp_path / "sight"), stored(tmp_path / "out")
    assert out.keys() == sight.keys()
    outer = [name for name in out if "embed_tokens" in name or "lm_head" in name]
    assert outer
    assert all(torch.equal(out[name], sight[name]) for name in outer)


@pytest.fixture(scope="module")
def layers(folder: Path) -> Layers:
    return Layers({"sight": load(folder / "sight"), "text": load_model(folder / "text", LoadOptions())})


def written(family: str, model: PreTrainedModel) -> Tensor:
    with torch.inference_mode():
        return model.generate(**inputs(family), max_new_tokens=4, do_sample=False)  # type: ignore[operator]


def hops(*path: tuple[str, int]) -> tuple[Hop, ...]:
    return tuple(Hop(model=model, layer=layer) for model, layer in path)


def test_a_models_own_layers_give_its_logits_to_the_bit(family: str, folder: Path, layers: Layers) -> None:
    layers.follow(hops(("text", 1), ("text", 1)), "sight")
    own = layers.follow(hops(("sight", 0), ("sight", 1)), "sight")
    assert torch.equal(logits(family, own), logits(family, load(folder / "sight")))


def test_a_path_answers_as_its_export(family: str, folder: Path, layers: Layers, tmp_path: Path) -> None:
    """A language model's layers among those of a model that sees, one of them twice."""
    path = hops(("sight", 0), ("text", 1), ("text", 1), ("sight", 1), ("text", 0))
    recipe = Recipe(merge_method="passthrough", path=path, base_model="sight")
    if family == "paligemma":  # it attends to the prompt in both directions
        with pytest.raises(KingyoError) as error:
            plan(recipe, open_sources(recipe, folder))
        assert error.value.argument.startswith("use_bidirectional_attention")
        return
    live = layers.follow(path, "sight")
    out = kingyo.merge(recipe, tmp_path / "out", folder=folder)
    loaded: Any = AutoModelForImageTextToText.from_pretrained(out, output_loading_info=True)
    assert not any(loaded[1].values()), loaded[1]
    assert torch.equal(logits(family, live), logits(family, loaded[0].eval()))
    assert torch.equal(written(family, live), written(family, loaded[0]))
    sight, made = stored(folder / "sight"), stored(tmp_path / "out")
    outside = [name for name in sight if kingyo.open_checkpoint(out).layout.part(name) != "language"]
    assert all(torch.equal(made[name], sight[name]) for name in outside)


def test_a_path_through_a_model_that_sees_needs_it_as_base_and_no_frame(folder: Path) -> None:
    for model, base, frame, argument in (
        ("sight", None, None, "base_model"),
        ("sight", "text", None, "base_model"),
        ("text", "text", "sight", "merge_method"),
    ):
        recipe = Recipe(merge_method="passthrough", path=hops((model, 0)), base_model=base, frame=frame)
        with pytest.raises(KingyoError) as error:
            plan(recipe, open_sources(recipe, folder))
        assert error.value.argument == argument


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # in peft
def test_a_lora_of_a_model_that_sees_is_merged_as_by_peft(family: str, folder: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    sight = load_model(folder / "sight", LoadOptions(), AutoModelForImageTextToText)
    settings = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    tuned = peft.get_peft_model(sight, settings).eval()
    tuned.save_pretrained(tmp_path / "lora")
    adapted = open_checkpoint(f"{folder / 'sight'}+{tmp_path / 'lora'}")
    assert isinstance(adapted, AdaptedCheckpoint)
    live = load_model(folder / "sight", LoadOptions(), AutoModelForImageTextToText)
    adapted.load_into(live_weights(live, folder / "sight"))
    with torch.inference_mode():
        expected, got = tuned(**inputs(family)).logits, live(**inputs(family)).logits
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
