"""Image preprocessing, and errors of processors, configs and images before a run."""

from __future__ import annotations

import json
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from kingyo.core.types import Media
from kingyo.errors import KingyoError
from kingyo.models.kinds import MODEL_KINDS, LoadOptions, Question
from kingyo.models.vision.images import ImageProcessor
from tests.merging.checkpoints.fitting import restate
from tests.models.classifiers import PROCESSOR, picture, vit

KIND = MODEL_KINDS.get("image-classification")


def media(image: Image.Image, kind: str = "PNG", **how: Any) -> Media:
    stream = BytesIO()
    image.save(stream, kind, **how)
    content = stream.getvalue()
    return Media(sha256=sha256(content).hexdigest(), type=f"image/{kind.lower()}", content=content)


def processor(folder: Path) -> ImageProcessor:
    return ImageProcessor.load(folder, remote_code=False)


def changed(folder: Path, **keys: object) -> Path:
    (folder / "preprocessor_config.json").write_text(json.dumps({**PROCESSOR, **keys}))
    return folder


def refused(folder: Path, *images: Media) -> KingyoError:
    """Return the error of the check before a run on these images."""
    (error,) = KIND.validate(folder, [Question("rate_classes", images or [picture((1, 2, 3))], {})])
    return error


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"{broken",
        b"[" * 100_000,
        json.dumps({**PROCESSOR, "image_processor_type": "BertTokenizer"}).encode(),
        json.dumps({**PROCESSOR, "image_processor_type": "NoSuchProcessor"}).encode(),
        json.dumps({"image_processor_type": "Own", "auto_map": {"AutoImageProcessor": "own.Own"}}).encode(),
    ],
    ids=lambda content: content[-40:].decode(errors="replace"),
)
def test_a_broken_image_processor_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = vit(tmp_path / "m")
    (path / "own.py").write_text("raise SystemExit('code of the checkpoint ran')")
    (path / "preprocessor_config.json").write_bytes(content)
    for load in (lambda path: KIND.validate(path, []), lambda path: KIND.load(path, LoadOptions())):
        with pytest.raises(KingyoError) as error:
            load(path)
        assert "preprocessor_config.json" in error.value.expected and len(str(error.value)) < 700


@pytest.mark.parametrize(
    ("keys", "received"),
    [
        ({"image_std": [0, 0, 0]}, "pixels that are NaN or infinite"),
        ({"image_mean": [0.5]}, "mean must have 3 elements"),
    ],
)
def test_an_incompatible_processor_is_reported_before_the_run(
    tmp_path: Path, keys: dict[str, object], received: str
) -> None:
    error = refused(changed(vit(tmp_path / "m"), **keys))
    assert received in error.received and "preprocessor_config.json" in error.argument + error.remedy


def test_pixels_of_another_shape_are_reported_with_the_first_image(tmp_path: Path) -> None:
    live = KIND.load(changed(vit(tmp_path / "m"), size={"height": 16, "width": 16}), LoadOptions())
    with pytest.raises(KingyoError) as error:
        live.rate_classes([picture((1, 2, 3))])  # type: ignore[attr-defined]
    assert "[3, 16, 16]" in error.value.received


def test_images_that_are_not_resized_must_have_one_size(tmp_path: Path) -> None:
    path = changed(vit(tmp_path / "m"), do_resize=False)
    images = [picture((1, 2, 3)), picture((3, 2, 1), size=9)]
    assert refused(path, *images).argument == f"image {images[1].name}"
    with pytest.raises(KingyoError, match=f"image {images[1].name}"):
        KIND.load(path, LoadOptions()).rate_classes(images)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"patch_size": 2}, "embeddings"),
        ({"id2label": {"0": "red", "1": "green"}}, r"classifier\."),
        ({"id2label": ["red", "green", "blue"]}, "m: .*transformers"),
        ({"id2label": {"0": "red", "1": "green", "7": "blue"}}, "id2label in config.json: .*0 to 2"),
        ({"model_type": "nosuch"}, "m: .*transformers"),
    ],
)
def test_a_config_that_does_not_fit_the_weights_is_one_error_without_them(
    tmp_path: Path, keys: dict[str, object], message: str
) -> None:
    path = restate(vit(tmp_path / "m"), **keys)
    for load in (lambda path: KIND.validate(path, []), lambda path: KIND.load(path, LoadOptions())):
        with pytest.raises(KingyoError, match=message):
            load(path)


def test_an_image_is_rotated_by_its_exif_tag(tmp_path: Path) -> None:
    see, half = processor(vit(tmp_path / "m")), Image.new("RGB", (8, 8))
    half.paste((255, 255, 255), (0, 0, 4, 8))
    turn = Image.Exif()
    turn[0x0112] = 6  # rotate clockwise: the left edge becomes the top
    torch.testing.assert_close(see(media(half, exif=turn)), see(media(half)).transpose(1, 2))


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_an_image_that_would_become_white_is_refused(tmp_path: Path, mode: str) -> None:
    image = media(Image.new(mode, (8, 8), 1000), "TIFF")
    error = refused(vit(tmp_path / "m"), image)
    assert "more than 8 bits" in error.received and image.name in error.argument


@pytest.mark.parametrize("mode", ["1", "LA", "P", "CMYK"])
@pytest.mark.parametrize("size", [(20_000, 1), (3, 7)])
def test_images_of_all_modes_and_sizes_are_read(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    image = media(Image.new(mode, size), "TIFF")
    assert processor(vit(tmp_path / "m"))(image).shape == (3, 8, 8)
