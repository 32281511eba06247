"""Heads that are tied in one model but not in another, or stored although they are tied."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import fit, open_checkpoint
from tests.merging.checkpoints.architectures import build
from tests.merging.checkpoints.fitting import EMBEDDING, HEAD, averaged, loaded, restate, rewrite
from tests.models_on_disk import fine_tuned, llama, qwen2


def test_tied_models_stay_tied(tmp_path: Path) -> None:
    base = qwen2(tmp_path / "base")
    sources = [fine_tuned(base, tmp_path / f"s{i}", seed=i + 1) for i in range(2)]
    fitted = fit(open_checkpoint(str(base)), [open_checkpoint(str(each)) for each in sources])
    assert HEAD not in fitted.like.tensors and not fitted.warnings
    model = loaded(averaged(fitted, tmp_path / "out"))
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("tied_first", [True, False])
def test_a_tied_and_an_untied_model_give_an_untied_one(tmp_path: Path, tied_first: bool) -> None:
    tied = llama(tmp_path / "tied", tied=True)
    untied = restate(shutil.copytree(tied, tmp_path / "untied"), tie_word_embeddings=False)
    own_head = torch.randn(64, 16)
    rewrite(untied, lambda tensors: {**tensors, HEAD: own_head})
    order = (tied, untied) if tied_first else (untied, tied)
    like, other = (open_checkpoint(str(each)) for each in order)
    fitted = fit(like, [other])
    assert (
        HEAD in fitted.like.tensors
        and fitted.like.tensors.keys() == fitted.models[other.reference].tensors.keys()
    )
    assert any("untied" in warning for warning in fitted.warnings)
    model = loaded(averaged(fitted, tmp_path / "out"))
    embedding = load_file(tied / "model.safetensors")[EMBEDDING]
    assert model.config.tie_word_embeddings is False
    assert torch.equal(model.lm_head.weight, (embedding + own_head) / 2)
    assert torch.equal(model.model.embed_tokens.weight, embedding)


def test_a_tie_that_affects_other_keys_is_kept(tmp_path: Path) -> None:
    """A tied T5 scales its last hidden states, so untying it would change the model."""
    tied = restate(build("t5", tmp_path / "tied"), scale_decoder_outputs=None)  # the format of transformers 4
    untied = restate(shutil.copytree(tied, tmp_path / "untied"), tie_word_embeddings=False)
    rewrite(untied, lambda tensors: {**tensors, HEAD: torch.randn(64, 16)})
    with pytest.raises(KingyoError, match=r"tie_word_embeddings.*would change scale_decoder_outputs"):
        fit(open_checkpoint(str(tied)), [open_checkpoint(str(untied))])


def test_the_head_of_a_tied_model_is_its_embedding(tmp_path: Path) -> None:
    tied = open_checkpoint(str(llama(tmp_path / "tied", tied=True)))
    assert tied.home(HEAD) == EMBEDDING
    assert torch.equal(tied.read(HEAD), tied.read(EMBEDDING))
    silent = restate(build("gpt2", tmp_path / "gpt2"), tie_word_embeddings=None)  # transformers ties GPT-2
    assert open_checkpoint(str(silent)).home(HEAD) == "transformer.wte.weight"
    plain = restate(llama(tmp_path / "plain"), tie_word_embeddings=None)  # but not Llama
    rewrite(plain, lambda tensors: {name: each for name, each in tensors.items() if name != HEAD})
    assert open_checkpoint(str(plain)).home(HEAD) is None


COPIES: dict[str, tuple[str, ...]] = {
    "t5": ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"),
    "bart": ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight"),
    "bert": ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias"),
    "gemma3": ("language_model.lm_head.weight",),
    "whisper": ("proj_out.weight",),
    "gpt2": ("lm_head.weight",),
}
ORIGINALS = {
    "t5": "shared.weight",
    "bart": "model.shared.weight",
    "bert": "bert.embeddings.word_embeddings.weight",
    "gemma3": "language_model.model.embed_tokens.weight",
    "whisper": "model.decoder.embed_tokens.weight",
    "gpt2": "transformer.wte.weight",
}


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("name", COPIES)
def test_stored_copies_are_merged_once(tmp_path: Path, name: str, silent: bool) -> None:
    plain = build(name, tmp_path / "plain")
    copied = shutil.copytree(plain, tmp_path / "copied")
    original = ORIGINALS[name]

    def copy(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        for each in COPIES[name]:
            source = "cls.predictions.bias" if each.endswith("bias") else original
            tensors[each] = tensors[source].clone()
        return tensors

    rewrite(copied, copy)
    if silent:
        restate(copied, tie_word_embeddings=None)
    like, other = open_checkpoint(str(plain)), open_checkpoint(str(copied))
    assert other.tensors.keys() == like.tensors.keys()
    assert set(other.copies) == set(COPIES[name])
    for each in COPIES[name]:
        assert torch.equal(other.read(each), like.read(each))
    for order in ((like, other), (other, like)):
        fitted = fit(order[0], [order[1]])
        assert fitted.like.tensors.keys() == like.tensors.keys()
    loaded(averaged(fitted, tmp_path / "out"))


def test_an_untied_text_model_unties_the_language_part(tmp_path: Path) -> None:
    vlm_folder, plain_folder = build("gemma3", tmp_path / "vlm"), build("gemma3_text", tmp_path / "plain")
    restate(plain_folder, tie_word_embeddings=False)
    rewrite(plain_folder, lambda all_: {**all_, HEAD: torch.randn(64, 16)})
    vlm, plain = open_checkpoint(str(vlm_folder)), open_checkpoint(str(plain_folder))
    fitted = fit(vlm, [plain], only=vlm.layout.parts["language"])
    head = next(name for name in fitted.like.tensors if name.endswith(HEAD))
    models = [fitted.like, fitted.models[plain.reference]]
    expected = torch.stack([model.read(head) for model in models]).mean(0)
    tensors = {name: fitted.like.read(name).clone() for name in fitted.like.tensors} | {head: expected}
    out = tmp_path / "out"
    out.mkdir()
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(dict(fitted.like.config)))
    assert torch.equal(loaded(out).lm_head.weight, expected)
