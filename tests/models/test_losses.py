"""Losses of live models: their derivatives by weights equal finite differences."""

# pyright: reportPrivateUsage=false

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest
import torch
from torch import Tensor, nn

from kingyo.core.types import Example, HasGradients, ImagePrompt
from kingyo.models.kinds import MODEL_KINDS, LoadOptions
from kingyo.models.training import parts
from kingyo.models.vision_language import LiveVisionLanguageModel
from tests.models.classifiers import vit
from tests.models.conftest import IMAGES


class HasWeights(HasGradients, Protocol):
    weights: Mapping[str, Tensor]


def derivatives_of(
    live: HasGradients, names: Collection[str], examples: Sequence[Example]
) -> tuple[float, dict[str, Tensor]]:
    found: dict[str, Tensor] = {}

    def take(name: str, gradient: Tensor) -> None:
        found[name] = found[name] + gradient if name in found else gradient

    return live.loss_gradients(examples, names, take), found


def require_derivatives(live: HasWeights, names: Collection[str], examples: Sequence[Example]) -> None:
    """Compare the derivative in a direction that changes all entries with a central difference."""
    _, gradients = derivatives_of(live, names, examples)
    generator = torch.Generator().manual_seed(0)
    weights = {name: live.weights[name] for name in sorted(names)}
    steps = {
        name: 1e-5 * torch.rand(each.shape, generator=generator) * gradients.get(name, torch.ones(())).sign()
        for name, each in weights.items()
    }
    before = {name: each.detach().clone() for name, each in weights.items()}
    ends: list[float] = []
    for sign in (1, -1):
        for name, weight in weights.items():
            weight.copy_(before[name] + sign * steps[name])
        ends.append(derivatives_of(live, [], examples)[0])
    for name, weight in weights.items():
        weight.copy_(before[name])
    expected = sum(float((gradient * steps[name]).sum()) for name, gradient in gradients.items())
    assert expected > 0
    assert expected == pytest.approx((ends[0] - ends[1]) / 2, rel=1e-3)
    assert not any(each.requires_grad for each in weights.values())


@pytest.fixture(scope="module")
def live(seeing: LiveVisionLanguageModel) -> LiveVisionLanguageModel:
    nn.Module.double(seeing.module)
    return seeing


def example(live: LiveVisionLanguageModel, n: int, answer: str, *others: str) -> Example:
    prompt = live.image_prompt("what is in the image?", IMAGES[n : n + 2], chat=True)
    return Example(item=str(n), prompt=prompt.text, images=prompt.images, answer=answer, others=others)


def test_vision_language_models_have_gradients(live: LiveVisionLanguageModel) -> None:
    examples = [
        example(live, 0, "a red square"),
        example(live, 3, "a blue circle on the mat"),
        example(live, 1, "red", "blue", "the cat"),
    ]
    if live.module.config.model_type != "paligemma":  # its processor reads no text without an image
        examples.append(Example(item="t", prompt=live.chat_prompt("what is red?"), answer="the mat"))
    inside = {id(each) for each in live._features._vision}
    vision = {name for name, each in live.weights.items() if id(each) in inside}
    live.write_about([ImagePrompt(examples[0].prompt, examples[0].images)], max_new_tokens=1)
    require_derivatives(live, vision, examples)
    require_derivatives(live, live.weights.keys() - vision, examples)
    before = live.n_encoded
    derivatives_of(live, live.weights.keys() - vision, examples)
    assert live.n_encoded == before, "features are kept while the vision part needs no gradients"


def test_parts_add_up_to_the_batch(live: LiveVisionLanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [example(live, n, "a red square", *others) for n, others in enumerate([(), ("blue",), ()])]
    whole, expected = derivatives_of(live, live.weights, examples)
    monkeypatch.setattr("kingyo.models.language_model.tokens_at_once", lambda _: 1)
    loss, found = derivatives_of(live, live.weights, examples)
    assert loss == pytest.approx(whole, rel=1e-6)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        assert torch.allclose(gradient, expected[name], rtol=1e-5, atol=1e-9)


def test_rows_are_split_by_their_padded_tokens() -> None:
    assert list(parts([3, 3, 2, 9, 1, 1], 6)) == [slice(0, 2), slice(2, 3), slice(3, 4), slice(4, 6)]
    assert list(parts([], 6)) == []


def test_the_loss_is_the_likelihood_that_scoring_measures(live: LiveVisionLanguageModel) -> None:
    first, other = example(live, 0, "red", "blue"), example(live, 3, "the mat", "a circle")
    likelihoods = [
        live.log_likelihood_about([(ImagePrompt(each.prompt, each.images), text)])[0]
        for each in (first, other)
        for text in (each.answer, *each.others)
    ]
    chosen = torch.tensor(likelihoods).double().view(2, 2).log_softmax(dim=1)[:, 0]
    loss, _ = derivatives_of(live, [], [first, other])
    assert loss == pytest.approx(-float(chosen.mean()), rel=1e-5)


def test_the_prompt_of_an_answer_has_the_tokens_of_scoring(live: LiveVisionLanguageModel) -> None:
    for chat in (True, False):
        prompt = live.image_prompt("what is in the image? ", IMAGES[:1], chat=chat)
        head, (row, n) = live._processor.encode(prompt), live._processor.encode_answer(prompt, "a red square")
        assert list(row.tokens[:-n]) == list(head.tokens)
        assert row.tokens[-1] == live._processor.text.end
        assert {len(each) for each in row.per_token.values()} <= {len(row.tokens)}


def test_image_classifiers_have_gradients(tmp_path: Path) -> None:
    live = MODEL_KINDS.get("image-classification").load(vit(tmp_path / "m"), LoadOptions(dtype="float32"))
    nn.Module.double(live._model)  # type: ignore[attr-defined]
    rates = torch.tensor(live.rate_classes(IMAGES[:2]))  # type: ignore[attr-defined]
    examples = [
        Example(item="0", prompt="", images=(IMAGES[0],), answer="2", others=("0", "1")),
        Example(item="1", prompt="", images=(IMAGES[1],), answer="0", others=("2",)),
    ]
    require_derivatives(live, live.weights.keys(), examples)  # type: ignore[arg-type]
    loss, derivatives = derivatives_of(live, ["classifier.weight"], examples)  # type: ignore[arg-type]
    right = [rates[0].log_softmax(0)[2], rates[1][[0, 2]].log_softmax(0)[0]]
    assert loss == pytest.approx(-float(sum(right)) / 2, rel=1e-5)
    assert list(derivatives) == ["classifier.weight"]
