"""Vocabularies of different sizes are padded, truncated or copied from the base, or give one clear error."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import fit, open_checkpoint
from tests.merging.checkpoints.architectures import build
from tests.merging.checkpoints.fitting import EMBEDDING, HEAD, averaged, loaded, resized, restate, rewrite
from tests.models_on_disk import llama


def test_sizes_that_differ_are_an_error_with_both_shapes(tmp_path: Path) -> None:
    like = open_checkpoint(str(llama(tmp_path / "like")))
    wider = open_checkpoint(str(resized(llama(tmp_path / "wider"), 70)))
    with pytest.raises(KingyoError) as caught:
        fit(like, [wider])
    message = str(caught.value)
    assert "[64, 16]" in message and "[70, 16]" in message and "pad-vocab" in message
    assert "tokenizer_source: union" in message


@pytest.mark.parametrize("tied", [True, False])
def test_pad_vocab(tmp_path: Path, tied: bool) -> None:
    base = llama(tmp_path / "base", tied=tied)
    longer = resized(shutil.copytree(base, tmp_path / "longer"), 70)
    longest = resized(shutil.copytree(base, tmp_path / "longest"), 72, seed=5)
    opened = [open_checkpoint(str(each)) for each in (base, longer, longest)]
    fitted = fit(opened[0], opened[1:], resize="pad-vocab")
    models = list(fitted.models.values())
    assert fitted.like is models[0]
    names = [EMBEDDING] if tied else [EMBEDDING, HEAD]
    for name in names:
        stored = [model.read(name) for model in opened]
        tensors = [model.read(name) for model in models]
        assert all(model.tensors[name].shape == (72, 16) for model in models)
        assert all(each.shape == (72, 16) for each in tensors)
        assert torch.equal(tensors[0][:64], stored[0])
        assert torch.equal(tensors[0][64:70], stored[1][64:]), (
            "rows that the base lacks: from the first that has them"
        )
        assert torch.equal(tensors[0][70:], stored[2][70:])
        assert torch.equal(tensors[1], torch.cat([stored[1], stored[2][70:]]))
        assert torch.equal(tensors[2], stored[2])
    assert any("72" in warning for warning in fitted.warnings)
    model = loaded(averaged(fitted, tmp_path / "out"))
    assert model.config.vocab_size == 72


def test_truncate(tmp_path: Path) -> None:
    base = llama(tmp_path / "base")
    longer = resized(shutil.copytree(base, tmp_path / "longer"), 70)
    shorter = resized(shutil.copytree(base, tmp_path / "shorter"), 60)
    opened = [open_checkpoint(str(each)) for each in (base, longer, shorter)]
    fitted = fit(opened[0], opened[1:], resize="truncate")
    for model, stored in zip(fitted.models.values(), opened, strict=True):
        assert model.tensors[HEAD].shape == (60, 16)
        assert torch.equal(model.read(HEAD), stored.read(HEAD)[:60])
    assert any("60" in warning for warning in fitted.warnings)
    assert loaded(averaged(fitted, tmp_path / "out")).config.vocab_size == 60


def test_truncating_special_tokens_is_an_error(tmp_path: Path) -> None:
    base = restate(llama(tmp_path / "base"), eos_token_id=[1, 63])
    shorter = resized(shutil.copytree(base, tmp_path / "shorter"), 60)
    with pytest.raises(KingyoError, match=r"eos_token_id.*63"):
        fit(open_checkpoint(str(base)), [open_checkpoint(str(shorter))], resize="truncate")


def test_copying_from_the_base(tmp_path: Path) -> None:
    base = llama(tmp_path / "base")
    longer = resized(shutil.copytree(base, tmp_path / "longer"), 70)
    like, other = open_checkpoint(str(base)), open_checkpoint(str(longer))
    fitted = fit(like, [other], resize="base")
    assert fitted.unmerged == {HEAD, EMBEDDING}
    assert fitted.like is like
    assert torch.equal(fitted.models[other.reference].read(HEAD), like.read(HEAD))
    assert fitted.models[other.reference].tensors[HEAD].shape == (64, 16)


@pytest.mark.parametrize("resize", ["pad-vocab", "truncate"])
def test_only_vocabularies_are_resized(tmp_path: Path, resize: str) -> None:
    like = open_checkpoint(str(llama(tmp_path / "like")))
    wide = open_checkpoint(str(llama(tmp_path / "wide", hidden=32)))
    with pytest.raises(KingyoError, match=r"\[64, 16\].*\[64, 32\]"):
        fit(like, [wide], resize=resize)
    positions = shutil.copytree(build("gpt2", tmp_path / "gpt2"), tmp_path / "short")
    rewrite(
        positions,
        lambda all_: {**all_, "transformer.wpe.weight": all_["transformer.wpe.weight"][:32].clone()},
    )
    with pytest.raises(KingyoError, match=r"transformer\.wpe\.weight"):
        fit(open_checkpoint(str(tmp_path / "gpt2")), [open_checkpoint(str(positions))], resize=resize)


def test_a_language_part_with_more_tokens(tmp_path: Path) -> None:
    """LLaVA has rows for images that the language model lacks."""
    vlm = open_checkpoint(str(build("llava", tmp_path / "vlm")))
    plain = open_checkpoint(str(resized(build("llama", tmp_path / "plain"), 60)))
    only = vlm.layout.parts["language"]
    with pytest.raises(KingyoError, match=r"\[64, 16\].*\[60, 16\].*pad-vocab"):
        fit(vlm, [plain], only=only)
    tensors = fit(vlm, [plain], only=only, resize="pad-vocab").models[plain.reference].read
    name = "language_model.model.embed_tokens.weight"
    assert torch.equal(tensors(name), torch.cat([plain.read(EMBEDDING), vlm.read(name)[60:]]))
