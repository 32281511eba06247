"""Rows of tensors are those of the whole tensor, however the model is stored or computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kingyo.merging.checkpoints import Checkpoint, fit, open_checkpoint
from kingyo.merging.checkpoints.checkpoint import KEPT_BELOW
from tests.merging.checkpoints.adapters import opened, train
from tests.merging.checkpoints.lora_files import pair
from tests.models_on_disk import gpt2, llama
from tests.scout.weights import write, write_lora


def check(model: Checkpoint, exactly: bool = True) -> None:
    for name, info in model.tensors.items():
        if not info.shape:
            continue
        whole, n = model.read(name), info.shape[0]
        for start, end in ((0, n), (0, 1), (n // 3, n // 2), (n - 1, n)):
            rows = model.read_rows(name, start, end)
            assert rows.dtype == whole.dtype
            torch.testing.assert_close(rows, whole[start:end], **({"rtol": 0, "atol": 0} if exactly else {}))


def test_small_and_large_tensors(tmp_path: Path) -> None:
    large = torch.randn(KEPT_BELOW // 32, 20).bfloat16()
    assert large.nbytes >= KEPT_BELOW
    check(
        write(
            tmp_path, {"model.a.weight": large, "model.b.weight": torch.randn(6, 2), "model.c": torch.ones(3)}
        )
    )


@pytest.mark.parametrize("make", [llama, gpt2])
@pytest.mark.parametrize("dora", [False, True])
def test_models_with_a_lora(tmp_path: Path, make: object, dora: bool) -> None:
    make(tmp_path / "m")  # type: ignore[operator]
    targets = ["c_attn", "c_fc"] if make is gpt2 else ["q_proj", "down_proj", "embed_tokens"]
    train(tmp_path / "m", tmp_path / "lora", r=2, target_modules=targets, use_dora=dora)
    model = opened(tmp_path)
    assert model.changes
    check(model, exactly=False)


def test_a_lora_of_a_convolution(tmp_path: Path) -> None:
    write(tmp_path / "m", {"unet.conv.weight": torch.randn(8, 4, 3, 3), "unet.b.weight": torch.randn(4, 4)})
    write_lora(tmp_path / "lora", "unet.conv", *pair((8, 4, 3, 3), 1, 2))
    check(opened(tmp_path), exactly=False)


def test_a_tied_head_and_views(tmp_path: Path) -> None:
    tied, own = llama(tmp_path / "tied", tied=True), llama(tmp_path / "own", seed=1)
    like, other = open_checkpoint(str(own)), open_checkpoint(str(tied))
    check(fit(like, [other]).models[other.reference])
    head = other.read_rows("lm_head.weight", 3, 5)
    assert torch.equal(head, other.read("model.embed_tokens.weight")[3:5])


def test_kept_tensors_can_be_forgotten(tmp_path: Path) -> None:
    model = open_checkpoint(str(llama(tmp_path)))
    first = model.read("model.norm.weight")
    assert model.read("model.norm.weight") is first
    model.forget()
    assert model.read("model.norm.weight") is not first
