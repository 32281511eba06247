"""Live models with large random weights, so that greedy choices are far from ties."""

from pathlib import Path

import pytest
import torch

from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveModel
from kingyo.models.vision_language import LiveVisionLanguageModel
from tests.models.classifiers import picture
from tests.models.vision_families import EACH_FAMILY, build, lacks
from tests.models_on_disk import FAMILIES

torch.set_num_threads(1)  # threads slow down 16-wide matrices

# Each holds digits: of these words, the tokenizer that transformers gives to every Qwen2 knows nothing else.
PROMPTS = [
    "Q: 1 + 2 = ?",
    "the cat 1",
    "3",
    "Q: the cat is 7 A:",
    "猫 は 8 + 9 = ? A: the cat is 5 - 4",
    "the cat 1",
    "10 11 12 13 14 15 16 17 18 19",
]


IMAGES = [picture((40 * n, 200, 9), size=20 + 4 * n) for n in range(5)]


def fill(model: LiveModel, seed: int = 0) -> LiveModel:
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.weights.values():
        if tensor.dim() > 1:
            tensor.copy_(0.5 * torch.randn(tensor.shape, generator=generator))
    return model


@pytest.fixture(params=sorted(FAMILIES))
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return FAMILIES[request.param](tmp_path / "model")


@pytest.fixture
def live(checkpoint: Path) -> LiveModel:
    return fill(LiveModel.load(checkpoint, LoadOptions(batch_size=3)))


@pytest.fixture(scope="module", params=EACH_FAMILY)
def seeing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> LiveVisionLanguageModel:
    if missing := lacks(request.param):
        pytest.skip(f"needs {', '.join(missing)}")
    folder = build(request.param, tmp_path_factory.mktemp("models") / request.param)
    return LiveVisionLanguageModel.load(folder, LoadOptions(dtype="float32", batch_size=3))
