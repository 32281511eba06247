"""Train adapters with peft, and compare with its own merge. Tests are skipped if peft is not installed."""

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.checkpoints.lora import AdaptedCheckpoint

peft = pytest.importorskip("peft")


def load(folder: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def train(base: Path, folder: Path, **config: object) -> Path:
    """Write an adapter with random tensors."""
    model = load(base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **config))
        generator = torch.Generator().manual_seed(7)
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        wrapped.save_pretrained(folder)
    return folder


def merged_by_peft(base: Path, adapter: Path) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.PeftModel.from_pretrained(load(base), adapter).merge_and_unload().state_dict()


def opened(folder: Path, reference: str = "m+lora") -> AdaptedCheckpoint:
    checkpoint = open_checkpoint(reference, folder)
    assert isinstance(checkpoint, AdaptedCheckpoint)
    return checkpoint


def assert_as_peft(folder: Path) -> None:
    checkpoint, expected = opened(folder), merged_by_peft(folder / "m", folder / "lora")
    base = open_checkpoint("m", folder)
    assert checkpoint.tensors.keys() == base.tensors.keys()
    moved = 0
    for name, info in checkpoint.tensors.items():
        tensor = checkpoint.read(name)
        assert (str(tensor.dtype), tuple(tensor.shape)) == (f"torch.{info.dtype}", info.shape)
        torch.testing.assert_close(tensor.float(), expected[name].float(), rtol=1e-6, atol=1e-6)
        moved += not torch.equal(tensor.float(), base.read(name).float())
    assert moved == len(checkpoint.changes)
