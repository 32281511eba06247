"""Live diffusion pipelines: the pixels of plain diffusers, what is computed once, and clear errors."""

import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from kingyo.core.types import Drawing, DrawingPrompt, Item, Media
from kingyo.errors import KingyoError
from kingyo.models.kinds import MODEL_KINDS, LoadOptions, Question, known_kind
from kingyo.testing.kinds import ModelKindContract
from tests.merging.checkpoints.pipelines import INDEX
from tests.tiny_pipelines import DRAW, EACH_PIPELINE, SIDE, WRITERS, stable_diffusion

PROMPTS = [DrawingPrompt(f"a cat {n % 3}", n) for n in range(5)]
SMALL = Drawing(steps=2, **SIDE)
KIND = MODEL_KINDS.get("text-to-image")


def errors(path: Path, prompts: list[DrawingPrompt], drawing: Drawing) -> list[KingyoError]:
    return list(KIND.validate(path, [Question("draw", prompts, {"drawing": drawing})]))


def denoiser(pipeline: Path) -> Path:
    return next(pipeline / name for name in ("unet", "transformer") if (pipeline / name).is_dir())


def drawing(name: str, **changes) -> Drawing:
    arguments = {key: value for key, value in DRAW[name].items() if key not in SIDE}
    return Drawing(steps=2, **SIDE, arguments=arguments, **changes)


def pixels(picture: Media) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(picture.read())))


def plain(folder: Path, batches, how: Drawing) -> list[np.ndarray]:
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    drawn = []
    for batch in batches:
        drawn += pipeline(
            [each.text for each in batch],
            num_inference_steps=how.steps,
            generator=[torch.Generator().manual_seed(each.seed) for each in batch],
            **SIDE,
            **how.arguments,
        ).images
    return [np.asarray(each) for each in drawn]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stable_diffusion(tmp_path_factory.mktemp("sd"), seed=1)


class TestTextToImage(ModelKindContract):
    def make(self):
        return KIND

    def make_checkpoint(self, folder: Path) -> Path:
        return stable_diffusion(folder / "pipeline", seed=1) / "unet"

    def make_items(self):
        return [Item(id="cat", prompt="a cat", answer="", seed=3)]

    def make_options(self):
        return {"steps": 2, "scheduler": {"class": "DDIMScheduler"}, "guidance_scale": 2.0}

    def ask(self, model):
        return model.draw(PROMPTS[:2], SMALL)


@pytest.mark.parametrize("name", EACH_PIPELINE)
def test_pictures_have_the_pixels_of_plain_diffusers(name: str, tmp_path: Path) -> None:
    folder, how = WRITERS[name](tmp_path / name, seed=1), drawing(name)
    live = KIND.load(denoiser(folder), LoadOptions(batch_size=3))
    drawn = [pixels(each) for each in live.draw(PROMPTS, how)]
    expected = plain(folder, (PROMPTS[:3], PROMPTS[3:]), how)
    for one, other in zip(drawn, expected, strict=True):  # text encoders round by the size of a batch
        assert np.abs(one.astype(int) - other).max() <= name.startswith("stable_diffusion_")
    assert len({each.tobytes() for each in drawn}) == len(PROMPTS)
    again = live.draw(PROMPTS, how)
    assert [pixels(each).tobytes() for each in again] == [each.tobytes() for each in drawn]
    assert live.n_encoded == 3  # each prompt once


def test_nan_is_an_error_and_no_black_picture(pipeline: Path) -> None:
    live = KIND.load(pipeline / "unet", LoadOptions())
    next(iter(live.weights.values())).fill_(torch.nan)
    with pytest.raises(KingyoError) as caught:
        live.draw(PROMPTS[:1], SMALL)
    assert caught.value.received == "NaN or infinity"


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"scheduler": {"class": "DDIMSchduler"}}, "scheduler: class"),
        ({"scheduler": {"class": "UNet2DConditionModel"}}, "scheduler: class"),
        ({"scheduler": {"beta_strat": 1}}, "scheduler: beta_strat"),
        ({"scheduler": {"beta_start": "x"}}, "scheduler"),
        ({"scheduler": {"num_train_timesteps": -1}}, "scheduler"),
        ({"arguments": {"max_sequence_length": 3}}, "arguments: max_sequence_length"),
        ({"arguments": {"generator": 3}}, "arguments: generator"),
        ({"arguments": {"guidance_scale": 3}, "guidance_scale": 2.0}, "arguments: guidance_scale"),
        ({"arguments": {"kwargs": 1}}, "arguments: kwargs"),
        ({"arguments": {"clip_skip": 100}}, "StableDiffusionPipeline"),
        ({"scheduler": {"self": 1}}, "scheduler: self"),
        ({"arguments": {"clip_skip": "many"}}, "StableDiffusionPipeline"),
        ({"height": 33}, "StableDiffusionPipeline"),
    ],
)
def test_settings_that_a_pipeline_does_not_take_are_named(pipeline: Path, changes, argument: str) -> None:
    live = KIND.load(pipeline / "unet", LoadOptions())
    with pytest.raises(KingyoError) as caught:
        live.draw(PROMPTS[:1], Drawing(**{"steps": 2, **SIDE, **changes}))
    assert caught.value.argument == argument
    if argument.startswith(("scheduler", "arguments")):  # found before the weights are loaded
        (early,) = errors(pipeline / "unet", PROMPTS[:1], Drawing(**{"steps": 2, **changes}))
        assert str(early) == str(caught.value)


def test_too_little_memory_is_no_mistake_in_the_settings(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    live = KIND.load(pipeline / "unet", LoadOptions())
    monkeypatch.setattr(diffusers.UNet2DConditionModel, "forward", forward)
    with pytest.raises(torch.OutOfMemoryError):
        live.draw(PROMPTS[:1], SMALL)


def test_a_long_prompt_is_an_error(pipeline: Path) -> None:
    long = [DrawingPrompt("cat " * 30 + "dog", 0)]
    (error,) = errors(pipeline / "unet", long, SMALL)
    assert error.argument.startswith("prompt 'cat cat")
    assert "at most 77 tokens" in error.expected
    assert errors(pipeline / "unet", long, Drawing(truncate=True)) == []


def test_a_transformer_with_a_second_text_encoder_reads_more(tmp_path: Path) -> None:
    path = WRITERS["flux"](tmp_path) / "transformer"
    long = [DrawingPrompt("cat " * 30, 0)]
    assert errors(path, long, Drawing(steps=1)) == []
    (error,) = errors(path, long, Drawing(steps=1, arguments={"max_sequence_length": 32}))
    assert error.expected.startswith("at most")


def test_the_kind_takes_denoisers_of_pipelines_that_draw_from_text() -> None:
    unet = {"_class_name": "UNet2DConditionModel"}
    index = {**INDEX, "vae": ["diffusers", "AutoencoderKL"]}
    assert known_kind(unet, index) is KIND
    assert known_kind(unet) is KIND  # a source; pipelines of others have what is around it
    assert known_kind({"_class_name": "AutoencoderKL"}, index) is None
    for other in ("StableDiffusionInpaintPipeline", "WanVideoPipeline", "StableDiffusionImg2ImgPipeline"):
        assert known_kind(unet, {**index, "_class_name": other}) is None


def test_weights_of_a_variant_are_read(pipeline: Path, tmp_path: Path) -> None:
    plain = diffusers.DiffusionPipeline.from_pretrained(pipeline, dtype=torch.float16)
    plain.save_pretrained(tmp_path, variant="fp16")
    live = KIND.load(tmp_path / "unet", LoadOptions(dtype="float32"))
    assert live.dtype == "float32"
    stored = KIND.load(pipeline / "unet", LoadOptions()).weights
    for name, tensor in live.weights.items():
        assert torch.equal(tensor, stored[name].half().float()), name


@pytest.mark.parametrize(
    ("gone", "named"), [("model_index.json", "model_index.json"), ("vae", "the component vae")]
)
def test_a_pipeline_that_lacks_a_part_is_one_error(
    pipeline: Path, tmp_path: Path, gone: str, named: str
) -> None:
    broken = shutil.copytree(pipeline, tmp_path / "broken")
    (broken / gone).rename(tmp_path / "gone")
    for call in (lambda path: KIND.validate(path, []), lambda path: KIND.load(path, LoadOptions())):
        with pytest.raises(KingyoError) as caught:
            call(broken / "unet")
        assert named in caught.value.expected


EULER = {"class": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}
CHANGES: list[dict[str, object]] = [
    {"steps": 3},
    {"guidance_scale": 1.5},
    {"negative_prompt": "a bird", "guidance_scale": 4.0},
    {"height": 64, "width": 32},
]
OF_NOISE: list[dict[str, object]] = [
    {"scheduler": {**EULER, "timestep_spacing": "leading"}},
    {"scheduler": {"class": "DDIMScheduler"}, "arguments": {"eta": 0.5}},
    {"arguments": {"timesteps": [900, 300]}},
    {"arguments": {"timesteps": [500, 100]}},
]
"""Changes for pipelines that add noise as DDPM does."""


def variants(name: str) -> list[Drawing]:
    adds_noise = name not in ("stable_diffusion_3", "flux", "sana")
    plain = drawing(name, scheduler=EULER if adds_noise else {}, guidance_scale=3.0)
    changes = [*CHANGES, *(OF_NOISE if adds_noise and name != "pixart" else [])]
    return [plain, *(replace(plain, **each) for each in changes)]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Euler's, with NumPy 2
@pytest.mark.parametrize("name", EACH_PIPELINE)
def test_pictures_are_the_same_alone_and_after_others(name: str, tmp_path: Path) -> None:
    folder, hows = WRITERS[name](tmp_path / "pipeline", seed=1), variants(name)

    def drawn(hows: list[Drawing]) -> list[list[str]]:
        live = KIND.load(denoiser(folder), LoadOptions(batch_size=2))
        return [[each.sha256 for each in live.draw(PROMPTS[:2], how)] for how in hows]

    alone = [drawn([how])[0] for how in hows]
    assert drawn(hows) == alone
    assert drawn(hows[::-1]) == alone[::-1]
    assert len({own[0] for own in alone}) > len(alone) / 2
