"""Hidden states of language parts about images, compared with those of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kingyo.core.types import ImagePrompt
from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveModel
from kingyo.models.layers import ImageLayerStates
from kingyo.models.vision_language import LiveVisionLanguageModel
from tests.models.classifiers import picture
from tests.models.vision_families import EACH_FAMILY, build, build_text, lacks

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def load(family: str, folder: Path) -> tuple[LiveVisionLanguageModel, LiveModel]:
    see = LiveVisionLanguageModel.load(build(family, folder / "see", seed=1), LoadOptions(batch_size=2))
    return see, LiveModel.load(build_text(family, folder / "ja", seed=2))


def questions(see: LiveVisionLanguageModel, n_texts: int = 1) -> list[ImagePrompt]:
    """Return prompts with one image and with two, and texts without."""
    images = [picture((200, 30, 90), size=30), picture((0, 90, 200), size=20)]
    about = [see.image_prompt("what is it?", images[:n], chat=True) for n in (1, 2)]
    return [*about, *[ImagePrompt("the cat is on the mat")] * n_texts]


def collect(streams: ImageLayerStates, prompts: list[ImagePrompt]) -> Tensor:
    return torch.cat(list(streams(prompts)), dim=1)


@torch.inference_mode()
def states_of(see: LiveVisionLanguageModel, prompts: list[ImagePrompt]) -> Tensor:
    """Return transformers' hidden states of single prompts, the longest first; the last is normalised."""
    rows = sorted(see.encode(prompts), key=lambda row: -len(row.tokens))
    states: list[Tensor] = []
    for row in rows:
        ((_, inputs),) = see.batches([row])
        model: Any = see.module
        out = model(**inputs, use_cache=False, output_hidden_states=True)
        states.append(torch.stack([each[0, 1:].double() for each in out.hidden_states]))
    return torch.cat(states, dim=1)


@pytest.mark.parametrize("family", EACH_FAMILY)
def test_streams_are_the_hidden_states_of_each_prompt_alone(family: str, tmp_path: Path) -> None:
    if missing := lacks(family):
        pytest.skip(f"the processor of {family} needs {', '.join(missing)}")
    see, ja = load(family, tmp_path)
    prompts = questions(see, n_texts=0 if family == "paligemma" else 1)  # it reads no text alone
    expected, answers = states_of(see, prompts), see.write_about(prompts, max_new_tokens=3)
    streams = ImageLayerStates({"ja": ja, "see": see}, "see")
    places = streams.n_layers["see"] + 1
    hidden = collect(streams, prompts)
    assert hidden.shape == (streams.n_layers["ja"] + 1 + places, *expected.shape[1:])
    own = hidden[-places:]
    comparable = slice(1) if family == "qwen3_vl" else slice(-1)  # it adds features between layers
    assert float((own - expected)[comparable].abs().max() / expected.abs().max()) < 1e-5
    assert torch.equal(hidden[0], own[0]), "the language model reads the embeddings of the frame"
    assert float((hidden[places - 1] - own[-1]).abs().max()) > 0.01
    assert see.write_about(prompts, max_new_tokens=3) == answers, "the frame has its own layers again"
