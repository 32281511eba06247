"""Models that differ in names, sizes and ties: read as one family, or one clear error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from kingyo.checkpoints import Checkpoint, Fit, check_fit, fit, open_checkpoint, select
from kingyo.errors import KingyoError
from tests.checkpoints.architectures import build
from tests.models_on_disk import fine_tuned, llama, qwen2

Change = Callable[[dict[str, Tensor]], object]
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], Mapping[str, Tensor]]) -> Path:
    file = folder / "model.safetensors"
    save_file(dict(change(load_file(file))), file, metadata={"format": "pt"})
    return folder


def restate(folder: Path, **keys: Any) -> Path:
    config = json.loads((folder / "config.json").read_text())
    changed = {key: value for key, value in {**config, **keys}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(changed))
    return folder


def resized(folder: Path, rows: int, *, seed: int = 9) -> Path:
    """Give a model of transformers another vocabulary: new rows are random."""
    generator = torch.Generator().manual_seed(seed)

    def change(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        for name in (HEAD, EMBEDDING):
            if name in tensors:
                new = torch.randn(max(0, rows - len(tensors[name])), 16, generator=generator)
                tensors[name] = torch.cat([tensors[name], new])[:rows].contiguous()
        return tensors

    return restate(rewrite(folder, change), vocab_size=rows)


def averaged(fitted: Fit, folder: Path) -> Path:
    """The plain mean of all models, written as a merge writes it."""
    models = list(fitted.models.values())
    tensors = {
        name: torch.stack([model.read(name).float() for model in models]).mean(0)
        for name in fitted.like.tensors
    }
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(dict(fitted.like.config)))
    return folder


def loaded(folder: Path) -> Any:
    """The model as transformers loads it: complete, without a tensor too much."""
    architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
    model, told = getattr(transformers, architecture).from_pretrained(folder, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"] and not told["mismatched_keys"]
    return model.eval()


# Ties


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


def test_an_untied_model_without_a_head_is_an_error(tmp_path: Path) -> None:
    whole = llama(tmp_path / "whole")
    headless = shutil.copytree(whole, tmp_path / "headless")
    rewrite(headless, lambda tensors: {name: each for name, each in tensors.items() if name != HEAD})
    with pytest.raises(KingyoError, match=r"'lm_head\.weight' in .*whole but not in .*headless"):
        fit(open_checkpoint(str(whole)), [open_checkpoint(str(headless))])
    with pytest.raises(KingyoError, match="one of its tensors"):
        open_checkpoint(str(headless)).read(HEAD)


def test_a_tie_that_means_more_than_a_tie_stays(tmp_path: Path) -> None:
    """T5 scales its last states when tied: untied, it would be another model."""
    tied = restate(build("t5", tmp_path / "tied"), scale_decoder_outputs=None)  # as transformers 4 wrote it
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
    plain = restate(llama(tmp_path / "plain"), tie_word_embeddings=None)  # and does not tie Llama
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


# Sizes


def test_sizes_that_differ_are_an_error_with_both_shapes(tmp_path: Path) -> None:
    like = open_checkpoint(str(llama(tmp_path / "like")))
    wider = open_checkpoint(str(resized(llama(tmp_path / "wider"), 70)))
    with pytest.raises(KingyoError) as caught:
        fit(like, [wider])
    message = str(caught.value)
    assert "[64, 16]" in message and "[70, 16]" in message and "pad-vocab" in message


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
        read = [model.read(name) for model in models]
        assert all(model.tensors[name].shape == (72, 16) for model in models)
        assert all(each.shape == (72, 16) for each in read)
        assert torch.equal(read[0][:64], stored[0])
        assert torch.equal(read[0][64:70], stored[1][64:]), (
            "rows that the base lacks: from the first that has them"
        )
        assert torch.equal(read[0][70:], stored[2][70:])
        assert torch.equal(read[1], torch.cat([stored[1], stored[2][70:]]))
        assert torch.equal(read[2], stored[2])
    assert any("72" in warning for warning in fitted.warnings)
    model = loaded(averaged(fitted, tmp_path / "out"))
    assert model.config.vocab_size == 72


def test_rows_that_a_source_lacks_are_the_bases(tmp_path: Path) -> None:
    source = llama(tmp_path / "source")
    base = resized(shutil.copytree(source, tmp_path / "base"), 66)
    like, other = open_checkpoint(str(base)), open_checkpoint(str(source))
    read = fit(like, [other], resize="pad-vocab").models[other.reference].read(HEAD)
    assert torch.equal(read[64:], like.read(HEAD)[64:])
    assert torch.equal(read[:64], other.read(HEAD))


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


def test_taking_from_the_base(tmp_path: Path) -> None:
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


def test_unknown_ways_to_resize_are_errors(tmp_path: Path) -> None:
    like = open_checkpoint(str(llama(tmp_path / "like")))
    with pytest.raises(KingyoError, match="Did you mean 'pad-vocab'"):
        fit(like, [like], resize="pad_vocab")


# What weights of the same shapes mean

BREAKING: dict[str, dict[str, Any]] = {
    "num_attention_heads": {"num_attention_heads": 2},
    "num_key_value_heads": {"num_key_value_heads": 1},
    "head_dim": {"head_dim": 8},
    "hidden_act": {"hidden_act": "gelu"},
    "model_type": {"model_type": "mistral"},
}
NOTED: dict[str, dict[str, Any]] = {
    "rope_theta": {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
    "rope_type": {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
    "rms_norm_eps": {"rms_norm_eps": 1e-3},
    "sliding_window": {"sliding_window": 8},
    "logit_scale": {"logit_scale": 2.0},
}
HARMLESS: dict[str, Any] = {
    "torch_dtype": "bfloat16",
    "transformers_version": "4.40.0",
    "use_cache": False,
    "eos_token_id": 5,
    "initializer_range": 0.5,
    "attention_dropout": 0.1,
    "max_position_embeddings": 128,
    "_name_or_path": "a/b",
}


@pytest.mark.parametrize("key", BREAKING)
def test_what_breaks_a_merge_is_an_error(tmp_path: Path, key: str) -> None:
    like = open_checkpoint(str(llama(tmp_path / "like")))
    other = open_checkpoint(str(restate(llama(tmp_path / "other"), **BREAKING[key])))
    for check in (lambda: fit(like, [other]), lambda: check_fit(like, other)):
        with pytest.raises(KingyoError, match=f"{key} in config.json"):
            check()


def test_classes_of_diffusers_must_be_the_same(tmp_path: Path) -> None:
    like, other = (
        open_checkpoint(str(restate(llama(tmp_path / name), _class_name=name, _other=name))) for name in "ab"
    )
    with pytest.raises(KingyoError, match=r"_class_name in config\.json: expected 'a'"):
        fit(like, [other])


def test_parts_that_are_not_merged_may_differ(tmp_path: Path) -> None:
    like = open_checkpoint(str(build("llava", tmp_path / "like")))
    folder = shutil.copytree(tmp_path / "like", tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    restate(folder, vision_config={**config["vision_config"], "num_attention_heads": 2})
    other = open_checkpoint(str(folder))
    with pytest.raises(KingyoError, match=r"vision_config\.num_attention_heads"):
        fit(like, [other])
    assert fit(like, [other], only=like.layout.parts["language"]).warnings == ()


def test_labels_are_no_tokens(tmp_path: Path) -> None:
    two = build("bert", tmp_path / "two")
    three = shutil.copytree(two, tmp_path / "three")
    rewrite(two, lambda all_: {**all_, "classifier.weight": torch.ones(2, 16)})
    rewrite(three, lambda all_: {**all_, "classifier.weight": torch.ones(3, 16)})
    with pytest.raises(KingyoError, match=r"classifier\.weight: .*\[2, 16\].*\[3, 16\]"):
        fit(open_checkpoint(str(two)), [open_checkpoint(str(three))], resize="pad-vocab")


def test_biases_of_a_head_are_resized_with_it(tmp_path: Path) -> None:
    short = build("bert", tmp_path / "short")
    long = shutil.copytree(short, tmp_path / "long")
    names = ("bert.embeddings.word_embeddings.weight", "cls.predictions.bias")
    longer = {
        name: torch.randn(70, *load_file(short / "model.safetensors")[name].shape[1:]) for name in names
    }
    restate(rewrite(long, lambda all_: all_ | longer), vocab_size=70)
    fitted = fit(open_checkpoint(str(short)), [open_checkpoint(str(long))], resize="pad-vocab")
    assert all(fitted.like.tensors[name].shape[0] == 70 for name in names)
    assert torch.equal(fitted.like.read(names[1])[64:], longer[names[1]][64:])
    assert loaded(averaged(fitted, tmp_path / "out")).config.vocab_size == 70


@pytest.mark.parametrize("key", NOTED)
def test_what_bends_a_merge_is_noted(tmp_path: Path, key: str) -> None:
    like = open_checkpoint(str(llama(tmp_path / "like")))
    other = open_checkpoint(str(restate(llama(tmp_path / "other"), **NOTED[key])))
    assert any(key in warning for warning in fit(like, [other]).warnings)


def test_what_does_not_matter_is_not_noted(tmp_path: Path) -> None:
    like = open_checkpoint(str(llama(tmp_path / "like")))
    other = open_checkpoint(str(restate(llama(tmp_path / "other"), **HARMLESS)))
    assert fit(like, [other]).warnings == ()


def test_defaults_count_as_stated(tmp_path: Path) -> None:
    """A config of transformers 4 that leaves out what it takes for granted, beside one of transformers 5."""
    like = open_checkpoint(str(llama(tmp_path / "like")))
    old = restate(
        llama(tmp_path / "old"),
        head_dim=None,
        rope_parameters=None,
        rope_theta=10000.0,
        attention_bias=None,
        hidden_act=None,
        mlp_bias=None,
    )
    assert fit(like, [open_checkpoint(str(old))]).warnings == ()
    other = restate(shutil.copytree(old, tmp_path / "other"), rope_theta=5e5)
    assert any("rope_theta" in warning for warning in fit(like, [open_checkpoint(str(other))]).warnings)


# Names and parts


def test_a_plain_model_merges_into_the_language_part(tmp_path: Path) -> None:
    vlm = open_checkpoint(str(build("llava", tmp_path / "vlm")))
    plain = open_checkpoint(str(build("llama", tmp_path / "plain")))
    chosen = [name for name, what in select(vlm.layout, {"language": "merge"}).items() if what == "merge"]
    fitted = fit(vlm, [plain], only=chosen)
    other = fitted.models[plain.reference]
    assert set(other.tensors) == set(chosen)
    pairs = {"language_model.model.norm.weight": "model.norm.weight", "language_model.lm_head.weight": HEAD}
    for mine, yours in pairs.items():
        assert torch.equal(other.read(mine), plain.read(yours))
    with pytest.raises(KingyoError, match="one of its tensors"):
        other.read("model.norm.weight")


@pytest.mark.parametrize(
    ("eye", "text"),
    [
        ("llava", "llama"),
        ("gemma3", "gemma3_text"),
        ("qwen2_vl", "qwen2"),
        ("qwen3_vl", "qwen3"),
        ("idefics3", "llama"),
    ],
)
def test_language_models_match_whatever_the_prefix(tmp_path: Path, eye: str, text: str) -> None:
    vlm = open_checkpoint(str(build(eye, tmp_path / eye)))
    plain = open_checkpoint(str(build(text, tmp_path / text)))
    only = vlm.layout.parts["language"]
    other = fit(vlm, [plain], only=only).models[plain.reference]
    used = [other.read(name) for name in only]
    assert len(other.tensors) == len(only)
    assert sum(each.numel() for each in used) >= plain.n_parameters
    # and the other way round: the language part of a VLM into a plain model
    back = fit(plain, [vlm]).models[vlm.reference]
    assert set(plain.tensors) <= set(back.tensors)


@pytest.mark.parametrize("eye", ["llava", "qwen3_vl", "gemma3"])
def test_an_untied_text_model_unties_the_language_part(tmp_path: Path, eye: str) -> None:
    text = {"llava": "llama", "qwen3_vl": "qwen3", "gemma3": "gemma3_text"}[eye]
    vlm_folder, plain_folder = build(eye, tmp_path / "vlm"), build(text, tmp_path / "plain")
    config = json.loads((vlm_folder / "config.json").read_text())
    tied_text = {**config["text_config"], "tie_word_embeddings": True}
    restate(vlm_folder, tie_word_embeddings=True, text_config=tied_text)
    rewrite(vlm_folder, lambda all_: {name: each for name, each in all_.items() if "lm_head" not in name})
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


def test_a_language_part_with_more_tokens(tmp_path: Path) -> None:
    """As LLaVA has: rows for images that the plain model lacks."""
    vlm = open_checkpoint(str(build("llava", tmp_path / "vlm")))
    plain = open_checkpoint(str(resized(build("llama", tmp_path / "plain"), 60)))
    only = vlm.layout.parts["language"]
    with pytest.raises(KingyoError, match=r"\[64, 16\].*\[60, 16\].*pad-vocab"):
        fit(vlm, [plain], only=only)
    read = fit(vlm, [plain], only=only, resize="pad-vocab").models[plain.reference].read
    name = "language_model.model.embed_tokens.weight"
    assert torch.equal(read(name), torch.cat([plain.read(EMBEDDING), vlm.read(name)[60:]]))


def test_names_with_and_without_a_prefix(tmp_path: Path) -> None:
    """GPT-2 as it is on the Hub (``h.0``) beside one that save_pretrained wrote (``transformer.h.0``)."""
    like = open_checkpoint(str(build("gpt2", tmp_path / "like")))
    bare = shutil.copytree(tmp_path / "like", tmp_path / "bare")
    rewrite(bare, lambda all_: {name.removeprefix("transformer."): each for name, each in all_.items()})
    other = fit(like, [open_checkpoint(str(bare))]).models[str(bare)]
    assert all(torch.equal(other.read(name), like.read(name)) for name in like.tensors)


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


def test_models_that_fit_are_left_as_they_are(tmp_path: Path) -> None:
    like, other = (open_checkpoint(str(llama(tmp_path / name, seed=i))) for i, name in enumerate("ab"))
    fitted = fit(like, [other, like])
    assert fitted.like is like
    assert fitted.models == {like.reference: like, other.reference: other}
    assert isinstance(fitted.models[other.reference], Checkpoint)
