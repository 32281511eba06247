"""Groups of denoisers: attention and the rest, and merge block weights."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Layout, open_checkpoint
from kingyo.merging.recipe import look_up
from tests.merging.checkpoints.architectures import build
from tests.tiny_pipelines import WRITERS

pytest.importorskip("diffusers")

Opened = Callable[[str], Layout]
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


def numbered(letters: str, n: int) -> list[str]:
    return [f"{letters}{i:02}" for i in range(n)]


def unet_of(n: int) -> list[str]:
    return ["BASE", *numbered("IN", n), "M00", *numbered("OUT", n)]


BLOCKS = {
    "stable_diffusion": unet_of(12),
    "stable_diffusion_xl": unet_of(9),
    "unet of two blocks": unet_of(4),
    "stable_diffusion_3": ["IN", *numbered("B", 2), "OUT"],
    "flux": ["IN", *numbered("D", 2), *numbered("S", 2), "OUT"],
    "sana": ["IN", *numbered("B", 2), "OUT"],
    "pixart": ["IN", *numbered("B", 2), "OUT"],
}


@pytest.fixture(scope="module")
def layout_of(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    @cache
    def get(name: str) -> Layout:
        folder = tmp_path_factory.mktemp("denoiser")
        if name in WRITERS:
            WRITERS[name](folder)
        else:
            build("unet", folder / "unet")
        component = "unet" if (folder / "unet").exists() else "transformer"
        return open_checkpoint(str(folder / component)).layout

    return get


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_follow_from_the_structure(layout_of: Opened, name: str) -> None:
    layout = layout_of(name)
    groups = layout.groups("mbw")
    assert list(groups) == BLOCKS[name]
    assert sorted(each for names in groups.values() for each in names) == sorted(layout.names)
    last = {each.split(".")[0] for each in groups[BLOCKS[name][-1]]}
    assert last & {"conv_out", "proj_out"} and "transformer_blocks" not in last


def test_blocks_of_sdxl(layout_of: Opened) -> None:
    groups = layout_of("stable_diffusion_xl").groups("mbw")
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


@pytest.mark.parametrize("name", ["stable_diffusion", "stable_diffusion_3", "flux"])
def test_attention_and_the_rest(layout_of: Opened, name: str) -> None:
    layout = layout_of(name)
    groups = layout.groups("conv+attn")
    assert list(groups) == ["attn", "conv"]
    assert set(groups["attn"]) == {each for each in layout.names if any(part in each for part in ATTENTION)}
    assert sorted([*groups["attn"], *groups["conv"]]) == sorted(layout.names)


@pytest.mark.parametrize("how", ["conv+attn", "mbw"])
@pytest.mark.parametrize("name", BLOCKS)
def test_filters_of_denoisers_are_few_and_exact(layout_of: Opened, name: str, how: str) -> None:
    layout = layout_of(name)
    groups = layout.groups(how)
    values = {group: float(i) for i, group in enumerate(groups)}
    filters = layout.conditionals(how, values)
    assert len(filters) <= 2 * len(groups) + 4
    for group, own in groups.items():
        assert {look_up([{"weight": filters}], "weight", each, None) for each in own} == {values[group]}


def test_models_without_a_config_are_recognised_by_their_blocks() -> None:
    blocks = [f"transformer_blocks.{i}.attn1.{name}.weight" for i in range(101) for name in ATTENTION]
    assert list(Layout([*blocks, "proj_out.weight"]).groups("mbw"))[-2:] == ["B100", "OUT"]


@pytest.mark.parametrize("how", ["mbw", "conv+attn"])
@pytest.mark.parametrize("name", ["vae", "bert"])
def test_other_models_have_no_such_groups(tmp_path: Path, name: str, how: str) -> None:
    with pytest.raises(KingyoError, match=r"groups: expected a denoiser"):
        open_checkpoint(str(build(name, tmp_path / name))).layout.groups(how)
