"""Training a LoRA: results, reproducibility, and errors."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from kingyo.core.types import Example
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.checkpoints.lora import AdaptedCheckpoint
from kingyo.models.language_model import LiveModel
from kingyo.models.training import Course, Start, train_lora
from tests.models_on_disk import gpt2, llama

ANSWERS = {"Q: 1 + 1 A:": "2 。", "Q: 2 + 3 A:": "5 。", "Q: 7 A:": "the cat 。"}
WRITTEN = [Example(item=prompt, prompt=prompt, answer=answer) for prompt, answer in ANSWERS.items()]
COURSE = Course(steps=120, learning_rate=1e-2, batch_size=3)


def trained(model: Path, adapter: Path) -> LiveModel:
    live = LiveModel.load(model)
    checkpoint = open_checkpoint(f"{model}+{adapter}")
    assert isinstance(checkpoint, AdaptedCheckpoint)
    checkpoint.load_into(live.weights)
    return live


BUILT: dict[str, Callable[[Path], Path]] = {
    "llama": partial(llama, hidden=32),
    "gpt2": partial(gpt2, hidden=32),
}


@pytest.mark.parametrize("name", BUILT)
def test_answers_are_learned_including_their_end_and_kept_by_more_steps(name: str, tmp_path: Path) -> None:
    model = BUILT[name](tmp_path / "model")
    train_lora(Start(path=model), WRITTEN, COURSE, tmp_path / "lora")
    untouched = Course(steps=1, learning_rate=0.0)
    train_lora(Start(path=model, adapter=tmp_path / "lora"), WRITTEN, untouched, tmp_path / "further")
    for adapter in ("lora", "further"):
        answers = trained(model, tmp_path / adapter).generate(list(ANSWERS), max_new_tokens=8)
        assert [each.strip() for each in answers] == list(ANSWERS.values())


def test_the_same_course_gives_the_same_adapter_and_replaces_an_old_one(tmp_path: Path) -> None:
    steps: list[int] = []
    model = llama(tmp_path / "model")
    short = Course(steps=5, learning_rate=1e-3, seed=3, progress=steps.append)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "left-over").touch()
    for name in "ab":
        assert len(train_lora(Start(path=model), WRITTEN, short, tmp_path / name)) == 5
    one, other = (tmp_path / name / "adapter_model.safetensors" for name in "ab")
    assert one.read_bytes() == other.read_bytes()
    assert steps == [1, 2, 3, 4, 5] * 2
    assert not (tmp_path / "b" / "left-over").exists()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b", "model"]


def test_an_example_longer_than_the_context_is_refused(tmp_path: Path) -> None:
    long = Example(item="long", prompt="Q: " + "1 " * 70 + "A:", answer="2")
    with pytest.raises(KingyoError) as caught:
        train_lora(Start(path=llama(tmp_path / "model")), [long], COURSE, tmp_path / "lora")
    assert caught.value.argument.startswith("prompt 'Q: 1 1")
    assert not (tmp_path / "lora").exists()


def test_a_nonfinite_loss_is_refused(tmp_path: Path) -> None:
    wild = Course(steps=50, learning_rate=1e30)
    with pytest.raises(KingyoError) as caught:
        train_lora(Start(path=llama(tmp_path / "model")), WRITTEN, wild, tmp_path / "lora")
    assert "step" in caught.value.received
    assert not (tmp_path / "lora").exists()
