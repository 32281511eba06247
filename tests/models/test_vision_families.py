"""The tiny vision-language models load without network, with their processors, and see one image or two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from tests.models.vision_families import FAMILIES, build, build_text, inputs, lacks

# Transformers' own, in the processor of PaliGemma.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

QUESTION = "what is in the image?"


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(family, tmp_path_factory.mktemp(family) / "model")


def processor(family: str, folder: Path) -> Any:
    if missing := lacks(family):
        pytest.skip(f"the processor of {family} needs {', '.join(missing)}")
    return AutoProcessor.from_pretrained(folder)


def asked(processor: Any, n_images: int) -> Any:
    from PIL import Image

    images = [{"type": "image", "image": Image.new("RGB", (16, 16), color)} for color in ("red", "blue")]
    content = [*images[:n_images], {"type": "text", "text": QUESTION}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )


@pytest.mark.parametrize("n_images", [1, 2])
def test_it_writes_about_images(family: str, folder: Path, n_images: int) -> None:
    given = asked(processor(family, folder), n_images)
    model: Any = AutoModelForImageTextToText.from_pretrained(folder)
    written = model.generate(**given, max_new_tokens=2, do_sample=False, eos_token_id=None)
    assert written.shape[1] == given["input_ids"].shape[1] + 2


def test_our_inputs_are_those_of_the_processor(family: str, folder: Path) -> None:
    given, ours = asked(processor(family, folder), 1), inputs(family)
    shapes = {name: given[name].shape for name in ours if name != "mm_token_type_ids"}
    assert {name: ours[name].shape for name in shapes} | {"input_ids": shapes["input_ids"]} == shapes
    image = ours["input_ids"][0, 2]
    assert (given["input_ids"] == image).sum() == (ours["input_ids"] == image).sum()


def test_images_change_the_answer(family: str, folder: Path) -> None:
    model, given = AutoModelForImageTextToText.from_pretrained(folder), inputs(family)
    with torch.inference_mode():
        one, other = (
            model(**{**given, "pixel_values": pixels}).logits
            for pixels in (given["pixel_values"], given["pixel_values"] + 1)
        )
    assert not torch.equal(one[:, -1], other[:, -1])


def test_the_text_model_has_its_vocabulary(family: str, folder: Path, tmp_path: Path) -> None:
    text = build_text(family, tmp_path / "text")
    loaded: Any = AutoModelForCausalLM.from_pretrained(text, output_loading_info=True)
    assert not any(loaded[1].values()), loaded[1]
    tokenizers = [AutoTokenizer.from_pretrained(each) for each in (folder, text)]
    assert tokenizers[0].get_vocab() == tokenizers[1].get_vocab()
    for tokenizer in tokenizers:
        tokens = tokenizer(QUESTION, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(tokens) == QUESTION
