"""EvoSDXL-JP and Evo-Ukiyoe: their recipes and runs on models of the real shapes."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kingyo.merging.recipe import Recipe, load_recipe, look_up
from tests.examples.evovlm_jp import image, prepare
from tests.examples.runs import ROOT, dry_run
from tests.hub import Hub, serve
from tests.published_headers import lightning, sdxl_shapes, sdxl_unet, ukiyoe
from tests.tiny_pipelines import stable_diffusion_xl

pytest.importorskip("datasets", reason="needs the extra `datasets`")
from datasets import Dataset, Features, List, Value

DPO, JUGGERNAUT = "mhdang/dpo-sdxl-text2image-v1", "RunDiffusion/Juggernaut-XL-v9"
JAPANESE, LIGHTNING = "stabilityai/japanese-stable-diffusion-xl", "ByteDance/SDXL-Lightning"
PRINTS = "SakanaAI/Evo-Ukiyoe-v1"
FEATURES = Features(
    {
        "image_id": Value("string"),
        "captions": List(Value("string")),
        "image": {"bytes": Value("binary"), "path": Value("null")},
    }
)


def captions(folder: Path, n: int) -> Path:
    """Write a data set like Crossmodal-3600: photos with Japanese captions."""
    rows = [
        {
            "image_id": f"{i:04}",
            "captions": [f"{i}匹の猫が庭にいる。", "猫。"],
            "image": {"bytes": image(i)["bytes"], "path": None},
        }
        for i in range(n)
    ]
    (folder / "data").mkdir(parents=True)
    Dataset.from_list(rows, features=FEATURES).to_parquet(folder / "data" / "ja-00000-of-00001.parquet")
    return folder


@contextmanager
def real_shapes(folder: Path) -> Generator[Hub]:
    """Serve the models with true shapes, without weights; the files lie as on the Hub."""
    sdxl_unet(folder / DPO / "unet", "F32", variant="")
    for name in (JUGGERNAUT, JAPANESE):
        sdxl_unet(folder / name / "unet")
        parts = ("text_encoder", "vae", "scheduler", "unet")  # as the index of SDXL, without the rest
        index = {
            "_class_name": "StableDiffusionXLPipeline",
            **{part: ["diffusers", "UNet2DConditionModel"] for part in parts},
        }
        (folder / name / "model_index.json").write_text(json.dumps(index))
    lightning(folder / LIGHTNING)
    ukiyoe(folder / PRINTS)
    with serve(folder) as hub:
        yield hub


def prepared(example: str, folder: Path, n: int) -> Path:
    """Run the script on tiny pipelines; the UNet has the real shapes, without weights."""
    tiny = stable_diffusion_xl(folder / "tiny")
    data = captions(folder / "captions", n)
    where = prepare("evosdxl-jp", folder, example=example, captions=data, sdxl=tiny, japanese=tiny)
    for file in (where / "pipeline" / "unet").iterdir():
        file.unlink()
    sdxl_unet(where / "pipeline" / "unet", variant="")
    return where


CONV = {"sdxl": 0.15928833971605916, DPO: 0.1032449268871776, JUGGERNAUT: 0.6503217149752791}
ATTENTION = {"sdxl": 0.1877279276437178, DPO: 0.20014114603909822, JUGGERNAUT: 0.3922685507065275}
CONV[JAPANESE], ATTENTION[JAPANESE] = 0.08714501842148402, 0.2198623756106564
"""The published weights, by evo_nishikie_v1.py of SakanaAI/Evo-Nishikie-v1."""


def weights(recipe: Recipe, name: str) -> dict[str, float]:
    """The weights of one tensor, by the repository of the model."""
    found = {
        source.model.partition("/unet")[0].removeprefix("./"): look_up(
            [source.parameters], "weight", name, None
        )
        for source in recipe.sources
    }
    return {model: float(weight) for model, weight in found.items() if weight is not None}


@pytest.mark.parametrize("example", ["evosdxl-jp", "evo-ukiyoe"])
def test_recipes_have_the_published_weights(example: str) -> None:
    recipe = load_recipe(ROOT / "examples" / example / "recipe.yaml")
    for name in sdxl_shapes():
        is_attention = any(part in name for part in ("to_k", "to_q", "to_v", "to_out.0"))
        published = dict(ATTENTION if is_attention else CONV)
        of_sdxl = published.pop("sdxl")
        pipeline = of_sdxl if example == "evosdxl-jp" else 1.0  # the LoRA on the base
        assert weights(recipe, name) == {**published, "pipeline": pipeline}
    assert sum(CONV.values()) == pytest.approx(1) and sum(ATTENTION.values()) == pytest.approx(1)


ANY = """
from dataclasses import dataclass


@dataclass(frozen=True)
class Any:
    def __call__(self, pictures, items):
        return [0.5] * len(pictures)
"""
GROUPS = ("attn", "conv")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "items", "genes"),
    [
        (
            "evosdxl-jp",
            (100, 150, 400),
            {f"weight/{n}/{g}" for n in ("sdxl", "dpo", "juggernaut", "japanese") for g in GROUPS},
        ),
        (
            "evo-ukiyoe",
            (40, 60, 200),
            {
                "weight/prints/all",
                *(f"weight/{n}/{g}" for n in ("dpo", "juggernaut", "japanese") for g in GROUPS),
            },
        ),
    ],
)
def test_runs_and_recipes_fit_together(
    tmp_path: Path, example: str, items: tuple[int, ...], genes: set[str]
) -> None:
    folder = prepared(example, tmp_path, 660)
    (folder / "any.py").write_text(ANY)  # the grader's weights are on the Hub
    config = folder / "run.yaml"
    config.write_text(
        config.read_text().replace("{clip: google/siglip-base-patch16-256-multilingual}", "any.py:Any")
    )
    with real_shapes(tmp_path / "hub") as hub:
        summary = dry_run(hub, tmp_path, "evolve", config)
        merged = dry_run(hub, tmp_path, "merge", folder / "recipe.yaml", "out")
    assert "error" not in merged, merged
    assert "error" not in summary, summary
    assert tuple(summary["items"][split] for split in ("fit", "validation", "test")) == items
    assert {gene["name"] for gene in summary["search"]["genes"]} == genes
    assert summary["search"]["strategy"] == "cma-es"
    assert hub.n_sent(".safetensors") < 5_000_000
