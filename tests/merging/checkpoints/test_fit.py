"""Models that differ in names and parts are matched, or give one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, fit, open_checkpoint, select
from tests.merging.checkpoints.architectures import build
from tests.merging.checkpoints.fitting import HEAD
from tests.models_on_disk import llama


def test_a_plain_model_merges_into_the_language_part(tmp_path: Path) -> None:
    vlm = open_checkpoint(str(build("llava", tmp_path / "vlm")))
    plain = open_checkpoint(str(build("llama", tmp_path / "plain")))
    chosen = [name for name, what in select(vlm.layout, {"language": "merge"}).items() if what == "merge"]
    fitted = fit(vlm, [plain], only=chosen)
    other = fitted.models[plain.reference]
    assert set(other.tensors) == set(chosen)
    pairs = {"language_model.model.norm.weight": "model.norm.weight", "language_model.lm_head.weight": HEAD}
    for name, other_name in pairs.items():
        assert torch.equal(other.read(name), plain.read(other_name))
    with pytest.raises(KingyoError, match="one of its tensors"):
        other.read("model.norm.weight")


@pytest.mark.parametrize(
    ("parts", "merged"),
    [
        ({}, {"language"}),
        ({"vision": "other"}, {"language"}),
        ({"projector": "merge"}, {"projector"}),
        ({"language": "merge", "vision": "merge"}, {"language", "vision"}),
        ({"language": "other"}, set[str]()),
    ],
)
def test_parts_that_are_not_named_are_those_of_the_frame(
    tmp_path: Path, parts: dict[str, str], merged: set[str]
) -> None:
    layout = open_checkpoint(str(build("llava", tmp_path / "vlm"))).layout
    uses = select(layout, parts, "frame")
    assert {layout.part(name) for name, use in uses.items() if use == "merge"} == merged
    others = {use for name, use in uses.items() if layout.part(name) not in merged | parts.keys()}
    assert others <= {"frame"}
    assert (
        uses["language_model.lm_head.weight"] == uses["language_model.model.embed_tokens.weight"] == "frame"
    )


@pytest.mark.parametrize(
    ("eye", "text"),
    [
        ("llava", "llama"),
        ("gemma3", "gemma3_text"),
        ("qwen3_vl", "qwen3"),
        ("idefics3", "llama"),
    ],
)
def test_language_models_match_with_any_prefix(tmp_path: Path, eye: str, text: str) -> None:
    vlm = open_checkpoint(str(build(eye, tmp_path / eye)))
    plain = open_checkpoint(str(build(text, tmp_path / text)))
    only = vlm.layout.parts["language"]
    other = fit(vlm, [plain], only=only).models[plain.reference]
    used = [other.read(name) for name in only]
    assert len(other.tensors) == len(only)
    assert sum(each.numel() for each in used) >= plain.n_parameters
    # and the reverse: the language part of a VLM into a language model
    back = fit(plain, [vlm]).models[vlm.reference]
    assert set(plain.tensors) <= set(back.tensors)


def test_models_that_do_not_match_are_one_clear_error(tmp_path: Path) -> None:
    vlm = open_checkpoint(str(build("llava", tmp_path / "vlm")))
    gpt2 = open_checkpoint(str(build("gpt2", tmp_path / "gpt2")))
    deep = open_checkpoint(str(llama(tmp_path / "deep", layers=4)))
    only = vlm.layout.parts["language"]
    with pytest.raises(KingyoError, match="models with the same tensors"):
        fit(vlm, [gpt2], only=only)
    with pytest.raises(KingyoError, match=r"'model\.layers\.3\.\S+' in .*deep but not in .*vlm"):
        fit(vlm, [deep], only=only)
    with pytest.raises(KingyoError, match="models with the same tensors"):
        fit(vlm, [deep])


def test_models_that_fit_are_unchanged(tmp_path: Path) -> None:
    like, other = (open_checkpoint(str(llama(tmp_path / name, seed=i))) for i, name in enumerate("ab"))
    fitted = fit(like, [other, like])
    assert fitted.like is like
    assert fitted.models == {like.reference: like, other.reference: other}
    assert isinstance(fitted.models[other.reference], Checkpoint)
