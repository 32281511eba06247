"""The models and captions of EvoSDXL-JP and Evo-Ukiyoe in small, and runs of their script."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.examples.evovlm_jp import image, prepare
from tests.hub import Hub, serve
from tests.published_headers import lightning, sdxl_unet, ukiyoe
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
