"""Classifier heads of equal shapes cannot be merged if their classes differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, fit, open_checkpoint
from tests.merging.checkpoints.architectures import build
from tests.merging.checkpoints.fitting import restate, rewrite

HEADS = {"classifier.weight", "classifier.bias"}
NAMES = ("cat", "dog", "fish")


def classifier(folder: Path, names: Sequence[str]) -> Checkpoint:
    build("vit", folder)
    rows = torch.randn(len(names), 16)

    def change(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**tensors, "classifier.weight": rows, "classifier.bias": rows[:, 0].clone()}

    labels = {str(place): name for place, name in enumerate(names)}
    return open_checkpoint(str(restate(rewrite(folder, change), id2label=labels)))


@pytest.mark.parametrize(
    "names", [("dog", "cat", "fish"), ("cat", "dog", "bird"), ("cat", "dog"), (*NAMES, "bird")]
)
@pytest.mark.parametrize("resize", [None, "pad-vocab"])
def test_heads_with_different_classes_are_refused(
    tmp_path: Path, names: Sequence[str], resize: str | None
) -> None:
    like, other = classifier(tmp_path / "like", NAMES), classifier(tmp_path / "other", names)
    with pytest.raises(KingyoError) as error:
        fit(like, [like, other], resize=resize)
    assert error.value.argument == "id2label in config.json" and other.reference in error.value.received
    assert "resize: base" in error.value.remedy


@pytest.mark.parametrize("names", [("dog", "cat", "fish"), (*NAMES, "bird")])
def test_resize_base_copies_the_head(tmp_path: Path, names: Sequence[str]) -> None:
    like, other = classifier(tmp_path / "like", NAMES), classifier(tmp_path / "other", names)
    fitted = fit(like, [other], resize="base")
    assert fitted.unmerged == HEADS
    assert torch.equal(fitted.models[other.reference].read("classifier.bias"), like.read("classifier.bias"))


def test_an_unmerged_head_may_have_different_classes(tmp_path: Path) -> None:
    like, other = classifier(tmp_path / "like", NAMES), classifier(tmp_path / "other", ("dog", "cat", "fish"))
    assert fit(like, [other], only=like.tensors.keys() - HEADS).unmerged == frozenset()


def test_unnamed_classes_count_as_equal(tmp_path: Path) -> None:
    like, other = (
        classifier(tmp_path / "like", NAMES),
        classifier(tmp_path / "other", ("LABEL_0", "LABEL_1", "LABEL_2")),
    )
    assert fit(like, [other]).unmerged == frozenset()


def test_classifier_rows_are_not_a_vocabulary(tmp_path: Path) -> None:
    like, other = (classifier(tmp_path / str(n), [f"LABEL_{i}" for i in range(n)]) for n in (3, 5))
    with pytest.raises(KingyoError, match=r"classifier\..*one shape") as error:
        fit(like, [other], resize="pad-vocab")
    assert "tokenizer" not in error.value.remedy
