"""Layout of real architectures: stacks, parts, kinds and depths; their merges load completely."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, Layout, open_checkpoint, select
from kingyo.merging.engine import open_sources, plan, to_folder
from kingyo.merging.recipe import Recipe
from tests.merging.checkpoints.architectures import ARCHITECTURES, DIFFUSERS, HAS_DIFFUSERS, build
from tests.merging.checkpoints.fitting import loaded
from tests.models_on_disk import fine_tuned

Built = Callable[[str], Checkpoint]

ONE_STACK = {
    **dict.fromkeys(("llama", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3"), 3),
    **dict.fromkeys(("gpt2", "gpt_neox", "opt", "falcon", "bloom", "mpt", "mamba"), 3),
    **dict.fromkeys(
        ("jamba", "qwen3_next", "mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss", "deepseek_v3"), 3
    ),
    "bert": 2,
}
TOWERS = {"language": 3, "vision": 2}
STACKS: dict[str, dict[str, int]] = {
    **{name: {"language": n} for name, n in ONE_STACK.items()},
    **dict.fromkeys(("clip", "siglip", "llava", "qwen2_vl", "qwen3_vl"), TOWERS),
    **dict.fromkeys(("gemma3", "paligemma", "internvl", "idefics3"), TOWERS),
    "vit": {"vision": 2},
    "t5": {"encoder": 3, "decoder": 3},
    **{name: {"encoder": 3, "decoder": 2} for name in ("bart", "whisper")},
    "unet": {"down_blocks": 2, "mid_block": 1, "up_blocks": 2},
    "sd3": {"model": 3},
    "flux": {"single_transformer_blocks": 3, "transformer_blocks": 2},
    "vae": {
        "encoder.down_blocks": 2,
        "encoder.mid_block": 1,
        "decoder.mid_block": 1,
        "decoder.up_blocks": 2,
    },
}
WITH_PROJECTOR = {"language", "vision", "projector"}
PARTS: dict[str, set[str]] = {
    **{name: {"language", "vision", "other"} for name in ("clip", "siglip")},
    **dict.fromkeys(("llava", "qwen2_vl", "qwen3_vl"), WITH_PROJECTOR),
    **dict.fromkeys(("gemma3", "paligemma", "internvl", "idefics3"), WITH_PROJECTOR),
    **{name: {"encoder", "decoder", "shared"} for name in ("t5", "bart", "vae")},
    "unet": {"unet"},
    "flux": {"model"},
}
"""Those that are not the names of the stacks."""
WAYS = ("one", "kind", "block", "block+kind", "layers:1", "layers:2")
NAMES = sorted(ARCHITECTURES)


@pytest.fixture(scope="module")
def open_architecture(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("architectures")
    opened: dict[str, Checkpoint] = {}

    def get(name: str) -> Checkpoint:
        if name in DIFFUSERS and not HAS_DIFFUSERS:
            pytest.skip("diffusers is not installed")
        if name not in opened:
            opened[name] = open_checkpoint(str(build(name, folder / name)))
        return opened[name]

    return get


@pytest.mark.parametrize("name", NAMES)
def test_stacks_and_parts(open_architecture: Built, name: str) -> None:
    layout = open_architecture(name).layout
    assert {stack.name: len(stack.blocks) for stack in layout.stacks} == STACKS[name]
    for stack in layout.stacks:
        inside = [each for names in stack.blocks.values() for each in names]
        assert all(layout.stack(each) is stack for each in inside)
        assert {layout.block(each) for each in inside} == set(range(len(stack.blocks)))
        assert {layout.part(each) for each in inside} == {stack.part}
        first, last = stack.blocks[0][0], stack.blocks[len(stack.blocks) - 1][0]
        assert (layout.depth(first), layout.depth(last)) == (0.0, 0.0 if len(stack.blocks) == 1 else 1.0)
    outside = [each for each in layout.names if layout.stack(each) is None]
    assert all(layout.block(each) is None and layout.depth(each) in (0.0, 1.0) for each in outside)
    assert layout.parts.keys() == PARTS.get(name, STACKS[name].keys())
    assert sorted(each for names in layout.parts.values() for each in names) == sorted(layout.names)
    main = layout.main
    assert main is not None and layout.n_blocks == len(main.blocks)
    assert main.part == "language" or "language" not in layout.parts
    for number, names in main.blocks.items():
        assert all(f"{main.prefix}.{number}.{main.rest(each)}" == each for each in names)


def test_tensors_of_the_first_block_for_all_blocks(open_architecture: Built) -> None:
    decoder = open_architecture("t5").layout.main
    assert decoder is not None
    assert decoder.first_only == {"layer.0.SelfAttention.relative_attention_bias.weight"}
    decoder.check_order([0, 2, 1, 2])
    for order in ([1, 2], [0, 1, 0], [1, 0]):
        with pytest.raises(KingyoError, match="relative_attention_bias"):
            decoder.check_order(order)
    for name in ("llama", "jamba", "deepseek_v3", "gemma2"):
        main = open_architecture(name).layout.main
        assert main is not None and not main.first_only
        main.check_order([2, 1])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in DIFFUSERS])
def test_everything_in_a_block_has_a_kind(open_architecture: Built, name: str) -> None:
    layout = open_architecture(name).layout
    kinds = {each: layout.kind(each) for each in layout.names if layout.stack(each) is not None}
    others = [each for each, kind in kinds.items() if kind not in ("attention", "mlp", "norm")]
    assert not [each for each in others if "lambda_" not in each]  # InternVL's layer scales
    assert "norm" in kinds.values() and "attention" in kinds.values()
    assert name == "mamba" or "mlp" in kinds.values()


def test_norms_in_old_names_of_bert() -> None:
    norm = "bert.encoder.layer.0.output.LayerNorm.gamma"
    layout = Layout([norm, "bert.encoder.layer.0.output.dense.weight", "bert.embeddings.LayerNorm.beta"])
    assert [layout.kind(each) for each in layout.names] == ["norm", "mlp", "embedding"]


BEFORE_AND_AFTER: dict[str, tuple[str, str]] = {
    "llama": ("model.embed_tokens.weight", "model.norm.weight"),
    "gpt2": ("transformer.wpe.weight", "transformer.ln_f.weight"),
    "bloom": ("transformer.word_embeddings_layernorm.weight", "transformer.ln_f.weight"),
    "bert": ("bert.embeddings.LayerNorm.weight", "cls.predictions.transform.dense.weight"),
    "vit": ("vit.embeddings.cls_token", "classifier.weight"),
    "clip": ("vision_model.pre_layrnorm.weight", "visual_projection.weight"),
    "siglip": ("vision_model.embeddings.patch_embedding.weight", "vision_model.head.probe"),
    "llava": ("vision_tower.pre_layrnorm.weight", "vision_tower.post_layernorm.weight"),
    "t5": ("shared.weight", "decoder.final_layer_norm.weight"),
    "bart": ("model.decoder.layernorm_embedding.weight", "final_logits_bias"),
    "whisper": ("model.encoder.conv1.weight", "model.encoder.layer_norm.weight"),
    "unet": ("time_embedding.linear_1.weight", "conv_norm_out.weight"),
    "sd3": ("context_embedder.weight", "norm_out.linear.weight"),
}


@pytest.mark.parametrize("name", BEFORE_AND_AFTER)
def test_depth_outside_the_blocks(open_architecture: Built, name: str) -> None:
    layout = open_architecture(name).layout
    before, after = BEFORE_AND_AFTER[name]
    assert (layout.depth(before), layout.depth(after)) == (0.0, 1.0)


@pytest.mark.parametrize("name", NAMES)
def test_groups_and_their_filters(open_architecture: Built, name: str) -> None:
    layout = open_architecture(name).layout
    for how in WAYS:
        groups = layout.groups(how)
        assert sorted(each for group in groups.values() for each in group) == sorted(layout.names)
        values = {group: float(i) for i, group in enumerate(groups)}
        weight = layout.conditionals(how, values)
        for group, members in groups.items():
            for each in members:
                assert next(entry.value for entry in weight if entry.matches(each)) == values[group]


def test_groups_of_several_stacks_have_distinct_names(open_architecture: Built) -> None:
    assert list(open_architecture("llava").layout.groups("block")) == [
        "vision.embedding",
        "vision.block.0",
        "vision.block.1",
        "vision.head",
        "projector",
        "language.embedding",
        "language.block.0",
        "language.block.1",
        "language.block.2",
        "language.head",
    ]
    assert "vision.attention" in open_architecture("clip").layout.groups("kind")


def test_a_tower_without_a_known_name_is_found_by_the_config() -> None:
    inner = ("self_attn.q_proj.weight", "mlp.fc1.weight", "norm.weight")
    eye = [f"vpm.encoder.layers.{i}.{name}" for i in range(5) for name in inner]
    text = [f"llm.model.layers.{i}.{name}" for i in range(2) for name in inner]
    names = [
        "vpm.embeddings.patch_embedding.weight",
        *eye,
        "llm.model.embed_tokens.weight",
        *text,
        "mlp1.0.weight",
    ]
    config = {"num_hidden_layers": 2, "vision_config": {"num_hidden_layers": 5}}
    layout = Layout(names, config)
    assert {part: len(role) for part, role in layout.parts.items()} == {
        "vision": 16,
        "projector": 1,
        "language": 7,
    }
    assert layout.main is not None and layout.main.prefix == "llm.model.layers"


def test_select(open_architecture: Built) -> None:
    layout = open_architecture("llava").layout
    chosen = select(layout, {"language": "merge", "vision": "some/tower"})
    assert {layout.part(name): what for name, what in chosen.items()} == {
        "language": "merge",
        "vision": "some/tower",
        "projector": "base",  # since a part is merged by name
    }
    assert set(select(layout, {"vision": "base"}).values()) == {"base", "merge"}
    assert set(select(layout, {}).values()) == {"merge"}
    with pytest.raises(KingyoError, match="Did you mean 'vision'"):
        select(layout, {"vison": "base"})
    with pytest.raises(KingyoError, match="vision, projector, language"):
        select(layout, {"unet": "base"})


QUICK = ("bert", "clip", "gemma3", "gpt2", "llava", "mamba", "qwen3_moe", "t5", "unet", "vit")
"""One architecture of each sort; all others would be slow."""


def load(folder: Path) -> Any:
    config = json.loads((folder / "config.json").read_text())
    if "_class_name" in config:
        import diffusers

        return getattr(diffusers, config["_class_name"]).from_pretrained(folder)
    return loaded(folder)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(ARCHITECTURES)],
)
def test_a_merge_loads_and_is_the_merge(tmp_path: Path, name: str) -> None:
    if name in DIFFUSERS and not HAS_DIFFUSERS:
        pytest.skip("diffusers is not installed")
    base = build(name, tmp_path / "base")
    for i in range(2):
        fine_tuned(base, tmp_path / f"source-{i}", seed=i + 1)
    recipe = Recipe.from_dict(
        {
            "merge_method": "linear",
            "base_model": "base",
            "models": [{"model": f"source-{i}", "parameters": {"weight": 1.0}} for i in range(2)],
        }
    )
    planned = plan(recipe, open_sources(recipe, tmp_path))
    assert planned.warnings == ()
    to_folder(planned, tmp_path / "out")
    merged, *sources = (load(tmp_path / each).state_dict() for each in ("out", "source-0", "source-1"))
    assert merged.keys() == sources[0].keys()
    for key, value in merged.items():
        if value.is_floating_point():
            mean = (sources[0][key].double() + sources[1][key].double()) / 2
            assert torch.allclose(value.double(), mean, rtol=1e-6, atol=1e-7), key
