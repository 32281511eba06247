"""Heads that are tied in one model alone, and tensors of other sizes: padded, cut, copied or refused."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, fit, open_checkpoint
from tests.merging.checkpoints.architectures import build
from tests.merging.checkpoints.fitting import EMBEDDING, HEAD, averaged, loaded, resized, restate, rewrite
from tests.models_on_disk import llama


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
        assert torch.equal(tensors[0][64:70], stored[1][64:])  # from the first that has them
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
    with pytest.raises(KingyoError, match=r"\[64, 16\].*\[60, 16\].*tokenizer_source: union.*pad-vocab"):
        fit(vlm, [plain], only=only)
    tensors = fit(vlm, [plain], only=only, resize="pad-vocab").models[plain.reference].read
    name = "language_model.model.embed_tokens.weight"
    assert torch.equal(tensors(name), torch.cat([plain.read(EMBEDDING), vlm.read(name)[60:]]))


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
def test_a_head_of_other_classes_may_stay_that_of_the_base(tmp_path: Path, names: Sequence[str]) -> None:
    like, other = classifier(tmp_path / "like", NAMES), classifier(tmp_path / "other", names)
    fitted = fit(like, [other], resize="base")
    assert fitted.unmerged == HEADS
    assert torch.equal(fitted.models[other.reference].read("classifier.bias"), like.read("classifier.bias"))
    assert fit(like, [other], only=like.tensors.keys() - HEADS).unmerged == frozenset()


def test_unnamed_classes_count_as_equal(tmp_path: Path) -> None:
    unnamed = classifier(tmp_path / "other", [f"LABEL_{i}" for i in range(3)])
    assert fit(classifier(tmp_path / "like", NAMES), [unnamed]).unmerged == frozenset()


def test_classifier_rows_are_not_a_vocabulary(tmp_path: Path) -> None:
    like, other = (classifier(tmp_path / str(n), [f"LABEL_{i}" for i in range(n)]) for n in (3, 5))
    with pytest.raises(KingyoError, match=r"classifier\..*one shape") as error:
        fit(like, [other], resize="pad-vocab")
    assert "tokenizer" not in error.value.remedy
