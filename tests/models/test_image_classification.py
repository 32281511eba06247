"""Image classification: tiny models of transformers, their images and processors, and complete runs."""

import json
import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

import kingyo
from kingyo.core.types import Item, Media
from kingyo.errors import KingyoError
from kingyo.models.kinds import MODEL_KINDS, LoadOptions, ModelKind, Options, Question
from kingyo.models.vision.images import ImageProcessor
from kingyo.testing.kinds import ModelKindContract
from tests.merging.checkpoints.fitting import restate
from tests.models.classifiers import LABELS, PROCESSOR, encoded, picture, vit
from tests.tasks.pictures import media

KIND = MODEL_KINDS.get("image-classification")


class TestImageClassification(ModelKindContract):
    def make(self) -> ModelKind:
        return KIND

    def make_checkpoint(self, folder: Path) -> None:
        vit(folder)

    def ask(self, model: Any) -> object:
        return model.rate_classes([picture((n, 200, 9)) for n in range(3)])

    def make_items(self) -> Sequence[Item]:
        pictures = (picture((n, 2 * n, 3 * n)) for n in range(3))
        return [Item(id=each.name, prompt="", answer="red", media=(each,)) for each in pictures]

    def make_options(self) -> Options:
        return {"image": "image", "label": "label"}


def test_class_scores_match_transformers(tmp_path: Path) -> None:
    path = vit(tmp_path / "m")
    live = KIND.load(path, LoadOptions(batch_size=2))
    images = [picture((n, 255 - n, n), size=8 + n) for n in range(0, 250, 50)]
    processor = AutoImageProcessor.from_pretrained(path, backend="pil")
    model = AutoModelForImageClassification.from_pretrained(path).eval()
    opened = [Image.open(BytesIO(each.read())).convert("RGB") for each in images]
    with torch.inference_mode():
        logits = model(**processor(images=opened, return_tensors="pt")).logits
    torch.testing.assert_close(torch.tensor(live.rate_classes(images)), logits.log_softmax(-1))  # type: ignore[attr-defined]
    assert live.classes == LABELS  # type: ignore[attr-defined]


def processor(folder: Path) -> ImageProcessor:
    return ImageProcessor.load(folder, remote_code=False)


def refused(folder: Path, *images: Media) -> KingyoError:
    (error,) = KIND.validate(folder, [Question("rate_classes", images or [picture((1, 2, 3))], {})])
    return error


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"[]",
        b"{broken",
        b"[" * 100_000,
        json.dumps({**PROCESSOR, "image_processor_type": "BertTokenizer"}).encode(),
        json.dumps({**PROCESSOR, "image_processor_type": "NoSuchProcessor"}).encode(),
        json.dumps({"image_processor_type": "Own", "auto_map": {"AutoImageProcessor": "own.Own"}}).encode(),
    ],
    ids=lambda content: (content or b"")[-40:].decode(errors="replace"),
)
def test_a_broken_image_processor_is_one_clear_error(tmp_path: Path, content: bytes | None) -> None:
    path = vit(tmp_path / "m")
    (path / "own.py").write_text("raise SystemExit('code of the checkpoint ran')")
    (path / "preprocessor_config.json").unlink()
    if content is not None:
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
    error = refused(restate(vit(tmp_path / "m"), "preprocessor_config.json", **keys))
    assert received in error.received and "preprocessor_config.json" in error.argument + error.remedy


def test_pixels_of_another_shape_are_reported_with_the_first_image(tmp_path: Path) -> None:
    size = {"height": 16, "width": 16}
    live = KIND.load(restate(vit(tmp_path / "m"), "preprocessor_config.json", size=size), LoadOptions())
    with pytest.raises(KingyoError) as error:
        live.rate_classes([picture((1, 2, 3))])  # type: ignore[attr-defined]
    assert "[3, 16, 16]" in error.value.received


def test_images_that_are_not_resized_must_have_one_size(tmp_path: Path) -> None:
    path = restate(vit(tmp_path / "m"), "preprocessor_config.json", do_resize=False)
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
    torch.testing.assert_close(see(encoded(half, exif=turn)), see(encoded(half)).transpose(1, 2))


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    broken = media(b"no image")
    assert refused(vit(tmp_path / "m"), picture((1, 2, 3)), broken).argument == f"image {broken.name}"


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_an_image_that_would_become_white_is_refused(tmp_path: Path, mode: str) -> None:
    image = encoded(Image.new(mode, (8, 8), 1000), "TIFF")
    error = refused(vit(tmp_path / "m"), image)
    assert "more than 8 bits" in error.received and image.name in error.argument


@pytest.mark.parametrize("mode", ["1", "LA", "P", "CMYK"])
@pytest.mark.parametrize("size", [(20_000, 1), (3, 7)])
def test_images_of_all_modes_and_sizes_are_read(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    image = encoded(Image.new(mode, size), "TIFF")
    assert processor(vit(tmp_path / "m"))(image).shape == (3, 8, 8)


def test_classifiers_can_be_evolved_and_exported(tmp_path: Path) -> None:
    for seed, name in enumerate(("base", "one", "other")):
        vit(tmp_path / name, seed)
    (tmp_path / "images").mkdir()
    rows: list[dict[str, str]] = []
    for n in range(24):
        colour = [20 + n, 20 + n, 20 + n]
        colour[n % 3] = 250 - n
        (tmp_path / "images" / f"{n}.png").write_bytes(picture((colour[0], colour[1], colour[2])).read())
        rows.append({"image": f"images/{n}.png", "label": LABELS[n % 3]})
    (tmp_path / "colours.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "base": "base",
        "sources": {"one": "one", "other": "other"},
        "task": {"kind": "classify", "data": "colours.jsonl", "measure": "macro_f1"},
        "budget": {"candidates": 3},
    }
    run = kingyo.evolve(config, tmp_path / "run", folder=tmp_path)
    out = kingyo.export_model(run, tmp_path / "out")
    kingyo.evaluate(out, out / "task.yaml")
    summary = kingyo.summarize(run)
    assert summary.unit.measure == "macro_f1" and summary.winner is not None
    sets = {each.split: each.value for each in summary.winner.sets}
    assert max(each.validation for each in summary.finalists) == pytest.approx(sets["validation"])
    AutoModelForImageClassification.from_pretrained(out)
    card = (out / "README.md").read_text()
    assert "pipeline_tag: image-classification" in card
    image = re.search(r"classify\('(media/[^']+)'\)", card)
    assert image is not None and (out / image[1]).is_file()
