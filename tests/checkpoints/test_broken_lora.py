"""An adapter that cannot be merged is one clear error."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kingyo.checkpoints import open_checkpoint
from kingyo.errors import KingyoError
from tests.checkpoints.adapters import assert_as_peft, change, edit_config, train
from tests.models_on_disk import llama, qwen2

Q0 = "base_model.model.model.layers.0.self_attn.q_proj."


def renamed(old: str, new: str) -> Callable[[Path], None]:
    return lambda lora: change(
        lora, lambda all_: {name.replace(old, new): each for name, each in all_.items()}
    )


def with_tensor(name: str, *shape: int) -> Callable[[Path], None]:
    return lambda lora: change(lora, lambda all_: {**all_, name: torch.ones(shape)})


def without(name: str) -> Callable[[Path], None]:
    return lambda lora: change(lora, lambda all_: {each: all_[each] for each in all_ if each != name})


def config(**changes: object) -> Callable[[Path], None]:
    return lambda lora: edit_config(lora, **changes)


def to_pickle(lora: Path) -> None:
    (lora / "adapter_model.safetensors").rename(lora / "adapter_model.bin")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (
        lambda lora: (lora / "adapter_config.json").unlink(),
        r"adapter_config\.json: .*No such file",
    ),
    "config not JSON": (lambda lora: (lora / "adapter_config.json").write_text("{"), "invalid JSON"),
    "pickle": (to_pickle, r"only a pickle \(adapter_model\.bin\)"),
    "no weights": (lambda lora: (lora / "adapter_model.safetensors").unlink(), "no such file"),
    "truncated": (lambda lora: (lora / "adapter_model.safetensors").write_bytes(b"x"), "damaged"),
    "empty": (lambda lora: change(lora, lambda _: {}), r"adapter_model\.safetensors: .*received none"),
    "LoHa": (config(peft_type="LOHA"), "peft_type.*expected LORA; received LOHA"),
    "no type": (config(peft_type=...), "expected LORA; received nothing"),
    "PiSSA": (config(init_lora_weights="pissa_niter_4"), "'pissa_niter_4'"),
    "activated": (config(alora_invocation_tokens=[1]), "alora_invocation_tokens.*plain LoRA"),
    "parameters": (config(target_parameters=["experts.up"]), "target_parameters"),
    "replicated layers": (config(layer_replication=[[0, 2]]), "layer_replication"),
    "trained tokens": (config(trainable_token_indices=[1]), "trainable_token_indices"),
    "from the future": (config(use_newlora=True), "use_newlora"),
    "no rank": (config(r=...), "r: expected a value"),
    "rank 0": (config(r=0), "a number greater than 0"),
    "rank a text": (config(r="four"), "r: expected a whole number"),
    "alpha infinite": (config(lora_alpha=float("inf")), "lora_alpha"),
    "pattern": (config(rank_pattern={"(": 2}), r"received '\('"),
    "other rank": (config(r=5), r"expected A and B of rank 5.*received A \[4, 16\] and B \[16, 4\]"),
    "unknown tensor": (with_tensor("base_model.model.ghost.weight", 2), "'ghost.weight'"),
    "unknown module": (renamed("layers.2", "layers.7"), r"'model\.layers\.7\.self_attn"),
    "unknown part": (with_tensor(f"{Q0}hada_w1_a", 2, 2), r"q_proj\.hada_w1_a'"),
    "no B": (without(f"{Q0}lora_B.weight"), r"lora_A\.weight and lora_B\.weight; received lora_A\.weight"),
    "magnitudes of no DoRA": (with_tensor(f"{Q0}lora_magnitude_vector", 16), "lora_magnitude_vector"),
    "no magnitudes": (config(use_dora=True), "and lora_magnitude_vector; received lora_"),
    "too wide": (
        lambda lora: change(lora, lambda all_: {**all_, f"{Q0}lora_A.weight": torch.ones(4, 17)}),
        r"fits model\.layers\.0\.self_attn\.q_proj\.weight \[16, 16\]; received A \[4, 17\] and B \[16, 4\]",
    ),
    "flat": (
        lambda lora: change(lora, lambda all_: {**all_, f"{Q0}lora_A.weight": torch.ones(4)}),
        "A and B of rank 4",
    ),
    "other vocabulary": (with_tensor("base_model.model.lm_head.weight", 66, 16), r"\[64, 16\].*\[66, 16\]"),
    "integers": (
        lambda lora: change(
            lora,
            lambda all_: {**all_, "base_model.model.lm_head.weight": torch.ones(64, 16, dtype=torch.int8)},
        ),
        "int8",
    ),
    "no such bias": (with_tensor(f"{Q0}lora_B.bias", 16), r"q_proj\.bias'"),
    "replaced twice": (
        lambda lora: change(
            lora,
            lambda all_: {
                **all_,
                "lm_head.weight": torch.ones(64, 16),
                Q0[:17] + "lm_head.weight": torch.ones(64, 16),
            },
        ),
        "a second one for lm_head.weight",
    ),
    "twice": (
        with_tensor("model.layers.0.self_attn.q_proj.lora_A.weight", 4, 16),
        "a second one for model.layers.0.self_attn.q_proj.lora_A.weight",
    ),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    llama(folder / "m")
    train(folder / "m", folder / "lora", target_modules=["q_proj"], r=4)
    return folder


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_adapter_is_one_clear_error(sound: Path, tmp_path: Path, how: str) -> None:
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    damage, message = BROKEN[how]
    damage(tmp_path / "lora")
    with pytest.raises(KingyoError, match=f"(?s){message}"):
        open_checkpoint("m+lora", tmp_path)


def test_a_quantised_model_takes_no_adapter(sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    name = "model.layers.0.self_attn.q_proj.weight"
    change(tmp_path / "m", lambda all_: {**all_, name: torch.ones(16, 16, dtype=torch.int8)})
    with pytest.raises(KingyoError, match=rf"m: {name}: .*int8"):
        open_checkpoint("m+lora", tmp_path)


def test_a_head_that_is_tied(tmp_path: Path) -> None:
    """An adapter may hold a copy of a tied head, but not other weights for it."""
    qwen2(tmp_path / "m")
    train(tmp_path / "m", tmp_path / "lora", target_modules=["q_proj"], modules_to_save=["embed_tokens"])
    stored = "base_model.model.model.embed_tokens.weight"
    head = "base_model.model.lm_head.weight"
    change(tmp_path / "lora", lambda all_: {**all_, head: all_[stored].clone()})
    assert_as_peft(tmp_path)
    change(tmp_path / "lora", lambda all_: {**all_, head: all_[stored] + 1})
    with pytest.raises(KingyoError, match=r"ties its head to it; received other weights for lm_head\.weight"):
        open_checkpoint("m+lora", tmp_path)
    train(tmp_path / "m", tmp_path / "other", target_modules=["lm_head"])
    with pytest.raises(KingyoError, match="a LoRA of the head alone"):
        open_checkpoint("m+other", tmp_path)
