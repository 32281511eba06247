"""LoRAs of diffusers and kohya's scripts, compared with deltas that the tests compute."""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.checkpoints.lora_keys import original_modules
from tests.merging.checkpoints.adapters import opened
from tests.merging.checkpoints.pipelines import ENCODER, RANK, UNET, Tensors, pair, pipeline
from tests.models_on_disk import llama
from tests.tiny_pipelines import WRITERS

TO_Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
TO_OUT = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
CONV = "down_blocks.0.resnets.0.conv1"
POINT = "down_blocks.0.attentions.0.proj_in"
Q_PROJ = "text_model.encoder.layers.1.self_attn.q_proj"


def delta(down: Tensor, up: Tensor) -> Tensor:
    """Return the product of a pair as one weight: the down, then the up convolution of every unit input."""
    if down.dim() == 2:
        return up @ down
    return torch.einsum("or,rihw->oihw", up[:, :, 0, 0], down)


def kohya(module: str) -> str:
    return module.replace(".", "_")


def write_lora_file(
    folder: Path, tensors: Mapping[str, Tensor], name: str = "style.safetensors", **metadata: str
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {each: tensor.contiguous() for each, tensor in tensors.items()},
        folder / name,
        metadata=metadata or None,
    )
    return folder / name


def assert_changed(folder: Path, reference: str, deltas: Mapping[str, Tensor]) -> None:
    """Check that these weights changed by their deltas, and no others."""
    changed = opened(folder, reference)
    base = open_checkpoint(reference.partition("+")[0], folder)
    assert changed.changes.keys() == {f"{each}.weight" for each in deltas}
    for name in base.tensors:
        expected = base.read(name) + deltas.get(name.removesuffix(".weight"), 0)
        torch.testing.assert_close(changed.read(name), expected, rtol=1e-5, atol=1e-5)


@pytest.fixture
def sd(tmp_path: Path) -> Path:
    pipeline(tmp_path / "sd")
    return tmp_path


def test_kohya_has_an_alpha_for_each_module(sd: Path) -> None:
    tensors: dict[str, Tensor] = {}
    deltas: dict[str, Tensor] = {}
    for i, module in enumerate((TO_Q, TO_OUT, CONV, POINT)):
        rank, alpha = i + 1, float(i)
        down, up = pair(UNET[f"{module}.weight"], i, rank)
        name = f"lora_unet_{kohya(module)}"
        tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        tensors[f"{name}.alpha"] = torch.tensor(alpha)
        deltas[module] = alpha / rank * delta(down, up)
    write_lora_file(sd, tensors)
    assert_changed(sd, "sd/unet+style.safetensors", deltas)


def diffusers_file(
    style: str,
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Return a file with LoRAs of UNet and text encoder, and their deltas at scale 1."""
    ends = {
        "peft": (".lora_A.weight", ".lora_B.weight"),
        "of 2023": (".lora.down.weight", ".lora.up.weight"),
        "processors": ("_lora.down.weight", "_lora.up.weight"),
    }[style]
    tensors: dict[str, Tensor] = {}
    unet: dict[str, Tensor] = {}
    for i, module in enumerate((TO_Q, TO_OUT, *(() if style == "processors" else (CONV, POINT)))):
        down, up = pair(UNET[f"{module}.weight"], i)
        name = module
        if style == "processors":
            name = module.replace("attn1.", "attn1.processor.").removesuffix(".0")
        tensors |= {f"unet.{name}{ends[0]}": down, f"unet.{name}{ends[1]}": up}
        unet[module] = delta(down, up)
    down, up = pair(ENCODER[f"{Q_PROJ}.weight"], 9)
    ends = (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight") if style != "peft" else ends
    tensors |= {f"text_encoder.{Q_PROJ}{ends[0]}": down, f"text_encoder.{Q_PROJ}{ends[1]}": up}
    return tensors, unet, {Q_PROJ: delta(down, up)}


@pytest.mark.parametrize("style", ["peft", "of 2023", "processors"])
def test_diffusers_each_component_gets_its_own(sd: Path, style: str) -> None:
    tensors, unet, encoder = diffusers_file(style)
    write_lora_file(sd / "lora", tensors, "pytorch_lora_weights.safetensors")
    assert_changed(sd, "sd/unet+lora", unet)
    assert_changed(sd, "sd/text_encoder+lora", encoder)
    (note,) = opened(sd, "sd/unet+lora").notes
    assert "text_encoder" in note


def test_diffusers_alphas_in_the_header(sd: Path) -> None:
    tensors, unet, encoder = diffusers_file("peft")
    stated = {
        "unet.r": RANK,
        "unet.lora_alpha": 6,
        "unet.alpha_pattern": {"proj_in": 1},
        "unet.target_modules": ["to_q"],
        "text_encoder.r": RANK,
        "text_encoder.lora_alpha": 4,
        "text_encoder.use_rslora": True,
    }
    write_lora_file(
        sd / "lora", tensors, "pytorch_lora_weights.safetensors", lora_adapter_metadata=json.dumps(stated)
    )
    assert_changed(
        sd, "sd/unet+lora", {name: (0.5 if name == POINT else 3) * each for name, each in unet.items()}
    )
    assert_changed(sd, "sd/text_encoder+lora", {name: 4 / RANK**0.5 * each for name, each in encoder.items()})


def test_a_model_outside_a_pipeline_is_identified_by_its_modules(sd: Path) -> None:
    tensors, unet, encoder = diffusers_file("peft")
    write_lora_file(sd, tensors)
    for name in ("unet", "text_encoder"):
        shutil.move(sd / "sd" / name, sd / f"my-{name}")
    assert_changed(sd, "my-unet+style.safetensors", unet)
    assert_changed(sd, "my-text_encoder+style.safetensors", encoder)
    plain = {name.removeprefix("unet."): each for name, each in tensors.items() if name.startswith("unet.")}
    write_lora_file(sd, plain, "plain.safetensors")
    assert_changed(sd, "my-unet+plain.safetensors", unet)


def test_kohya_encoders_of_sdxl_are_identified_by_their_folders(sd: Path) -> None:
    shutil.copytree(sd / "sd/text_encoder", sd / "sd/text_encoder_2")
    tensors: dict[str, Tensor] = {}
    deltas: list[Tensor] = []
    for i in (1, 2):
        down, up = pair(ENCODER[f"{Q_PROJ}.weight"], i)
        name = f"lora_te{i}_{kohya(Q_PROJ)}"
        tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        deltas.append(delta(down, up))
    write_lora_file(sd, tensors)
    assert_changed(sd, "sd/text_encoder+style.safetensors", {Q_PROJ: deltas[0]})
    assert_changed(sd, "sd/text_encoder_2+style.safetensors", {Q_PROJ: deltas[1]})
    shutil.move(sd / "sd/text_encoder_2", sd / "alone")
    with pytest.raises(KingyoError, match="one of text_encoder, text_encoder_2, with"):
        open_checkpoint("alone+style.safetensors", sd)


A, B = f"lora_unet_{kohya(TO_Q)}.lora_down.weight", f"lora_unet_{kohya(TO_Q)}.lora_up.weight"
ALPHA = rf"/style\.safetensors: {A[:-17]}\.alpha"


def with_alpha(value: complex | list[float]) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, f"{A[:-17]}.alpha": torch.tensor(value)}


def of_module(name: str, outputs: int = 8, rank: int = 2) -> Callable[[Tensors], Tensors]:
    parts = {"down": torch.ones(rank, 8), "up": torch.ones(outputs, rank)}
    return lambda _: {f"{name}.lora_{part}.weight": each for part, each in parts.items()}


BROKEN: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "names of nothing": (of_module("lora_unet_x"), "a LoRA of sd/unet; received one of unet"),
    "no component": (of_module("x"), "a LoRA of sd/unet; received one of unknown"),
    "another component": (of_module("lora_te_x"), r"received one of text_encoder, .*sdxl/text_encoder\+lora"),
    "no up": (lambda all_: {A: all_[A]}, r"lora_A\.weight and lora_B\.weight; received lora_A\.weight"),
    "an alpha alone": (lambda _: with_alpha(1.0)({}), "of a rank above 0; received alpha"),
    "rank 0": (of_module(A[:-17], rank=0), "a rank above 0; received lora_A"),
    "Tucker": (
        lambda all_: {**all_, f"{A[:-17]}.lora_mid.weight": torch.ones(2, 2, 3, 3)},
        "a part of a LoRA",
    ),
    "too wide": (lambda all_: {**all_, A: torch.ones(2, 9)}, r"a weight \[8, 8\]; received A \[2, 9\]"),
    "alpha NaN": (with_alpha(math.nan), f"{ALPHA}: expected one finite number; received nan"),
    "three alphas": (with_alpha([1.0, 2.0, 3.0]), f"{ALPHA}: .* received float32 of shape \\[3\\]"),
    "complex alpha": (with_alpha(1 + 2j), f"{ALPHA}: .* received complex64 of shape \\[\\]"),
    "twice": (
        lambda all_: {**all_, f"unet.{TO_Q}.lora_A.weight": torch.ones(2, 8)},
        "one tensor for each part of a LoRA",
    ),
    "nothing": (lambda _: {}, r"style\.safetensors: .*received none"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_loose_lora_that_cannot_be_merged_is_one_clear_error(sd: Path, how: str) -> None:
    change, message = BROKEN[how]
    write_lora_file(sd, change({A: torch.ones(2, 8), B: torch.ones(8, 2)}))
    with pytest.raises(KingyoError, match=f"(?s){message}"):
        open_checkpoint("sd/unet+style.safetensors", sd)


@pytest.mark.parametrize(
    "text",
    ["[1]", "{", '{"unet.r": 0}', '{"unet.r": 9, "unet.r": 2}'],
)
def test_an_invalid_config_in_the_header_is_one_clear_error(sd: Path, text: str) -> None:
    write_lora_file(sd, diffusers_file("peft")[0], lora_adapter_metadata=text)
    with pytest.raises(KingyoError, match=r"style\.safetensors"):
        open_checkpoint("sd/unet+style.safetensors", sd)


def test_files_of_peft_need_their_config(tmp_path: Path) -> None:
    """Only the config states alpha for a language model."""
    llama(tmp_path / "m")
    name = "model.layers.0.self_attn.q_proj"
    write_lora_file(
        tmp_path, {f"{name}.lora_A.weight": torch.ones(2, 16), f"{name}.lora_B.weight": torch.ones(16, 2)}
    )
    with pytest.raises(KingyoError, match=r"adapter_config\.json"):
        open_checkpoint("m+style.safetensors", tmp_path)


DENOISERS = {"stable_diffusion_xl": "unet", "stable_diffusion_3": "transformer", "flux": "transformer"}


@pytest.mark.parametrize("style", ["kohya", "comfy"])
@pytest.mark.parametrize("family", DENOISERS)
def test_names_of_the_original_code(tmp_path: Path, family: str, style: str) -> None:
    """Every module, also those that diffusers cannot read: rows of the original, swapped at the end."""
    diffusers = pytest.importorskip("diffusers")
    WRITERS[family](tmp_path / "base", 1)
    component = DENOISERS[family]
    network = getattr(diffusers.DiffusionPipeline.from_pretrained(tmp_path / "base"), component)
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    modules = [name for name, module in network.named_modules() if isinstance(module, kinds)]
    tensors: Tensors = {}
    expected: Tensors = {}
    for i, (original, pieces) in enumerate(original_modules(modules, network.config).items()):
        weights = [network.get_submodule(piece.module).weight for piece in pieces]
        shape = (sum(each.shape[0] for each in weights), *weights[0].shape[1:])
        down, up = pair(shape, i)
        flat, ends = f"lora_unet_{original.replace('.', '_')}", ("lora_down", "lora_up")
        if style == "comfy":
            flat, ends = f"diffusion_model.{original}", ("lora_A", "lora_B")
        tensors |= {f"{flat}.{ends[0]}.weight": down, f"{flat}.{ends[1]}.weight": up}
        rows = (up.flatten(1) @ down.flatten(1)).view(shape).split([each.shape[0] for each in weights])
        for piece, delta in zip(pieces, rows, strict=True):
            halves = delta.chunk(2)
            expected[f"{piece.module}.weight"] = torch.cat(halves[::-1]) if piece.is_swapped else delta
    save_file(tensors, tmp_path / "style.safetensors")
    adapted = open_checkpoint(f"base/{component}+style.safetensors", tmp_path)
    base = open_checkpoint(f"base/{component}", tmp_path)
    assert {name for name in base.tensors if not torch.equal(adapted.read(name), base.read(name))} == (
        expected.keys()
    )
    assert len(expected) == len(modules)
    for name, delta in expected.items():
        torch.testing.assert_close(adapted.read(name) - base.read(name), delta, rtol=1e-5, atol=1e-5)


def test_too_few_rows_for_all_modules_is_one_clear_error(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    WRITERS["flux"](tmp_path / "base", 1)
    down, up = pair((40, 16), 1)
    name = "lora_unet_double_blocks_0_img_attn_qkv"
    tensors = {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
    save_file(tensors, tmp_path / "style.safetensors")
    with pytest.raises(KingyoError) as error:
        open_checkpoint("base/transformer+style.safetensors", tmp_path)
    assert error.value.received == "40"
    assert error.value.expected.startswith("48 rows, for transformer_blocks.0.attn.to_q")
