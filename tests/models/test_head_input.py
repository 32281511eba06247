"""The head never gets a slice, for whose rows torch would copy the head's weights on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveModel
from kingyo.models.vision_language import LiveVisionLanguageModel
from tests.models.classifiers import picture
from tests.models.conftest import PROMPTS
from tests.models.vision_families import build

PAIRS = [(prompt, answer) for prompt in PROMPTS for answer in (" 3", " the cat is 7")]


def check(model: Any, ask: Callable[[], Any]) -> None:
    """Check that the head gets no slice, and that answers are those of the model of transformers alone."""
    head, given = model.module.get_output_embeddings(), list[bool]()
    head.register_forward_hook(lambda _, args, __: given.append(args[0].is_contiguous()))
    answers = ask()
    assert given and all(given)
    given.clear()
    head._forward_pre_hooks.clear()
    expected = ask()
    assert not all(given), "without the copy, the head gets a slice"
    assert answers == (pytest.approx(expected) if isinstance(answers[0], float) else expected)


def test_answers(live: LiveModel) -> None:
    check(live, lambda: live.write(PROMPTS, max_new_tokens=8))


def test_choices(live: LiveModel) -> None:
    check(live, lambda: live.log_likelihood(PAIRS))


@pytest.fixture(scope="module")
def sees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("PIL")
    return build("llava", tmp_path_factory.mktemp("models") / "llava")


def test_models_that_see(sees: Path) -> None:
    live = LiveVisionLanguageModel.load(sees, LoadOptions(dtype="float32", batch_size=3))
    images = [picture((40 * n, 200, 9), size=20 + 4 * n) for n in range(3)]
    prompts = [live.image_prompt("what is it?", [each], chat=True) for each in images]
    check(live, lambda: live.write_about(prompts, max_new_tokens=4))
