"""Groups of denoisers: attention and the rest, and merge block weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Layout, open_checkpoint
from kingyo.merging.recipe import look_up
from tests.merging.checkpoints.denoisers import FLUX, PIXART, SD1, SD3, SDXL, Unet, flux, single_list
from tests.tiny_pipelines import WRITERS

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


def layout_of(names: list[str], class_name: str = "UNet2DConditionModel") -> Layout:
    return Layout(names, {"_class_name": class_name})


def numbered(letters: str, n: int) -> list[str]:
    return [f"{letters}{i:02}" for i in range(n)]


@pytest.mark.parametrize(
    ("unet", "n_in", "n_out"),
    [(SD1, 12, 12), (SDXL, 9, 9), (Unet(attention=(True, False), layers=1), 4, 4)],
    ids=["sd1", "sdxl", "tiny"],
)
def test_blocks_of_a_unet_follow_from_its_structure(unet: Unet, n_in: int, n_out: int) -> None:
    groups = layout_of(unet.names).groups("mbw")
    assert list(groups) == ["BASE", *numbered("IN", n_in), "M00", *numbered("OUT", n_out)]
    assert sorted(name for names in groups.values() for name in names) == sorted(unet.names)


def test_blocks_of_sdxl() -> None:
    groups = layout_of(SDXL.names).groups("mbw")
    modules = {
        "BASE": {"time_embedding", "add_embedding"},
        "IN00": {"conv_in"},
        "IN02": {"down_blocks.0.resnets.1"},
        "IN03": {"down_blocks.0.downsamplers.0"},
        "IN08": {"down_blocks.2.resnets.1", "down_blocks.2.attentions.1"},
        "M00": {"mid_block.resnets.0", "mid_block.resnets.1", "mid_block.attentions.0"},
        "OUT02": {"up_blocks.0.resnets.2", "up_blocks.0.attentions.2", "up_blocks.0.upsamplers.0"},
        "OUT08": {"up_blocks.2.resnets.2", "conv_norm_out", "conv_out"},
    }
    for block, wanted in modules.items():
        starts = {start for start in wanted for name in groups[block] if name.startswith(f"{start}.")}
        assert starts == wanted
        assert all(name.startswith(tuple(wanted)) for name in groups[block])


@pytest.mark.parametrize(
    ("names", "class_name"),
    [(SD1.names, "UNet2DConditionModel"), (SD3, "SD3Transformer2DModel"), (FLUX, "FluxTransformer2DModel")],
    ids=["sd1", "sd3", "flux"],
)
def test_attention_and_the_rest(names: list[str], class_name: str) -> None:
    groups = layout_of(names, class_name).groups("conv+attn")
    assert list(groups) == ["attn", "conv"]
    assert set(groups["attn"]) == {name for name in names if any(part in name for part in ATTENTION)}
    assert sorted([*groups["attn"], *groups["conv"]]) == sorted(names)


@pytest.mark.parametrize("how", ["conv+attn", "mbw"])
@pytest.mark.parametrize("names", [SD1.names, SDXL.names, SD3, FLUX, PIXART])
def test_filters_of_denoisers_are_few_and_exact(names: list[str], how: str) -> None:
    layout = layout_of(names, "UNet2DConditionModel" if names in (SD1.names, SDXL.names) else "Transformer")
    groups = layout.groups(how)
    values = {group: float(i) for i, group in enumerate(groups)}
    filters = layout.conditionals(how, values)
    assert len(filters) <= 2 * len(groups) + 4
    for group, own in groups.items():
        assert {look_up([{"weight": filters}], "weight", name, None) for name in own} == {values[group]}


def test_models_without_a_config_are_recognised_by_their_blocks() -> None:
    assert list(Layout(flux(1, 1)).groups("mbw")) == ["IN", "D00", "S00", "OUT"]
    assert list(Layout(single_list(101, ["proj_out"])).groups("mbw"))[-2:] == ["B100", "OUT"]


REAL = {
    "stable_diffusion": ("unet", ["BASE", *numbered("IN", 12), "M00", *numbered("OUT", 12)]),
    "stable_diffusion_xl": ("unet", ["BASE", *numbered("IN", 9), "M00", *numbered("OUT", 9)]),
    "stable_diffusion_3": ("transformer", ["IN", *numbered("B", 2), "OUT"]),
    "flux": ("transformer", ["IN", *numbered("D", 2), *numbered("S", 2), "OUT"]),
    "sana": ("transformer", ["IN", *numbered("B", 2), "OUT"]),
    "pixart": ("transformer", ["IN", *numbered("B", 2), "OUT"]),
}


@pytest.mark.parametrize("name", REAL)
def test_groups_of_real_classes(tmp_path: Path, name: str) -> None:
    pytest.importorskip("diffusers")
    component, blocks = REAL[name]
    WRITERS[name](tmp_path)
    layout = open_checkpoint(str(tmp_path / component)).layout
    assert list(layout.groups("mbw")) == blocks
    assert list(layout.groups("conv+attn")) == ["attn", "conv"]
    last = {name.split(".")[0] for name in layout.groups("mbw")[blocks[-1]]}
    assert last & {"conv_out", "proj_out"} and "transformer_blocks" not in last
    for other in ("vae", "text_encoder"):
        for how in ("mbw", "conv+attn"):
            with pytest.raises(KingyoError, match=r"groups: expected a denoiser"):
                open_checkpoint(str(tmp_path / other)).layout.groups(how)
