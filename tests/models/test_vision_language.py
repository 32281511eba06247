"""Vision-language models of every family answer with kept image features as with pixels."""

# pyright: reportPrivateUsage=false

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kingyo.core.types import GREEDY, MEDIA, Decoding, ImagePrompt, Item
from kingyo.errors import KingyoError
from kingyo.merging.recipe import Hop
from kingyo.models import image_features
from kingyo.models.kinds import MODEL_KINDS, LoadOptions, ModelKind, Workload
from kingyo.models.language_model import LiveModel
from kingyo.models.layers import PathModels
from kingyo.models.vision.cache import Cache
from kingyo.models.vision_language import LiveVisionLanguageModel
from kingyo.testing.kinds import ModelKindContract
from tests.merging.checkpoints.fitting import restate
from tests.models.conftest import IMAGES
from tests.models.vision_families import build, build_text

OPTIONS = LoadOptions(dtype="float32", batch_size=3)


class TestContract(ModelKindContract):
    def make(self) -> ModelKind:
        return MODEL_KINDS.get("image-text-to-text")

    def make_checkpoint(self, folder: Path) -> None:
        build("llava", folder)

    def ask(self, model: Any) -> object:
        return model.write_about(questions(model), max_new_tokens=4)


def questions(model: Any) -> list[ImagePrompt]:
    about_one = [model.image_prompt("what is in the image?", [image], chat=True) for image in IMAGES]
    return [*about_one, model.image_prompt("which is red?", IMAGES[:2], chat=True)]


@pytest.mark.parametrize("decoding", [GREEDY, Decoding(num_beams=3, repetition_penalty=1.5)])
def test_answers_are_those_of_transformers(seeing: LiveVisionLanguageModel, decoding: Decoding) -> None:
    prompts = questions(seeing)
    answers = seeing.write_about(prompts, max_new_tokens=5, decoding=decoding)
    text = seeing._processor.text
    for prompt, answer in zip(prompts, answers, strict=True):
        inputs = seeing._processor.pixels(prompt)
        tokens = seeing.module.generate(  # pyright: ignore[reportCallIssue]
            **inputs,
            do_sample=False,
            **decoding._asdict(),
            max_new_tokens=5,
            eos_token_id=sorted(text.ends),
            pad_token_id=text.padding,
        )[0, inputs["input_ids"].shape[1] :].tolist()
        assert answer.text == text.decode([token for token in tokens if token not in text.ends])


def test_likelihoods_are_those_of_transformers(seeing: LiveVisionLanguageModel) -> None:
    pairs = [(prompt, "a red square") for prompt in questions(seeing)]
    likelihoods = seeing.log_likelihood_about(pairs)
    for (prompt, continuation), likelihood in zip(pairs, likelihoods, strict=True):
        row, n = seeing._processor.encode_pair(prompt, continuation)
        tokens = {
            name: torch.tensor([each]) for name, each in (("input_ids", row.tokens), *row.per_token.items())
        }
        mask = torch.ones_like(tokens["input_ids"])
        with torch.inference_mode():
            inputs = {**seeing._processor.pixels(prompt), **tokens, "attention_mask": mask}
            logits = seeing.module(**inputs).logits[0].double()
        start = len(row.tokens) - n
        logs = torch.log_softmax(logits[start - 1 : -1], dim=-1)
        total = logs.gather(-1, torch.tensor(row.tokens[start:])[:, None]).sum()
        assert likelihood == pytest.approx(float(total), rel=1e-5)


def test_weights_that_are_no_numbers_give_no_answers(seeing: LiveVisionLanguageModel) -> None:
    head = seeing.module.get_output_embeddings()
    assert isinstance(head, torch.nn.Linear)
    before = head.weight.detach().clone()
    head.weight.data[5] = torch.nan
    try:
        with pytest.raises(KingyoError, match="expected finite logits; received NaN"):
            seeing.write_about(questions(seeing), max_new_tokens=2)
    finally:
        head.weight.data.copy_(before)


def test_a_config_that_does_not_fit_the_processor_is_named(tmp_path: Path) -> None:
    folder = build("llava", tmp_path / "see")
    restate(folder, image_token_index=300)
    live = LiveVisionLanguageModel.load(folder, OPTIONS)
    for ask in (
        lambda: live.write_about(questions(live), max_new_tokens=2),
        lambda: live.log_likelihood_about([(each, "red") for each in questions(live)]),
    ):
        with pytest.raises(KingyoError, match=r"config\.json and weights that fit together.*image tokens"):
            ask()


def test_images_are_encoded_once_for_the_same_vision_part(seeing: LiveVisionLanguageModel) -> None:
    prompts = questions(seeing)
    seeing.write_about(prompts, max_new_tokens=1)
    before = seeing.n_encoded
    seeing.write_about(prompts, max_new_tokens=1)
    seeing.log_likelihood_about([(prompt, "a") for prompt in prompts])
    assert seeing.n_encoded == before
    vision = next(tensor for name, tensor in seeing.weights.items() if "vis" in name and len(tensor) > 1)
    stored = vision.clone()
    vision.copy_(stored.flip(0))  # the same numbers at other places
    seeing.write_about(prompts, max_new_tokens=1)
    vision.copy_(stored)
    assert seeing.n_encoded == before + len(prompts)


def test_features_from_a_file_give_the_same_numbers(
    seeing: LiveVisionLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [(prompt, "a red square") for prompt in questions(seeing)]
    seeing._features.kept.clear()
    in_memory = seeing.log_likelihood_about(pairs)
    n_bytes = seeing._features.kept.n_bytes
    assert n_bytes > 0
    monkeypatch.setattr(seeing._features, "kept", Cache(0, folder=tmp_path))
    assert seeing.log_likelihood_about(pairs) == in_memory
    assert seeing._features.kept.n_file_bytes >= n_bytes
    before = seeing.n_encoded
    assert seeing.log_likelihood_about(pairs) == in_memory
    assert seeing.write_about(questions(seeing), max_new_tokens=2)
    assert seeing.n_encoded == before


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_changed_vision_part_empties_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.setattr(image_features, "kept_bytes", lambda: 0)
    folder, scratch = build("llava", tmp_path / "m"), tmp_path / "scratch"
    scratch.mkdir()
    options = replace(OPTIONS, dtype=dtype)
    live = LiveVisionLanguageModel.load(folder, replace(options, scratch=scratch))
    without_file = LiveVisionLanguageModel.load(folder, options)
    pairs = [(prompt, "a red square") for prompt in questions(live)]
    for weight in (1.0, 1.5, 1.0):
        for each in (live, without_file):
            next(tensor for name, tensor in each.weights.items() if "vis" in name).mul_(weight)
        numbers = without_file.log_likelihood_about(pairs)
        assert live.log_likelihood_about(pairs) == numbers == live.log_likelihood_about(pairs)
    assert live.n_encoded == 2 * len(pairs)
    assert without_file.n_encoded == 3 * len(pairs)
    assert live._features.kept.n_file_bytes > 0


@pytest.mark.parametrize(
    ("family", "chat"),
    [
        pytest.param("llava", True, marks=pytest.mark.slow),
        pytest.param("llava", False, marks=pytest.mark.slow),
        pytest.param("qwen2_vl", False, marks=pytest.mark.slow),
    ],
)
def test_the_code_of_a_card_gives_the_same_answer(tmp_path: Path, family: str, chat: bool) -> None:
    folder = build(family, tmp_path / "m")
    (folder / MEDIA).mkdir()
    for image in IMAGES[:2]:
        (folder / MEDIA / image.name).write_bytes(image.read())
    item = Item(id="i", prompt="what is in the image?", answer="", media=tuple(IMAGES[:2]))
    decoding = Decoding(num_beams=2, repetition_penalty=1.2)
    options = {"chat": chat, "max_new_tokens": 5, "stop": (), **decoding._asdict()}
    code = MODEL_KINDS.get("image-text-to-text").usage(item, options)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    live = LiveVisionLanguageModel.load(folder, OPTIONS)
    prompt = live.image_prompt(item.prompt, item.media, chat=chat)
    assert done.stdout == f"{live.write_about([prompt], max_new_tokens=5, decoding=decoding)[0].text}\n"


def test_beams_count_in_the_memory_of_a_batch(tmp_path: Path) -> None:
    folder, kind = build("llava", tmp_path / "m"), MODEL_KINDS.get("image-text-to-text")
    items = [Item(id=str(n), prompt="what?", answer="", media=(image,)) for n, image in enumerate(IMAGES)]
    one, three = (
        kind.memory(
            folder,
            {},
            Workload(items=items, options=[{"chat": True, "num_beams": n}], batch_size=4, n_bytes=4),
        )
        for n in (1, 3)
    )
    assert one and one.bytes and three
    assert three.bytes == 3 * one.bytes and "with 3 beams" in three.what


def test_a_prompt_without_the_image_of_its_placeholder(tmp_path: Path) -> None:
    live = LiveVisionLanguageModel.load(build("llava", tmp_path / "m"), OPTIONS)
    with pytest.raises(KingyoError) as error:
        live.write_about([ImagePrompt("<image> <image> what?", tuple(IMAGES[:1]))], max_new_tokens=1)
    assert IMAGES[0].name in error.value.argument


def test_a_model_without_a_processor(tmp_path: Path) -> None:
    folder = build("llava", tmp_path / "m")
    for file in folder.glob("*processor*"):
        file.unlink()
    with pytest.raises(KingyoError) as error:
        LiveVisionLanguageModel.load(folder, OPTIONS)
    assert error.value.argument == str(folder)


def test_a_path_keeps_image_features(tmp_path: Path) -> None:
    see = LiveVisionLanguageModel.load(build("llava", tmp_path / "see"), OPTIONS)
    ja = LiveModel.load(build_text("llava", tmp_path / "ja", seed=1), OPTIONS)
    pairs = [(prompt, "a red mat") for prompt in questions(see)]
    own = see.log_likelihood_about(pairs)
    before = see.n_encoded
    paths = PathModels[LiveVisionLanguageModel | LiveModel]({"see": see, "ja": ja})
    paths.follow([Hop(model="see", layer=0), Hop(model="ja", layer=1)], "see")
    assert see.log_likelihood_about(pairs) != own
    paths.whole("see")
    assert see.log_likelihood_about(pairs) == own
    assert see.n_encoded == before
