"""An adapter that cannot be merged is one clear error."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from tests.merging.checkpoints.adapters import assert_as_peft, change, edit_config, train
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


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda lora: (lora / "adapter_config.json").unlink(), "No such file"),
    "no weights": (lambda lora: (lora / "adapter_model.safetensors").unlink(), "received none"),
    "empty": (lambda lora: change(lora, lambda _: {}), r"adapter_model\.safetensors: .*received none"),
    "LoHa": (config(peft_type="LOHA"), "peft_type.*expected LORA; received 'LOHA'"),
    "PiSSA": (config(init_lora_weights="pissa_niter_4"), "'pissa_niter_4'"),
    "from the future": (config(use_newlora=True), "use_newlora"),
    "no rank": (config(r=...), "r: expected a value"),
    "rank 0": (config(r=0), "a number greater than 0"),
    "rank of a module as text": (config(rank_pattern={"q": "4"}), "rank_pattern.q: expected a whole"),
    "alpha as text": (config(lora_alpha="8"), "lora_alpha: expected a number; received '8'"),
    "flag as a number": (config(use_rslora=1), "use_rslora: expected true or false; received 1"),
    "integers": (
        lambda lora: change(lora, lambda all_: {name: each.long() for name, each in all_.items()}),
        "lora_[AB].weight: expected floating-point numbers; received int64",
    ),
    "alpha infinite": (config(lora_alpha=float("inf")), "lora_alpha"),
    "pattern": (config(rank_pattern={"(": 2}), r"received '\('"),
    "other rank": (config(r=5), r"received A \[4, 16\] and B \[16, 4\]"),
    "unknown module": (renamed("layers.2", "layers.7"), r"'model\.layers\.7\.self_attn"),
    "unknown part": (with_tensor(f"{Q0}hada_w1_a", 2, 2), r"q_proj\.hada_w1_a'"),
    "no B": (without(f"{Q0}lora_B.weight"), r"lora_A\.weight and lora_B\.weight; received lora_A\.weight"),
    "magnitudes of no DoRA": (with_tensor(f"{Q0}lora_magnitude_vector", 16), "lora_magnitude_vector"),
    "no magnitudes": (config(use_dora=True), "and lora_magnitude_vector; received lora_"),
    "too wide": (with_tensor(f"{Q0}lora_A.weight", 4, 17), r"a weight \[16, 16\]; received A \[4, 17\]"),
    "flat": (with_tensor(f"{Q0}lora_A.weight", 4), r"received A \[4\] and B"),
    "other vocabulary": (with_tensor("base_model.model.lm_head.weight", 66, 16), r"\[64, 16\].*\[66, 16\]"),
    "twice": (
        with_tensor("model.layers.0.self_attn.q_proj.lora_A.weight", 4, 16),
        "a second one for model.layers.0.self_attn.q_proj",
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
