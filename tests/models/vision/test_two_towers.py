"""Models of images and texts: the cosines of transformers, however texts and pictures are batched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from kingyo.errors import KingyoError
from kingyo.models.vision.frozen import load_two_towers
from tests.models.classifiers import vit
from tests.tiny_judges import clip, picture, siglip

PICTURES = [picture((255, 0, 0)), picture((0, 255, 0)), picture((0, 0, 255))]
TEXTS = ["red", "a green cat", "blue blue blue"]


@pytest.mark.parametrize("write", [clip, siglip])
def test_cosines_are_those_of_transformers(write, tmp_path: Path) -> None:
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    folder = str(write(tmp_path / "judge"))
    towers = load_two_towers(folder)
    cosines = towers.cosines(PICTURES, TEXTS)

    from kingyo.models.vision.images import read_image

    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    images = AutoImageProcessor.from_pretrained(folder, backend="pil")(
        [read_image(each) for each in PICTURES], return_tensors="pt"
    )
    padding = True if write is clip else "max_length"
    texts = tokenizer(TEXTS, padding=padding, max_length=16, truncation=True, return_tensors="pt")
    texts = {key: texts[key] for key in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        output = model(**images, **texts)
    expected = (output.image_embeds * output.text_embeds).sum(dim=-1)
    torch.testing.assert_close(torch.tensor(cosines), expected, atol=2e-6, rtol=1e-5)
    logits = torch.tensor(cosines) * towers.scale + (towers.bias or 0)
    torch.testing.assert_close(logits, output.logits_per_image.diagonal(), atol=1e-4, rtol=1e-4)
    assert max(cosines) - min(cosines) > 0.05


def test_a_text_longer_than_the_encoder_is_cut(tmp_path: Path) -> None:
    towers = load_two_towers(str(clip(tmp_path / "judge")))
    long = "a cat " * 100
    assert towers.cosines(PICTURES[:1], [long]) == towers.cosines(PICTURES[:1], [f"{long}and a dog"])


def test_a_model_without_a_processor_takes_one_from_elsewhere(tmp_path: Path) -> None:
    bare, whole = clip(tmp_path / "pick", 1, processor=False), clip(tmp_path / "clip", 2)
    with pytest.raises(KingyoError) as error:
        load_two_towers(str(bare))
    assert error.value.argument == str(bare)
    copy = tmp_path / "copy"
    shutil.copytree(bare, copy)
    for name in ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(whole / name, copy)
    expected = load_two_towers(str(copy)).cosines(PICTURES, TEXTS)
    assert load_two_towers(str(bare), str(whole)).cosines(PICTURES, TEXTS) == expected


def test_other_models_are_refused(tmp_path: Path) -> None:
    for folder in (vit(tmp_path / "vit"), tmp_path / "none"):
        with pytest.raises(KingyoError) as error:
            load_two_towers(str(folder))
        assert error.value.argument == str(folder)


def test_pickles_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = clip(tmp_path / "judge")
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(KingyoError) as error:
        load_two_towers(str(folder))
    assert "safetensors" in error.value.remedy
