"""Merges of denoisers by groups, with a LoRA of one strength; the same live and on disk."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from kingyo.core.types import Drawing, DrawingPrompt, Genome
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.checkpoints.locate import whole_pipeline
from kingyo.merging.engine import into, open_sources, plan, to_folder
from kingyo.merging.methods import METHODS
from kingyo.merging.recipe import Recipe, Source
from kingyo.models.kinds import MODEL_KINDS, LoadOptions
from kingyo.search.space import Bounds, ParameterSpace, SourceValues
from tests.merging.checkpoints.architectures import build
from tests.merging.checkpoints.pipelines import pair
from tests.models_on_disk import fine_tuned
from tests.tiny_pipelines import DRAW, EACH_PIPELINE, WRITERS

pytest.importorskip("diffusers")

TO_Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
TO_K = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
LORA = "unet/base+lora/style.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    base = build("unet", tmp_path / "unet" / "base")
    for seed, name in enumerate(("ja", "style")):
        fine_tuned(base, tmp_path / "unet" / name, seed=seed)
    return tmp_path


def write_lora(folder: Path, *modules: str) -> dict[str, Tensor]:
    """Write a LoRA in kohya's format; return module -> its product."""
    (folder / "lora").mkdir()
    written: dict[str, Tensor] = {}
    products: dict[str, Tensor] = {}
    for seed, module in enumerate(modules):
        down, up = pair(tuple(tensors(folder, "base")[f"{module}.weight"].shape), seed)
        name = f"lora_unet_{module.replace('.', '_')}"
        written |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        products[module] = up @ down
    save_file(written, folder / "lora" / "style.safetensors")
    return products


def space(folder: Path, method: str, sources: dict[str, str], **keys: object) -> ParameterSpace:
    return ParameterSpace(
        method=METHODS.get(method),
        method_name=method,
        sources=sources,
        base="unet/base",
        layout=open_checkpoint("unet/base", folder).layout,
        **keys,  # pyright: ignore[reportArgumentType]
    )


def merged(recipe: Recipe, folder: Path) -> dict[str, Tensor]:
    out = to_folder(plan(recipe, open_sources(recipe, folder)), folder / "out")
    return load_file(out / "diffusion_pytorch_model.safetensors")


def tensors(folder: Path, name: str) -> dict[str, Tensor]:
    return load_file(folder / "unet" / name / "diffusion_pytorch_model.safetensors")


def genome(search_space: ParameterSpace, genes: dict[str, float]) -> Genome:
    assert list(genes) == [axis.name for axis in search_space.axes]
    return tuple(genes.values())


def test_a_lora_has_one_strength_beside_weights_per_group(folder: Path) -> None:
    products = write_lora(folder, TO_Q, TO_K)
    sources = {"ja": "unet/ja", "style": "unet/style", "lora": LORA}
    own = SourceValues(groups="one", values={"weight": Bounds(low=0.5, high=2.0, start=1.0)})
    search_space = space(folder, "task_arithmetic", sources, groups="conv+attn", own={"lora": own})
    strength = search_space.axes[-1]
    assert (strength.low, strength.high, strength.first) == (0.5, 2.0, 1.0)
    genes = {
        "weight/ja/attn": 0.4,
        "weight/ja/conv": 0.1,
        "weight/style/attn": 0.3,
        "weight/style/conv": 0.8,
        "weight/lora/all": 1.25,
    }
    result = merged(search_space.decode(genome(search_space, genes)), folder)
    base, ja, style = (tensors(folder, name) for name in ("base", "ja", "style"))
    for name, tensor in result.items():
        group = "attn" if any(part in name for part in ("to_q", "to_k", "to_v", "to_out.0")) else "conv"
        w_ja, w_style = genes[f"weight/ja/{group}"], genes[f"weight/style/{group}"]
        fused = base[name] + w_ja * (ja[name] - base[name]) + w_style * (style[name] - base[name])
        fused = fused + 1.25 * products.get(name.removesuffix(".weight"), torch.zeros(()))
        torch.testing.assert_close(tensor, fused, rtol=1e-5, atol=1e-5)


def mbw(text: str, base: str = "unet/base") -> Recipe:
    models = [{"model": "unet/ja", "parameters": {"weight": {"mbw": text}}}]
    return Recipe.from_dict({"merge_method": "task_arithmetic", "base_model": base, "models": models})


def test_merge_block_weights_as_text(folder: Path) -> None:
    blocks = list(open_checkpoint("unet/base", folder).layout.groups("mbw").items())
    numbers = [i / 16 for i in range(len(blocks))]
    result = merged(mbw("HALF:" + ",".join(map(str, numbers))), folder)
    base, ja = tensors(folder, "base"), tensors(folder, "ja")
    for (_, names), share in zip(blocks, numbers, strict=True):
        for name in names:
            exact = (1 - share) * base[name] + share * ja[name]
            torch.testing.assert_close(result[name], exact, rtol=1e-5, atol=1e-5)


def test_merge_block_weights_of_another_structure_are_an_error(folder: Path) -> None:
    with pytest.raises(KingyoError) as error:
        merged(mbw(",".join(["0.5"] * 26)), folder)
    assert error.value.argument.startswith("weight") and error.value.received == "26"


def test_merge_block_weights_of_other_models_are_an_error(tmp_path: Path) -> None:
    for name in ("base", "ja"):
        build("vae", tmp_path / "unet" / name)
    with pytest.raises(KingyoError) as error:
        merged(mbw("0.5,0.5"), tmp_path)
    assert error.value.argument == "weight" and error.value.received == "AutoencoderKL"


KIND = MODEL_KINDS.get("text-to-image")
PROMPTS = [DrawingPrompt("a cat", 3), DrawingPrompt("a dog on a mat", 4)]


@pytest.mark.parametrize("name", EACH_PIPELINE)
def test_a_merged_folder_draws_what_the_live_candidate_drew(name: str, tmp_path: Path) -> None:
    part = "unet" if name.startswith("stable_diffusion") and name != "stable_diffusion_3" else "transformer"
    for seed, model in enumerate("abc"):
        WRITERS[name](tmp_path / model, seed)
    recipe = Recipe(
        merge_method="task_arithmetic",
        base_model=f"a/{part}",
        sources=tuple(Source(model=f"{m}/{part}", parameters={"weight": 0.4}) for m in "bc"),
    )
    planned = plan(recipe, open_sources(recipe, tmp_path))
    live = KIND.load(tmp_path / "a" / part, LoadOptions(batch_size=2))
    arguments = {key: value for key, value in DRAW[name].items() if key not in ("height", "width")}
    drawing = Drawing(steps=2, height=32, width=32, arguments=arguments)
    before = live.draw(PROMPTS, drawing)
    into(planned, live.weights)
    drawn = live.draw(PROMPTS, drawing)
    to_folder(planned, tmp_path / "out", around=whole_pipeline(planned.like, tmp_path))
    loaded = KIND.load(tmp_path / "out" / part, LoadOptions(batch_size=2))
    for tensor, other in zip(live.weights.values(), loaded.weights.values(), strict=True):
        assert torch.equal(tensor, other)
    assert loaded.draw(PROMPTS, drawing) == drawn != before
